"""The page of each published data set says what its record says.

``python -m tests.house.test_datasets`` writes the end of the pages anew, from ``## Facts`` on.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.house.markdown import tables
from tests.house.source import ROOT

from pixelwise.data.prepare.catalog import RECORDS
from pixelwise.data.prepare.record import Published
from pixelwise.data.preprocess import PUBLISHED

PAGES = ROOT / "docs" / "datasets"
FACTS = "## Facts\n"


def page(name: str) -> Path:
    return PAGES / f"{name}.md"


def facts(record: Published) -> str:
    """The end of a page: all of a record."""
    lines = ["", "| what | |", "|---|---|"]
    lines += [f"| citation | {record.citation} |", f"| terms | {record.terms} |"]
    for name in record.preprocess:
        mean = PUBLISHED[name].mean_pixel()
        lines.append(f"| mean pixel (`{name}`) | {', '.join(f'{v:.3f}' for v in mean)} |")
    lines += ["", "| file | holds | from | needed |", "|---|---|---|---|"]
    lines += [f"| `{f.file}` | {f.holds} | <{f.url}> | {f.needed} |" for f in record.files]
    for head, classes in record.class_maps.items():
        title = "number" if len(record.class_maps) == 1 else f"number (`{head}`)"
        lines += ["", f"| {title} | class | colour |", "|--:|---|---|"]
        for i, (name, rgb) in enumerate(zip(classes.classes, classes.palette, strict=True)):
            lines.append(f"| {i} | {name} | {', '.join(map(str, rgb))} |")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", RECORDS)
def test_page_ends_with_the_facts_of_the_record(name: str) -> None:
    text = page(name).read_text("utf-8")
    head, _, told = text.partition(FACTS)
    assert told == facts(RECORDS[name])
    assert head.startswith(f"# {RECORDS[name].title}\n")
    assert f"pixelwise data prepare {name} " in head
    assert tables(page(name))


@pytest.mark.parametrize("name", RECORDS)
def test_what_a_missing_file_is_told_with_stands_on_the_page(name: str) -> None:
    text, record = page(name).read_text("utf-8"), RECORDS[name]
    for file in record.files:
        error = record.missing("downloads", "x", file.file)
        for fact in (file.file, file.holds):
            assert fact in str(error)
            assert fact in text
        assert file.url in error.hint
        assert file.url in text


def test_every_page_has_a_record_and_is_named_in_the_data_page() -> None:
    assert {p.stem for p in PAGES.glob("*.md")} == set(RECORDS)
    text = (ROOT / "docs" / "data.md").read_text("utf-8")
    assert all(f"(datasets/{name}.md)" in text for name in RECORDS)


if __name__ == "__main__":
    for known, record in RECORDS.items():
        head = page(known).read_text("utf-8").partition(FACTS)[0]
        page(known).write_text(head + FACTS + facts(record), "utf-8")
