"""Tables, headings and links of a Markdown document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.house.source import prose

_RULE = re.compile(r"^\|(\s*:?-+:?\s*\|)+$")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Table:
    """Cells without the blanks and backticks around them."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, index: int) -> list[str]:
        return [row[index] for row in self.rows]


def tables(document: Path) -> list[Table]:
    """All tables of a document, in order; every row must have as many cells as the header."""
    lines, found = prose(document).splitlines(), []
    for i, line in enumerate(lines):
        if not _RULE.match(line.strip()):
            continue
        rows = []
        for later in lines[i + 1 :]:
            if not later.startswith("|"):
                break
            rows.append(cells(later))
        header = cells(lines[i - 1])
        assert all(len(r) == len(header) for r in rows), f"{document}: a crooked table {header}"
        found.append(Table(header, tuple(rows)))
    return found


def cells(line: str) -> tuple[str, ...]:
    parts = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return tuple(part.strip().replace("\\|", "|") for part in parts)


def table(document: Path, first_header: str) -> Table:
    """The one table whose first column has this header."""
    found = [t for t in tables(document) if t.header[0] == first_header]
    assert len(found) == 1, f"{document}: {len(found)} tables begin with `{first_header}`"
    return found[0]


def headings(document: Path) -> list[int]:
    """The levels of the headings, in order."""
    return [len(m[1]) for m in re.finditer(r"^(#+) ", prose(document), re.MULTILINE)]


def links(document: Path) -> list[str]:
    """Targets of links and pictures that are files."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    return [t.partition("#")[0] for t in targets if "://" not in t and not t.startswith("#")]


def numbers(text: str) -> list[str]:
    """The figures in a text, as written."""
    return _NUMBER.findall(text)
