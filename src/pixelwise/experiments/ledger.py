"""Every number that the paper publishes, where it is printed, and what is known of it here.

    python -m pixelwise.experiments.ledger [PAGE]

writes ``docs/ledger.md``, or PAGE, from ``ledger.yaml``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pixelwise.machine.files import atomic_write
from pixelwise.training.recipe_text import plain_data

Status = Literal["derived", "measured", "out"]
WORDS: Mapping[Status, str] = {
    "derived": "derived",
    "measured": "re-measured here",
    "out": "out of reach",
}


@dataclass(frozen=True)
class Number:
    """A published number."""

    id: str
    """``table.row.column``, or ``table.name`` of a number by itself; it does not change."""
    value: float
    """As printed."""
    unit: str
    what: str
    printed: str
    """Version of the paper, and the place in it."""
    status: Status
    evidence: str
    """The test that holds it (its node id), what was measured here, or why it is out of reach."""
    page: str = ""
    """Of what was measured: the page that has it."""

    @property
    def text(self) -> str:
        """Value and unit, as ``62.4 %``."""
        return f"{self.value:,} {self.unit}".strip()


@dataclass(frozen=True)
class Table:
    """Numbers that are printed together."""

    id: str
    title: str
    printed: str
    columns: Mapping[str, str]
    """Name to unit; none: each number stands by itself."""
    numbers: tuple[Number, ...]

    def rows(self) -> dict[str, dict[str, Number]]:
        """Row to column to number; numbers that are not printed are not there."""
        rows: dict[str, dict[str, Number]] = {}
        for number in self.numbers:
            row, _, column = number.id[len(self.id) + 1 :].partition(".")
            rows.setdefault(row, {})[column] = number
        return rows


@cache
def tables() -> dict[str, Table]:
    """All tables by their ids, as they stand in ``ledger.yaml``."""
    text = files("pixelwise.experiments").joinpath("ledger.yaml").read_text("utf-8")
    data = plain_data(text)
    return {name: _table(name, told, data["reasons"]) for name, told in data["tables"].items()}


@cache
def numbers() -> dict[str, Number]:
    """All numbers by their ids."""
    return {number.id: number for table in tables().values() for number in table.numbers}


def _table(name: str, told: Mapping[str, Any], reasons: Mapping[str, str]) -> Table:
    title, printed, columns = told["title"], told["printed"], told.get("columns", {})

    def number(key: str, value: float, unit: str, what: str, where: str) -> Number:
        patterns = [fits for fits in told["status"] if fnmatchcase(key, fits)]
        (status, evidence), *page = told["status"][patterns[-1]].items()
        evidence = reasons[evidence] if status == "out" else evidence
        place = page[0][1] if page else ""
        return Number(f"{name}.{key}", value, unit, what, where, status, evidence, place)

    made = [
        number(f"{row}.{column}", value, unit, f"{row}: {title}", printed)
        for row, values in told.get("rows", {}).items()
        for (column, unit), value in zip(columns.items(), values, strict=True)
        if value is not None
    ] + [
        number(key, value, unit, what, f"{printed}, {where}")
        for key, (value, unit, what, where) in told.get("numbers", {}).items()
    ]
    return Table(name, title, printed, columns, tuple(made))


# -- the page -------------------------------------------------------------------------------------
def page() -> str:
    """``docs/ledger.md``."""
    counted = {status: sum(n.status == status for n in numbers().values()) for status in WORDS}
    lines = [
        "# The ledger: every number that the paper publishes",
        "",
        "Made from `src/pixelwise/experiments/ledger.yaml` by "
        "`python -m pixelwise.experiments.ledger`; `tests/house/test_ledger.py` holds both alike, "
        "and that each test and page named here has the number.",
        "",
        "CVPR is the camera-ready paper (2015), v2 is arXiv 1411.4038v2 (8 March 2015), README "
        "that of the released models, PAMI the journal paper (2017), whose body was not at hand: "
        "its figures are second-hand. Where versions differ, both stand here.",
        "",
        f"Of {len(numbers())} numbers {counted['derived']} are derived (a test holds the number, "
        f"or what it is rounded from), {counted['measured']} are re-measured here, on another "
        f"machine or other data, and {counted['out']} are out of reach. For rows of nets there are "
        "[recipes](recipes.md).",
    ]
    for table in tables().values():
        lines += ["", f"## {table.id}", "", f"{_sentence(table.title)} Printed in {table.printed}."]
        lines += ["", *(_grid(table) if table.columns else _list(table))]
    return "\n".join(lines) + "\n"


def _grid(table: Table) -> Iterator[str]:
    """The table as it is printed, and beneath it what is known of its numbers."""
    heads = [f"{words(name)}{unit and ', '}{unit}" for name, unit in table.columns.items()]
    yield from _row(["row", *heads])
    yield from _row(["---", *(["--:"] * len(heads))])
    for row, cells in table.rows().items():
        values = [f"{cells[c].value:,}" if c in cells else "" for c in table.columns]
        yield from _row([row, *values])
    yield ""
    yield from _row(["of these", "status", "how, or why"])
    yield from _row(["---"] * 3)
    groups: dict[tuple[str, str], list[Number]] = {}
    for number in table.numbers:
        groups.setdefault((WORDS[number.status], _evidence(number)), []).append(number)
    for (status, evidence), members in groups.items():
        yield from _row([", ".join(_named(table, members)), status, evidence])


def _named(table: Table, members: Sequence[Number]) -> list[str]:
    """Some numbers of a table in few words: whole rows or columns by their names."""
    known = {(row, column) for row, cells in table.rows().items() for column in cells}
    cells = {(row, column) for row, column in known if table.rows()[row][column] in members}
    if cells == known:
        return ["all"]

    def by(axis: int) -> list[str]:
        names: dict[str, None] = {}  # a set in order
        for cell in (c for n in members for c in cells if n.id == f"{table.id}.{c[0]}.{c[1]}"):
            whole = {c for c in known if c[axis] == cell[axis]}
            names[cell[axis] if whole <= cells else ".".join(cell)] = None
        return list(names)

    return min(by(0), by(1), key=len)


def _list(table: Table) -> Iterator[str]:
    yield from _row(["number", "value", "what", "printed", "status", "how, or why"])
    yield from _row(["---", "--:", *(["---"] * 4)])
    for n in table.numbers:
        where = n.printed.removeprefix(f"{table.printed}, ")
        about = [n.text, n.what, where, WORDS[n.status], _evidence(n)]
        yield from _row([n.id[len(table.id) + 1 :], *about])


def _evidence(number: Number) -> str:
    if number.status == "derived":
        return f"`{number.evidence}`"
    name = Path(number.page).name
    return f"{number.evidence} ([{name}]({name}))" if name else number.evidence


def _row(cells: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"


def words(column: str) -> str:
    """A column's name as it is read: mean IU."""
    return column.replace("_", " ").replace("iu", "IU")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    written = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/ledger.md")
    atomic_write(written, page())
