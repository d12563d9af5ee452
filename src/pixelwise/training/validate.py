"""Evaluation while training: the same predictor and counts that users call, and a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.runner import TorchRunner
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.measured import MEASURES, SIZES, SUMS, Measures
from pixelwise.metrics.scores import Scores, majority, per_class, scores
from pixelwise.predict.predictor import Predictor
from pixelwise.training import processes
from pixelwise.training.run_data import RunData
from pixelwise.training.step import Stepper

COLLAPSE = 0.995
"""A net that gives one class this share of all pixels, where the truth does not, has collapsed."""


@dataclass(frozen=True)
class HeadScores:
    """Scores of one head."""

    scores: Scores | Measures
    beside: str
    """What one would get that has learned nothing."""
    facts: Mapping[str, Any] = field(default_factory=dict)  # of each class
    collapse: str = ""
    """What a net of one class is told; empty where several are predicted."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.scores.as_dict(), **self.facts}


@dataclass(frozen=True)
class Validation:
    """Scores on the validation split at one step."""

    step: int
    heads: Mapping[str, HeadScores]

    @property
    def scores(self) -> Scores | Measures:
        """Of the first head, which decide what is best."""
        return next(iter(self.heads.values())).scores

    @property
    def collapse(self) -> str:
        """What is said of the first head that has collapsed; empty: of none."""
        return next((head.collapse for head in self.heads.values() if head.collapse), "")

    def as_scores(self) -> dict[str, Any]:
        """What a checkpoint notes: the scores, of several heads the first one's on top."""
        heads = {name: head.scores.as_dict() for name, head in self.heads.items()}
        return {**self.scores.as_dict(), **({"heads": heads} if len(heads) > 1 else {})}

    def as_dict(self) -> dict[str, Any]:
        """The fields of a journal's ``validate`` event; of several heads the first one's on top."""
        heads = {name: head.as_dict() for name, head in self.heads.items()}
        several = {"heads": heads} if len(heads) > 1 else {}
        return {"step": self.step, **next(iter(heads.values())), **several}


def validate(
    stepper: Stepper,
    data: RunData,
    preprocess: Preprocess,
    step: int,
    watch: Callable[[int, int], object] = lambda *_: None,
) -> Validation:
    """Evaluate the weights that would be kept; ``watch`` hears of how many pictures of how many."""
    fabric, recipe, classes = stepper.fabric, stepper.recipe, data.dataset.classes_by_head
    kind_of = {head: data.dataset.class_maps[head].kind.kind for head in classes}
    counts = {
        head: np.zeros(SIZES[kind]) if kind in SIZES else np.zeros(2 * (len(classes[head]),), int)
        for head, kind in kind_of.items()
    }
    own_share = data.held_out[fabric.global_rank :: fabric.world_size]
    with kept_predictor(stepper, preprocess) as predictor:
        processes.same_buffers(fabric, stepper.net)
        for number, item in enumerate(own_share, start=1):
            sample = data.read(item)
            for head, made in predictor.by_head(sample.image).items():
                pair = sample.heads[head], made.labels
                sums = SUMS.get(kind_of[head])
                counts[head] += sums(*pair) if sums else confusion(*pair, len(classes[head]))
            watch(number, len(own_share))
    heads = {}
    for head, own in counts.items():
        of_all = processes.combined(fabric, torch.from_numpy(own), "sum").cpu().numpy()
        if measures := MEASURES.get(kind_of[head]):
            measured = measures(of_all)
            heads[head] = HeadScores(measured, measured.beside)
            continue
        where = f"step {step}{data.dataset.of_head(head)}"
        heads[head] = _head_scores(of_all, classes[head], where)
        if recipe.loss.head_weights.get(head) == 0:  # it is not trained, so it cannot collapse
            heads[head] = replace(heads[head], collapse="")
    return Validation(step, heads)


def _head_scores(counts: np.ndarray, classes: Sequence[str], where: str) -> HeadScores:
    shares = [float(g) for g in counts.sum(0) / max(1, int(counts.sum()))]
    ius = [row.iu for row in per_class(counts, classes)]
    facts = {"per_class_iu": ius, "guess_share": shares}
    beside, collapse = majority(counts, classes).sentence(), _collapse(counts, classes, where)
    return HeadScores(scores(counts), beside, facts, collapse)


def _collapse(counts: np.ndarray, classes: Sequence[str], where: str) -> str:
    """What is wrong with a net that gives nearly every pixel to one class; else empty."""
    total = max(1, int(counts.sum()))
    guess, truth = counts.sum(0) / total, counts.sum(1) / total
    top = int(guess.argmax())
    if len(classes) == 1 or guess[top] <= COLLAPSE or truth[top] >= COLLAPSE:
        return ""
    return (
        f"{where}: the net gives {100 * guess[top]:.1f} % of all pixels to "
        f"`{classes[top]}` ({100 * truth[top]:.1f} % of the truth): it has collapsed to one "
        "class. Usual causes: the rate is too high or far too low (try a tenth, or ten times), "
        "a trunk without pretrained weights (--weights), labels that are nearly all one class "
        "(pixelwise data stats; then --set loss.class_weights=sqrt)"
    )


@contextmanager
def kept_predictor(stepper: Stepper, preprocess: Preprocess) -> Iterator[Predictor]:
    """Predicts by the weights that would be kept, as the finished model would be shown pictures.

    The net gets its own weights back.
    """
    recipe, device = stepper.recipe, stepper.fabric.device
    with averaged(stepper):
        bf16 = recipe.precision == "bf16"
        runner = TorchRunner(stepper.net, bf16=bf16, device=device)
        yield Predictor(runner, preprocess, view=recipe.view)


@contextmanager
def averaged(stepper: Stepper) -> Iterator[None]:
    """The net with its moving average, if any, in place of its weights within the block."""
    if stepper.average is None:
        yield
        return
    own = {k: v.clone() for k, v in stepper.net.state_dict().items()}
    stepper.net.load_state_dict(stepper.kept)
    try:
        yield
    finally:
        stepper.net.load_state_dict(own)
