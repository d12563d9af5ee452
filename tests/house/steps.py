"""A document as what a reader does with it: blocks in order, and the marks that stand above them.

A mark is a comment of Markdown, which no reader sees:

- ``<!-- made: NAME=KIND, ... -->`` what lies in the folder before the blocks that follow
  (kinds: ``made.py``);
- ``<!-- file: NAME -->`` the block is that file, which the reader writes;
- ``<!-- printed -->`` the block is what the one before prints, ``...`` stands for anything;
- ``<!-- exits: N -->`` the last command of the block ends with that status;
- ``<!-- needs: NAME -->`` the block is left out where no package or program is called so;
- ``<!-- not run: REASON -->`` the block is only parsed; ``test_walkthrough.py`` counts these;
- ``<!-- slow: REASON -->`` the page is left out of `make test`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.house.source import SHELLS

_PIECE = re.compile(r"^<!--(.*?)-->|^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARKS = ("made", "file", "printed", "exits", "needs", "not run", "slow")


@dataclass(frozen=True)
class Step:
    """A fenced block, with the marks above it (name: what follows the colon)."""

    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def typed(self) -> bool:
        """Whether a reader types it, into a shell or into Python."""
        return self.language in (*SHELLS, "python") and "file" not in self.marks


def steps(document: Path) -> list[Step]:
    """The blocks of a document, in order."""
    return parsed(document.read_text("utf-8"))


def parsed(text: str) -> list[Step]:
    found, marks = [], {}
    for comment, language, block in _PIECE.findall(text):
        if comment:
            name, _, rest = comment.strip().partition(":")
            assert name in MARKS, f"no mark is called `{name}`, expected one of {MARKS}"
            marks[name] = rest.strip()
        else:
            found.append(Step(language, block, marks))
            marks = {}
    assert set(marks) <= {"slow"}, f"the marks {marks} stand above no block"
    return found


def is_slow(document: Path) -> bool:
    return any("slow" in step.marks for step in steps(document))
