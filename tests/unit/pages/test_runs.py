"""Several runs on one page."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from synthetic_run import HOSTILE, make_run
from tests.page_tree import Element, page_tree, swatch

from pixelwise.cli.app import run as command
from pixelwise.errors import UsageError
from pixelwise.labels import distinct_palette
from pixelwise.pages.runs import _curves, differing, is_training, page, short_names


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs; the second has another rate and nine tenths of each score."""
    made = [make_run(tmp_path / name) for name in ("one", "two")]
    recipe = yaml.safe_load((made[1] / "recipe.yaml").read_text())
    recipe["optim"] = {**recipe.get("optim", {}), "lr": 0.125}
    (made[1] / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    place = made[1] / "evaluation" / "scores.json"
    scores = json.loads(place.read_text())
    scores["mean_iu"] *= 0.9
    for row in scores["per_class"]:
        row["iu"] = None if row["iu"] is None else 0.9 * row["iu"]
    place.write_text(json.dumps(scores))
    return made


def table(text: str, place: str) -> list[list[str]]:
    (section,) = [s for s in page_tree(text).all("section") if s.attributes.get("id") == place]
    return [[c.text for c in row.children] for row in section.all("tr")]  # type: ignore[union-attr]


def test_scores_stand_side_by_side(runs: list[Path]) -> None:
    one = json.loads((runs[0] / "evaluation/scores.json").read_text())["mean_iu"]
    rows = table(page(runs), "scores")
    assert [row[0] for row in rows] == ["run", "one/run<b>bold", "two/run<b>bold"]
    assert [row[1] for row in rows[1:]] == [f"{100 * one:.1f} %", f"{90 * one:.1f} %"]


def test_the_better_of_each_class_is_bold(runs: list[Path]) -> None:
    (section,) = [
        s for s in page_tree(page(runs)).all("section") if s.attributes.get("id") == "classes"
    ]
    bold = [[bool(c.all("b")) for c in row.all("td")] for row in section.all("tr")[1:]]
    assert bold
    assert all(cells == [True, False] for cells in bold)


def test_only_what_differs_is_told_of_the_recipes(runs: list[Path]) -> None:
    rows = table(page(runs), "recipes")
    assert [row[0] for row in rows if row[0] != "field"] == ["data", "optim.lr"]
    assert differing([{"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4}]) == [
        ("b.c", [2, 3]),
        ("d", [None, 4]),
    ]


def test_each_run_has_its_curve_in_a_colour_of_its_own(runs: list[Path]) -> None:
    text = page(runs)
    assert text.count("line run0") == text.count("line run1") == 4  # loss and IU, by step and time


def test_names_of_a_run_are_text(runs: list[Path]) -> None:
    text = page(runs)
    assert HOSTILE not in text
    assert "<script" not in text


def test_runs_are_told_apart_by_as_little_as_needed(tmp_path: Path) -> None:
    assert short_names([tmp_path / "a/x", tmp_path / "a/y"]) == ["x", "y"]
    assert short_names([tmp_path / "a/x", tmp_path / "b/x"]) == ["a/x", "b/x"]
    with pytest.raises(UsageError, match="given twice"):
        short_names([tmp_path / "a", tmp_path / "b", tmp_path / "a"])


def test_a_run_that_has_not_ended_is_being_trained(runs: list[Path]) -> None:
    assert is_training(runs[0])
    assert not is_training(runs[0].parent)  # has no journal
    with (runs[0] / "journal.jsonl").open("a") as journal:
        journal.write('\n{"event": "end", "reason": "done"}\n')
    assert not is_training(runs[0])
    with (runs[0] / "journal.jsonl").open("a") as journal:  # and goes on
        journal.write('{"event": "start"}\n')
    assert is_training(runs[0])


def test_the_command_wants_a_place_for_the_page_of_several(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [str(run) for run in runs]
    assert command(["report", *places]) == 2
    assert "-o comparison.html" in capsys.readouterr().err
    assert command(["report", *places, "-o", str(tmp_path / "c.html")]) == 0
    assert (tmp_path / "c.html").read_text() == page(runs)


def test_eight_runs_are_the_most(tmp_path: Path) -> None:
    places = []
    for i in range(9):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "recipe.yaml").write_text(f"net: fcn{i}\n")
        places.append(tmp_path / str(i))
    assert page_tree(page(places[:8])).text.count("not finished") == 8
    with pytest.raises(UsageError, match="9 runs, expected at most 8"):
        page(places)


def test_times_of_runs_are_in_one_unit_and_a_missing_one_is_the_begin() -> None:
    step = {"event": "step", "loss": 1.0}
    events = {"a": [step | {"step": 1}, step | {"step": 9, "seconds": 7200}], "b": [step]}
    made = _curves(events)
    assert made is not None
    assert "a 1 at 0 minutes" in made
    assert "a 1 at 120 minutes" in made
    assert "b 1 at 0 steps" in made
    assert _curves({"a": []}) is None


def test_each_class_has_a_colour_of_its_own(runs: list[Path]) -> None:
    """That of the data, where one run has them open; else one of those that are made."""
    given = [(128, 64, 128), (0, 200, 0)]
    assert [swatch(row.all("th")[0]) for row in classes(page(runs))] == given
    for run, names in zip(runs, (["a", "b", "c"], ["c", "a", "b"]), strict=True):
        shutil.rmtree(run.parent / "data")
        place = run / "evaluation/scores.json"
        scores = json.loads(place.read_text()) | {"classes": names}
        for row, name in zip(scores["per_class"], names, strict=True):
            row |= {"name": name, "iu": 0.5}
        place.write_text(json.dumps(scores))
    made = [swatch(row.all("th")[0]) for row in classes(page(runs))]
    assert made == [tuple(colour) for colour in distinct_palette(3).tolist()]


def classes(text: str) -> list[Element]:
    (section,) = [s for s in page_tree(text).all("section") if s.attributes.get("id") == "classes"]
    return section.all("tr")[1:]
