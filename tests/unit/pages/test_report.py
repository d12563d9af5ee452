from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from synthetic_run import CLASSES, HOSTILE, make_run
from typer.testing import CliRunner

from pixelwise.cli.report import report
from pixelwise.errors import ModelError, UsageError
from pixelwise.pages import build


class Page(HTMLParser):
    """Elements, attributes and text as a browser reads them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(source)
        assert self.open == [], "elements are left open"

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))
        self.open.append(name)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attrs)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, words: str) -> None:
        self.words += words + " "

    def count(self, name: str) -> int:
        return sum(element == name for element, _ in self.elements)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def read(run: Path) -> Page:
    return Page(build(run).read_text(encoding="utf-8"))


def test_the_page_is_written_into_the_run(run: Path) -> None:
    assert build(run) == run / "report.html"
    assert (run / "report.html").stat().st_size < 200_000


def test_the_four_numbers_stand_at_the_top(run: Path) -> None:
    words = read(run).words
    scores = json.loads((run / "evaluation" / "scores.json").read_text())
    # road: truth 2304, good misses 128, bad adds 576: (2304-128)/(2304+576); other likewise
    iu = (2176 / 2880 + 1728 / 2432) / 2
    assert scores["mean_iu"] == pytest.approx(iu)
    shown = words[: words.index("Images ")]
    for value in (iu, 3904 / 4608, scores["mean_accuracy"], scores["frequency_weighted_iu"]):
        assert f"{100 * value:.1f} %" in shown
    low, high = scores["intervals"]["mean_iu"]
    assert f"{100 * low:.1f} to {100 * high:.1f} %" in shown


def test_each_of_the_four_numbers_stands_under_its_name(run: Path) -> None:
    path = run / "evaluation" / "scores.json"
    scores = json.loads(path.read_text())
    scores |= {"mean_iu": 0.1, "pixel_accuracy": 0.2, "mean_accuracy": 0.3}
    scores |= {"frequency_weighted_iu": 0.4, "images": 7}
    scores["intervals"] = {"level": 0.9, "mean_iu": [0.05, 0.15], "pixel_accuracy": [0.1, 0.25]}
    path.write_text(json.dumps(scores))
    words = read(run).words
    assert "mean IU 10.0 % 5.0 to 15.0 %  90 % interval" in words
    assert "pixel accuracy 20.0 % 10.0 to 25.0 %  90 % interval" in words
    # Half of the truth is road, half of another class, and none of the third.
    assert "mean accuracy 30.0 % 50.0 %  largest class alone (road) share of a class found" in words
    assert "weighted IU 40.0 % 25.0 %  largest class alone (road) IU weighted" in words
    assert 'title="90 % interval over 7 images, bootstrap"' in (run / "report.html").read_text()


def test_hostile_names_are_text_and_nothing_else(run: Path) -> None:
    page = read(run)
    assert page.words.count(HOSTILE) >= 5
    assert 'tree" & sky' in page.words
    assert page.count("b") > 0
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    sources = [a["src"] or "" for name, a in page.elements if name == "img"]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


def test_no_script_and_nothing_from_the_network(run: Path) -> None:
    source = build(run).read_text()
    page = Page(source)
    assert {"script", "link", "iframe", "object", "base"}.isdisjoint(n for n, _ in page.elements)
    assert "default-src 'none'" in next(
        a["content"] or "" for n, a in page.elements if a.get("http-equiv")
    )
    urls = [a.get(key) or "" for _, a in page.elements for key in ("src", "href", "action")]
    assert all(url == "" or url.startswith(("data:", "#")) for url in urls)
    assert not re.search(r"@import|url\(", source)


@pytest.mark.parametrize(("gone", "count"), [("", 4), ("evaluation/guesses", 3)])
def test_links_lead_to_sections_of_the_page(run: Path, gone: str, count: int) -> None:
    if gone:
        shutil.rmtree(run / gone)
    page = read(run)
    ids = {a["id"] for _, a in page.elements if "id" in a}
    targets = [a["href"] for n, a in page.elements if n == "a"]
    assert len(targets) == count
    assert {str(t)[1:] for t in targets} <= ids


def test_worst_image_comes_first_and_void_is_left_out(run: Path) -> None:
    words = read(run).words
    assert words.index("Worst images") < words.index(" bad ") < words.index("Best images")
    assert words.index("Best images") < words.rindex(" good ")
    assert 'image of void"' not in build(run).read_text()


def test_every_shown_image_has_four_panels(run: Path) -> None:
    page = read(run)
    alts = [a["alt"] for n, a in page.elements if n == "img"]
    assert alts == [
        f"{panel} of {name}"
        for name in ("bad", "good")
        for panel in ("image", "truth", "guess", "errors")
    ]


def test_light_and_dark_paper_and_narrow_are_styled(run: Path) -> None:
    source = build(run).read_text()
    for query in ("prefers-color-scheme: dark", "@media print", "max-width: 560px"):
        assert query in source


def test_warnings_of_the_run_are_told(run: Path) -> None:
    assert f"class {HOSTILE} is rare" in read(run).words


def test_the_recipe_is_there_field_by_field(run: Path) -> None:
    words = re.sub(r"\s+", " ", read(run).words)
    for part in ("net fcn8s-tiny", "crop 32, 40", "lr 0.0003"):
        assert part in words


@pytest.mark.parametrize(
    ("gone", "note"),
    [
        ("recipe.yaml", "recipe.yaml is missing"),
        ("journal.jsonl", "journal.jsonl is missing"),
        ("evaluation/scores.json", "not evaluated yet"),
        ("evaluation/guesses", "evaluation/guesses is missing"),
        ("evaluation/guesses/bad.png", "bad is not shown"),
        ("../data", "the data cannot be opened"),
    ],
)
def test_a_missing_part_is_named_and_the_rest_is_shown(run: Path, gone: str, note: str) -> None:
    path = (run / gone).resolve()
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    words = read(run).words
    assert note in words
    assert ("Learning" in words) == (gone != "journal.jsonl")
    assert ("Confusions" in words) == (gone != "evaluation/scores.json")


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("recipe.yaml", "a: [1"),
        ("evaluation/scores.json", "{"),
        ("journal.jsonl", "[1]\nnull\n{]\n"),
    ],
)
def test_a_damaged_part_does_not_take_the_page_with_it(run: Path, part: str, content: str) -> None:
    (run / part).write_text(content)
    assert read(run).count("section") >= 1


def test_a_data_set_of_other_images_is_told(run: Path) -> None:
    data = run.parent / "data"
    (data / "splits" / "val.txt").write_text("good\n")
    words = read(run).words
    assert "bad is not in split val" in words


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run"):
        build(tmp_path)
    with pytest.raises(ModelError, match="nowhere does not exist"):
        build(tmp_path / "nowhere")


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("net: fcn8s-tiny\n")
    words = read(tmp_path).words
    assert "fcn8s-tiny" in words
    assert "not evaluated yet" in words


def test_class_without_truth_has_its_reason(run: Path) -> None:
    words = read(run).words
    assert "not in this truth; never predicted" in words
    assert f"Left out for lack of truth: {CLASSES[2]}" in words


def test_the_command_prints_the_path(run: Path) -> None:
    app = typer.Typer()
    app.command()(report)
    result = CliRunner().invoke(app, [str(run)])
    assert result.stdout.strip() == str(run / "report.html")
    document = json.loads(CliRunner().invoke(app, [str(run), "--json"]).stdout)
    assert document == {"report": str(run / "report.html")}


STRANGE = {
    "journal.jsonl": [
        '{"event": "step", "step": "x", "loss": 1}',
        '{"event": "validate", "mean_iu": 0.5}',
        '{"event": "validate", "step": 1, "mean_iu": "high"}',
        '{"event": "start", "parameters": "many"}',
        "[" * 100_000,
        '{"event": "step", "step": 1, "seconds": [1]}',
    ],
    "evaluation/scores.json": [
        '{"per_image": [{"name": "a", "mean_iu": 1, "pixel_accuracy": 1, "odd": 2}]}',
        '{"confusion": [[1]], "classes": ["a", "b"]}',
        '{"intervals": "x", "mean_iu": 1}',
        '{"mean_iu": ' + "9" * 400 + "}",
        '{"classes": 5, "per_class": 7, "protocols": [1]}',
        "[" * 100_000,
    ],
    "recipe.yaml": ["a: &a [*a]", "data: " + "d" * 5000, "? [a]\n: 1", "x: 2024-01-01", "[" * 5000],
}


@pytest.mark.parametrize(
    ("name", "text"), [(n, t) for n, texts in STRANGE.items() for t in texts], ids=str.__len__
)
def test_files_that_are_strange_become_notes(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "recipe.yaml").write_text("net: fcn8s-tiny\n")
    (tmp_path / name).write_text(text)
    if name == "recipe.yaml":  # of a run, more than that
        (tmp_path / "journal.jsonl").write_text('{"event": "start", "step": 0}\n')
    page = build(tmp_path).read_text()
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
