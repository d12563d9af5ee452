"""A model in eight bits: calibrated on pictures, and compared with itself in float32.

Maps get the eight bits that fit what they hold for some pictures, all convolutions are put into
eight bits, and where too few labels stay what they were those that cost most are taken out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.sample import Item
from pixelwise.engine.calibration import Counts
from pixelwise.engine.folding import folded
from pixelwise.engine.lowering import convolutions
from pixelwise.engine.planned import PlannedRunner, unseen
from pixelwise.engine.quantised import Filters, Quantised
from pixelwise.engine.rounding import unsupported
from pixelwise.errors import DataError, ResourceError, UsageError
from pixelwise.evaluation.evaluate import Evaluation, Pair, evaluate_heads
from pixelwise.predict.model import Model
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.sources import Job, find
from pixelwise.weights import eight_bits
from pixelwise.weights.sniff import weight_file

RANKED_ON = 4
"""Pictures on which single layers are compared: their order hardly depends on more."""
Labels = Mapping[str, NDArray[np.uint8]]
"""By head, (H, W)."""
Stage = Callable[[str, int], AbstractContextManager[Callable[[], object]]]
"""What shows how far one of the steps is, from its name and the number of its parts."""


@dataclass(frozen=True)
class Look:
    """A picture to calibrate on, or to compare on, read when it is needed."""

    name: str
    image: Callable[[], NDArray[Any]]
    truth: Callable[[], Labels] | None = None
    """Its labels, where there are any."""


@dataclass(frozen=True)
class Outcome:
    """A model in eight bits, and how near it is to itself in float32."""

    model: Model
    layers: int
    """Convolutions of the net."""
    exact: tuple[str, ...]
    """Those that stay in float32."""
    calibrated: int
    """Pictures."""
    compared: int
    """Pictures."""
    apart: bool
    """Whether those are other ones."""
    agreement: float
    """Part of their labels that are those of float32."""
    evaluations: tuple[Evaluation, ...]
    """In float32 and in eight bits, on those pictures; none where they have no labels."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        told = {k: v for k, v in vars(self).items() if k not in ("model", "evaluations")}
        ious = (e.scores.mean_iu for e in self.evaluations)
        return told | {"mean_iu": dict(zip(("fp32", "int8"), ious, strict=False))}


def looks(model: Model, data: Path, split: str) -> list[Look]:
    """The pictures of a split of a data set, or of a folder without labels.

    Raises:
        DataError: there are none, or none for this model.
    """
    try:
        dataset = model.fitting(open_dataset(data))
    except DataError as error:
        if error.code != "D011":  # no layout of labels
            raise
        jobs, _ = find([str(data)], data / "none")
        read = partial(_content, model)
        return [Look(job.name, partial(read, job)) for job in jobs]
    only = next(iter(model.heads))
    own = {head: head if len(model.heads) > 1 else only for head in dataset.heads}

    def image(item: Item) -> NDArray[Any]:
        return dataset.read(item).image

    def truth(item: Item) -> Labels:
        return {own[head]: labels for head, labels in dataset.read(item).heads.items()}

    items = dataset.items(split)
    return [Look(item.name, partial(image, item), partial(truth, item)) for item in items]


def _content(model: Model, job: Job) -> NDArray[Any]:
    return model.image(job.content(model.inputs))


def apart(seen: Sequence[Look], count: int) -> tuple[list[Look], list[Look]]:
    """``count`` of them to calibrate on, as many others to compare on; each from all over.

    Where there are no others the same.
    """
    first = _spread(seen, count)
    others = [look for look in seen if look not in first]
    return first, _spread(others, count) or first


