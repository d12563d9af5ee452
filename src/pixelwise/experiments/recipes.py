"""A recipe for each published row of nets, and those that they are made of, by name.

``recipes/`` has the latter as files; ``rows.yaml`` says of each row what it is made of and what is
changed. What a row should reach stands in the ledger under its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

from pixelwise.errors import unknown_name
from pixelwise.experiments import ledger
from pixelwise.experiments.ledger import Number
from pixelwise.nets.catalog import spec
from pixelwise.settings import read
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import plain_data, yaml_text
from pixelwise.training.stages import merged

HINT = "`pixelwise recipes` lists them all"
_HOME = files("pixelwise.experiments")

STEP_SECONDS = {1: 0.0507, 16: 0.0287}
"""A training step of fcn8s-vgg16 on an H100, float32, by pictures a step: seconds for each picture
of 500x500 (docs/lab-log.md, 2026-11-26, "Speed on that GPU")."""


@dataclass(frozen=True)
class Experiment:
    """A recipe by its name, with what its row is said to reach."""

    name: str
    values: Mapping[str, Any]
    """The recipe as plain data; its paths name PIXELWISE_DATA or PIXELWISE_TEST_DATA."""
    remarks: tuple[str, ...]
    """Lines; the first says what it is."""
    text: str
    """The recipe as YAML, without remarks."""
    judge: str = ""
    """submission, or options of ``evaluate``."""
    table: ledger.Table | None = None

    @property
    def expected(self) -> dict[str, Number]:
        """The published figures of its row by column."""
        row = self.name.rpartition(".")[2]
        return self.table.rows()[row] if self.table else {}

    @property
    def recipe(self) -> Recipe:
        """As it is read; variables in its paths stay."""
        return read(Recipe, dict(self.values), place=self.name)

    @property
    def hours(self) -> float:
        """How long it trains on an H100, without evaluations: an estimate.

        Multiply-adds of a picture of the usual size, over those of the net that was measured.
        A recipe with ``minutes`` takes these.
        """
        recipe = self.recipe
        stages = recipe.by_stage().values() if recipe.stages else [recipe]
        return sum(map(self._hours, stages))

    def _hours(self, recipe: Recipe) -> float:
        if recipe.minutes:
            return recipe.minutes / 60
        told = _data(self.values)
        per_step = recipe.batch * recipe.passes
        pictures = recipe.iterations * per_step
        if recipe.epochs:
            pictures = round(recipe.epochs * ledger.numbers()[told["pictures"]].value)
        share = _work(recipe.net, *told["size"]) / _work("fcn8s-vgg16", 500, 500)
        return pictures * STEP_SECONDS[16 if recipe.batch >= 16 else 1] * share / 3600

    @property
    def commands(self) -> tuple[str, ...]:
        """From the archives to the figure, once the recipe is in a file."""
        told, data, run = _data(self.values), self.values["data"], f"runs/{self.name}"
        prepare = f"pixelwise data prepare {told['prepare']} SRC {data}"
        options = f" {told['options']}" if "options" in told else ""
        train = f"pixelwise train {self.name}.yaml -o {run}"
        judge = f"pixelwise evaluate {run} {data} --split {self.values['val_split']}"
        if self.judge == "submission":
            judge = f"pixelwise predict {run} $PIXELWISE_DATA/voc --split test -o OUT --submission"
        elif self.judge:
            judge += f" {self.judge}"
        return f"{prepare}{options}", train, judge

    @property
    def sheet(self) -> str:
        """The recipe as YAML that ``pixelwise train`` takes, with all that is known of it."""
        figures = ", ".join(f"{ledger.words(c)} {n.text}" for c, n in self.expected.items())
        source = next((n.printed for n in self.expected.values()), "")
        head = [
            *self.remarks,
            *([f"Published in {source}:", f"{figures}."] if figures else []),
            f"About {self.hours:.1f} hours on one H100 (docs/recipes.md), evaluations not counted.",
            "",
            f"  pixelwise recipes {self.name} > {self.name}.yaml",
            *(f"  {command}" for command in self.commands),
        ]
        return "".join(f"# {line}".rstrip() + "\n" for line in head) + self.text


@cache
def _work(net: str, height: int, width: int) -> int:
    """Multiply-adds of a picture."""
    return sum(spec(net).macs(height, width).values())


@cache
def names() -> tuple[str, ...]:
    """Rows in the paper's order, then the recipes that they are made of."""
    rows = [
        f"{table.id}.{row}"
        for table in ledger.tables().values()
        for row in table.rows()
        if f"{table.id}.{row}" in _rows()["rows"]
    ]
    kept = sorted(p.name for p in (_HOME / "recipes").iterdir() if p.name.endswith(".yaml"))
    return (*rows, *(name.removesuffix(".yaml") for name in kept))


@cache
def experiment(name: str) -> Experiment:
    """The recipe called ``name``; a UsageError (U001) lists similar names."""
    if name not in names():
        raise unknown_name("recipe", name, names(), HINT)
    told = _rows()["rows"].get(name)
    if told is None:
        lines = (_HOME / "recipes" / f"{name}.yaml").read_text("utf-8").splitlines(keepends=True)
        head = [*takewhile(lambda line: line.startswith("#"), lines)]
        text = "".join(lines[len(head) :])
        remarks = tuple(line.removeprefix("#").strip() for line in head)
        return Experiment(name, plain_data(text), remarks, text)
    table = ledger.tables()[name.rpartition(".")[0]]
    values = _changed(experiment(told["of"]).values, told.get("keep"), told.get("change", {}))
    remarks = (f"{name}: {table.title}.",)
    return Experiment(name, values, remarks, yaml_text(values), told.get("judge", ""), table)


@cache
def _rows() -> Any:
    return plain_data((_HOME / "rows.yaml").read_text("utf-8"))


def _data(values: Mapping[str, Any]) -> Mapping[str, Any]:
    told: Mapping[str, Any] = _rows()["data"][PurePosixPath(values["data"]).name]
    return told


def _changed(
    values: Mapping[str, Any], keep: Sequence[str] | None, change: Mapping[str, Any]
) -> dict[str, Any]:
    """Some stages of a recipe, of which a single one is a recipe without stages, with changes."""
    stages = values.get("stages", {})
    rest = {k: v for k, v in values.items() if k != "stages"}
    kept = {name: stages[name] for name in keep or stages}
    if keep is not None and len(keep) == 1:
        rest = merged(rest, kept[keep[0]])
        kept = {}
    whole = _without_none(merged(rest | {"stages": kept}, change))
    stages = whole.pop("stages")  # after what they share
    return whole | ({"stages": stages} if stages else {})


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
