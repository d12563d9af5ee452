"""Every command and every Python block of the documents is carried out, in order, page by page.

What a page needs, and which blocks cannot run here, say the marks in its source (``steps.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.source import DOCUMENTS, ROOT
from tests.house.steps import Step, is_slow, parsed, steps
from tests.house.typed import Reader, is_missing, printed_so, shortened

# They may show what no longer runs, or show the same blocks in another language.
HISTORY = ("lab-log.md", "CHANGELOG.md")
TRANSLATED = ".zh-CN.md"
# Blocks that are only parsed; each says why above it. A new one needs its place here.
NOT_RUN: dict[str, int] = {
    "docs/camvid.md": 4,
    "docs/datasets/nyudv2.md": 1,
    "docs/hyperspectral.md": 1,
    "docs/install.md": 1,
    "docs/mutation.md": 1,
    "docs/python.md": 1,
    "docs/recipes.md": 1,
    "docs/relatives.md": 1,
    "docs/reproduction.md": 1,
    "docs/scale.md": 2,
    "docs/training.md": 3,
    "docs/weights.md": 2,
}
PAGES = [p for p in DOCUMENTS if p.name not in HISTORY and any(s.typed for s in steps(p))]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    (tmp_path / "page").mkdir()
    monkeypatch.chdir(tmp_path / "page")
    monkeypatch.setenv("PIXELWISE_HOME", str(tmp_path / "home"))
    reader = Reader(tmp_path / "page")
    yield reader
    reader.close()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=named(p), marks=[pytest.mark.slow] if is_slow(p) else [])
        for p in PAGES
        if not p.name.endswith(TRANSLATED)
    ],
)
def test_what_a_page_says_can_be_done(page: Path, reader: Reader) -> None:
    missing = set()
    for number, step in enumerate(steps(page), 1):
        if is_missing(step.marks.get("needs", "")):
            missing.add(step.marks["needs"])
            continue
        try:
            reader.take(step)
        except BaseException as error:
            error.add_note(f"{named(page)}, block {number}:\n{step.text}")
            raise
    for report in reader.folder.rglob("*.html"):
        assert not re.search(r"(?:src|href)=[\"']https?:", report.read_text("utf-8")), report
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; the blocks that need none were run")


def test_a_translated_page_has_the_same_blocks() -> None:
    for page in DOCUMENTS:
        if page.name.endswith(TRANSLATED):
            original = page.with_name(page.name.replace(TRANSLATED, ".md"))
            ours, theirs = ([s.text for s in steps(p) if s.typed] for p in (page, original))
            assert ours == theirs, named(page)


def test_blocks_that_are_not_run_are_counted_and_say_why() -> None:
    skipped = {
        named(p): [s.marks["not run"] for s in steps(p) if "not run" in s.marks]
        for p in PAGES
        if not p.name.endswith(TRANSLATED)
    }
    assert {page: len(reasons) for page, reasons in skipped.items() if reasons} == NOT_RUN
    assert all(len(reason) > 10 for reasons in skipped.values() for reason in reasons)


# -- the mechanism notices what is wrong ----------------------------------------------------------
def test_a_command_that_fails_is_noticed(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="ended with 3"):
        reader.take(Step("sh", "pixelwise data inspect nothing-here\n"))
    reader.take(Step("sh", "pixelwise data inspect nothing-here\n", {"exits": "3"}))
    with pytest.raises(AssertionError, match="ended with 1"):
        reader.take(Step("sh", "false | cat; false\n"))


def test_an_unknown_mark_and_a_mark_above_nothing_are_noticed() -> None:
    with pytest.raises(AssertionError, match="no mark is called `prnited`"):
        parsed("<!-- prnited -->\n```text\na\n```\n")
    with pytest.raises(AssertionError, match="stand above no block"):
        parsed("```sh\npixelwise nets\n```\n<!-- printed -->\n")


def test_what_is_printed_is_compared_line_by_line() -> None:
    printed = "one   1.25\ntwo\nthree\n"
    assert printed_so("one ...\nthree\n", printed)
    assert not printed_so("three\none ...\n", printed)
    assert not printed_so("one 1\n", printed)


def test_long_trainings_are_cut_short_and_keep_what_they_say() -> None:
    words = "train data -o run --minutes 60 --set optim.lr=1e-3"
    assert " ".join(shortened(words.split())).startswith(
        "train data -o run --set optim.lr=1e-3 --it"
    )
    assert shortened(words.split())[-2:] == ["--net", "fcn8s-tiny"]
    assert "--net" not in shortened(["train", "recipe.yaml", "-o", "run"])
    resumed = ["train", "data", "-o", "run", "--resume"]
    assert shortened(resumed) == resumed
