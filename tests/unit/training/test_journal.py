"""A journal gives back what was written, line by line."""

from pathlib import Path

import pytest

from pixelwise.folders import read_journal
from pixelwise.training.journal import Journal


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0c", "\n", "\r"])
def test_names_may_hold_what_separates_lines(tmp_path: Path, separator: str) -> None:
    journal = Journal(tmp_path)
    journal.write("start", step=0, classes=[f"a{separator}b"])
    journal.write("step", step=10)
    journal.rewind(0)
    (event,) = read_journal(tmp_path / "journal.jsonl")
    assert event["classes"] == [f"a{separator}b"]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    Journal(tmp_path).write("start", step=0)
    with (tmp_path / "journal.jsonl").open("a") as f:
        f.write('{"event": "step", "st')
    assert [e["event"] for e in read_journal(tmp_path / "journal.jsonl")] == ["start"]
