"""docs/ledger.md from the ledger; ``python -m tests.house.ledger_page`` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.house.source import ROOT

from pixelwise.experiments.ledger import Number, Table, numbers, tables, words

WORDS = {"derived": "derived", "measured": "re-measured here", "out": "out of reach"}


def page() -> str:
    """What ``docs/ledger.md`` has to hold."""
    counted = {status: sum(n.status == status for n in numbers().values()) for status in WORDS}
    lines = [
        "# The ledger: every number that the paper publishes",
        "",
        "Made from `src/pixelwise/experiments/ledger.yaml` by `python -m tests.house.ledger_page`; "
        "`tests/house/test_ledger.py` holds both alike, and that each test and page named here has "
        "the number.",
        "",
        "CVPR is the camera-ready paper (2015), v2 is arXiv 1411.4038v2 (8 March 2015), README "
        "that of the released models, PAMI the journal paper (2017), whose body was not at hand: "
        "its figures are second-hand. Where versions differ, both stand here. A number's id is "
        "its table, row and column: `table2.fcn8s.mean_iu`.",
        "",
        f"Of {len(numbers())} numbers {counted['derived']} are derived (a test holds the number, "
        f"or what it is rounded from), {counted['measured']} are re-measured here, on another "
        f"machine or other data, and {counted['out']} are out of reach. For rows of nets there are "
        "[recipes](recipes.md). Where a claim is named, what the numbers say together is measured "
        "again on the data that is here: `pixelwise reproduce` "
        "([reproduction.md](reproduction.md)).",
    ]
    for table in tables().values():
        lines += ["", f"## {table.id}", "", f"{sentence(table.title)} Printed in {table.printed}."]
        lines += ["", *(grid(table) if table.columns else single(table))]
    return "\n".join(lines) + "\n"


def grid(table: Table) -> Iterator[str]:
    """The table as it is printed, and beneath it what is known of its numbers."""
    heads = [f"{words(name)}{unit and ', '}{unit}" for name, unit in table.columns.items()]
    yield from line(["row", *heads])
    yield from line(["---", *(["--:"] * len(heads))])
    for row, cells in table.rows().items():
        values = [f"{cells[c].value:,}" if c in cells else "" for c in table.columns]
        yield from line([row, *values])
    yield ""
    yield from line(["of these", "status", "how, or why"])
    yield from line(["---"] * 3)
    groups: dict[tuple[str, str], list[Number]] = {}
    for number in table.numbers:
        groups.setdefault((WORDS[number.status], reason(number)), []).append(number)
    for (status, evidence), members in groups.items():
        yield from line([", ".join(named(table, members)), status, evidence])


def named(table: Table, members: Sequence[Number]) -> list[str]:
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
        return [*names]

    return min(by(0), by(1), key=len)


def single(table: Table) -> Iterator[str]:
    yield from line(["number", "value", "what", "printed", "status", "how, or why"])
    yield from line(["---", "--:", *(["---"] * 4)])
    for n in table.numbers:
        where = n.printed.removeprefix(f"{table.printed}, ")
        about = [n.text, n.what, where, WORDS[n.status], reason(n)]
        yield from line([n.id[len(table.id) + 1 :], *about])


def reason(number: Number) -> str:
    place = Path(number.page).name
    text = f"`{number.evidence}`" if number.status == "derived" else number.evidence
    text += f" ([{place}]({place}))" if place else ""
    return f"{text}; claim `{number.claim}`" if number.claim else text


def line(cells: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    (ROOT / "docs" / "ledger.md").write_text(page(), "utf-8")
