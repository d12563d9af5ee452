"""``pixelwise recipes``: the experiments of the paper, each as a recipe to edit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import Json

if TYPE_CHECKING:
    from pixelwise.experiments.recipes import Experiment


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="recipe to print; none: all are listed")
    ] = None,
    json: Json = False,
) -> None:
    """List the paper's experiments, or print one as a YAML recipe.

    pixelwise recipes table2.fcn8s > fcn8s.yaml; pixelwise train fcn8s.yaml -o RUN
    """
    from pixelwise.experiments.recipes import experiment, names

    if name is None:
        _list([experiment(known) for known in names()], as_json=json)
    elif json:
        one = experiment(name)
        emit_json({**_facts(one), "recipe": one.values})
    else:
        sys.stdout.write(experiment(name).sheet)


def _list(all_: list[Experiment], *, as_json: bool) -> None:
    if as_json:
        emit_json([_facts(one) for one in all_])
        return
    rows = [one for one in all_ if one.table]
    columns = ("recipe", "data", "hours on an H100", "published, %", "in")
    cells = [(*_start(one), _figures(one), one.table.printed if one.table else "") for one in rows]
    table(f"{len(rows)} published rows; `pixelwise recipes NAME` prints one", columns, cells)
    others = [(*_start(one), one.remarks[0]) for one in all_ if not one.table]
    table("what they are made of, and more", (*columns[:3], "what it is"), others)
    say("hours are estimated, without evaluations; docs/recipes.md says how")


def _start(one: Experiment) -> tuple[str, str, str]:
    return one.name, one.values["data"].rpartition("/")[2], f"{one.hours:.1f}"


def _figures(one: Experiment) -> str:
    """Mean IU where it is published, and what stands beside it."""
    from pixelwise.experiments.ledger import words

    shown = {c: n for c, n in one.expected.items() if "mean_iu" in c or c == "geometry"}
    return ", ".join(f"{words(column)} {number.value}" for column, number in shown.items())


def _facts(one: Experiment) -> dict[str, Any]:
    """What is listed of each: figures in percent, as they are printed."""
    return {
        "name": one.name,
        "about": one.remarks[0],
        "data": one.values["data"],
        "hours_on_an_h100": round(one.hours, 2),
        "expected": {c: {"value": n.value, "unit": n.unit} for c, n in one.expected.items()},
        "source": one.table.printed if one.table else "",
        "commands": one.commands,
    }
