"""Every number that the paper publishes, where it is printed, and what is known of it here.

``ledger.yaml`` has them; docs/ledger.md is made from it (``tests/house/ledger_page.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from pixelwise.training.recipe_text import plain_data

Status = Literal["derived", "measured", "out"]


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
    claim: str = ""
    """What of it is measured again on other data: a claim of ``claims.yaml``."""

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
        known = told["status"][patterns[-1]]
        status = next(status for status in get_args(Status) if status in known)
        evidence = reasons[known["out"]] if status == "out" else known[status]
        beside = known.get("in", ""), known.get("claim", "")
        return Number(f"{name}.{key}", value, unit, what, where, status, evidence, *beside)

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


def words(column: str) -> str:
    """A column's name as it is read: mean IU."""
    return column.replace("_", " ").replace("iu", "IU")