def _spread(seen: Sequence[Look], count: int) -> list[Look]:
    count = min(count, len(seen))
    return [seen[i * len(seen) // count] for i in range(count)]


class Trial:
    """A model in float32, and in eight bits but for some layers, on the same weights.

    Raises:
        UsageError: U002 it is not carried out by a plan in float32.
    """

    def __init__(self, model: Model, seen: Sequence[Look], stage: Stage) -> None:
        runner = model.predictor.runner
        runner.net.only_classes("quantised nets")
        if not isinstance(runner, PlannedRunner) or runner.precision != "fp32":
            what = f"{model.path}: only what a plan carries out in float32 can be quantised"
            raise UsageError("U002", what, "give a checkpoint, with --device cpu")
        self.model, self.seen, self.stage = model, seen, stage
        self.plan, counts = runner.plan, Counts()
        self.names = [op.name for op in convolutions(self.plan)]
        runner.see = counts
        try:
            self.truth = self.labels(model, seen, "calibrating")
        finally:
            runner.see = unseen
        with torch.inference_mode():
            filters = {
                op.name: Filters.of(folded(op, runner.network)) for op in convolutions(self.plan)
            }
        self.whole = Quantised(counts.numbers(self.plan), filters)
        self._runner = PlannedRunner(runner.network, quantised=self.whole)

    def labels(self, model: Model, seen: Sequence[Look], doing: str) -> list[Labels]:
        """What a model makes of pictures."""
        made: list[Labels] = []
        with self.stage(doing, len(seen)) as done:
            for look in seen:
                by_head = model.predictor.by_head(look.image())
                made.append({head: own.labels for head, own in by_head.items()})
                done()
        return made

    def without(self, exact: Sequence[str]) -> Model:
        """The model in eight bits but for some layers."""
        filters = {n: f for n, f in self.whole.filters.items() if n not in exact}
        low = replace(self.whole, filters=filters)
        low = replace(low, numbers=low.plan(self.plan).numbers)  # of these maps alone
        old = self.model.predictor
        runner = self._runner.sharing(low)
        predictor = Predictor(runner, old.preprocess, view=old.view)
        return replace(self.model, predictor=predictor)

    def agreement(self, exact: Sequence[str], doing: str, count: int | None = None) -> float:
        """Part of the labels of the first pictures that stay."""
        return same(self.truth, self.labels(self.without(exact), self.seen[:count], doing))

    def to_keep(self, wanted: float) -> list[str]:
        """The layers that stay in float32, so that a ``wanted`` part of the labels stays.

        Those first whose eight bits alone change the most, as many as it takes.
        """
        if self.agreement([], "all layers in eight bits") >= wanted:
            return []
        alone = {}
        for n, name in enumerate(self.names):
            others = [other for other in self.names if other != name]
            doing = f"layer {n + 1} of {len(self.names)} alone"
            alone[name] = self.agreement(others, doing, RANKED_ON)
        ranked = sorted(self.names, key=alone.__getitem__)
        few, enough = 0, len(ranked)
        while enough - few > 1:  # doubled until they suffice, then halved between
            count = min((few + enough) // 2, 2 * few + 1)
            reached = self.agreement(ranked[:count], f"{count} layers in float32") >= wanted
            few, enough = (few, count) if reached else (count, enough)
        return ranked[:enough]


def same(truth: Sequence[Labels], made: Sequence[Labels]) -> float:
    """Part of the pixels with the same label."""
    equal = [a[head] == b[head] for a, b in zip(truth, made, strict=False) for head in a]
    kept = sum(int(e.sum()) for e in equal)
    return kept / sum(int(e.size) for e in equal)


def quantised(
    model: Model,
    data: Path,
    *,
    split: str = "val",
    pictures: int = 32,
    agreement: float = 0.995,
    stage: Stage,
) -> Outcome:
    """A model in eight bits.

    Args:
        model: one in float32 that is carried out by its plan.
        data: a data set, or a folder of pictures without labels.
        split: of a data set the one that is looked at.
        pictures: how many to calibrate on, and to compare on.
        agreement: part of the labels that has to stay, on the pictures of the calibration.
        stage: shows how far it is.

    Raises:
        UsageError: U002 a model without a plan, numbers out of range.
        ResourceError: R009 this processor does not multiply eight bits.
        DataError: no pictures, or none for this model.
        NumericalError: N003 scores are not finite.
    """
    if not (pictures > 0 and 0 < agreement <= 1):
        what = f"{pictures} pictures and an agreement of {agreement:g}, expected 1 or more, up to 1"
        raise UsageError("U002", what, "--pictures 32 --agreement 0.995")
    if why := unsupported("int8"):
        raise ResourceError("R009", f"no int8 here: {why}", "quantise on another machine")
    first, others = apart(looks(model, data, split), pictures)
    trial = Trial(model, first, stage)
    exact = trial.to_keep(agreement)
    low = trial.without(exact)
    made = [
        trial.labels(m, others, f"comparing in {m.predictor.runner.precision}")
        for m in (model, low)
    ]
    part = same(*made)
    runner = low.predictor.runner
    assert isinstance(runner, PlannedRunner)
    assert runner.quantised
    told = eight_bits.calibration(runner.quantised, len(first), part)
    low = replace(low, header=replace(model.header, quantised=told))
    scored = tuple(_scored(model, others, labels) for labels in made) if others[0].truth else ()
    numbers = (len(trial.names), tuple(exact), len(first), len(others), others is not first)
    return Outcome(low, *numbers, part, scored)


def _scored(model: Model, seen: Sequence[Look], made: Sequence[Labels]) -> Evaluation:
    def pairs() -> Iterator[dict[str, Pair]]:
        for look, labels in zip(seen, made, strict=True):
            truth = look.truth() if look.truth else {}
            yield {head: Pair(look.name, own, labels[head]) for head, own in truth.items()}

    return evaluate_heads(pairs(), {head: own.classes for head, own in model.heads.items()})


def refuse_place(out: Path, model: Path, *, force: bool) -> None:
    """A file that is there is not replaced unasked, the model itself never.

    Raises:
        UsageError: U002 another suffix, U003 it is there.
    """
    if out.suffix != ".safetensors":
        what = f"{out}: expected a name that ends in .safetensors"
        raise UsageError("U002", what, f"-o {out.with_suffix('.safetensors')}")
    if out.exists() and (not force or (model.exists() and out.samefile(weight_file(model)))):
        hint = "choose another -o" if force else "choose another -o, or --force"
        raise UsageError("U003", f"{out} exists already", hint)
