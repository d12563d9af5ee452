"""Evaluation while training: the same predictor and counts that users call, and a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import Scores, per_class, scores
from pixelwise.predict.predictor import Predictor
from pixelwise.training import processes

if TYPE_CHECKING:
    from pixelwise.training.setup import Setup

COLLAPSE = 0.995
"""A net that gives one class this share of all pixels, where the truth does not, has collapsed."""


@dataclass(frozen=True)
class Validation:
    """Scores on the validation split at one step."""

    step: int
    scores: Scores
    per_class_iu: tuple[float | None, ...]
    guess_share: tuple[float, ...]
    collapsed: bool
    diagnosis: str

    @property
    def mean_iu(self) -> float:
        """The paper's mean IU."""
        return self.scores.mean_iu

    def as_dict(self) -> dict[str, Any]:
        """The fields of a journal's ``validate`` event."""
        return {
            "step": self.step,
            **self.scores.as_dict(),
            "per_class_iu": list(self.per_class_iu),
            "guess_share": list(self.guess_share),
        }

    def summary(self) -> str:
        """One line for people."""
        s = self.scores
        return (
            f"step {self.step}: mean IU {100 * s.mean_iu:.1f} %, "
            f"pixel accuracy {100 * s.pixel_accuracy:.1f} %"
        )


def validate(setup: Setup, step: int) -> Validation:
    """Evaluate the weights that would be kept: the moving average where there is one."""
    k = len(setup.dataset.classes)
    counts = np.zeros((k, k), np.int64)
    with averaged(setup.net, setup.stepper.average):
        predictor = Predictor(
            setup.net,
            setup.found.preprocess,
            view=setup.found.view,
            precision=setup.recipe.precision,
            device=setup.fabric.device,
        )
        processes.same_buffers(setup.fabric, setup.net)
        for item in processes.mine(setup.fabric, setup.validation):
            sample = setup.found.read(item)
            counts += confusion(sample.labels, predictor.labels(sample.image), k)
    counts = processes.total(setup.fabric, torch.from_numpy(counts)).cpu().numpy()
    return summarise(counts, setup.dataset.classes, step)


def summarise(counts: np.ndarray, classes: tuple[str, ...], step: int) -> Validation:
    """Scores and diagnosis of a confusion matrix."""
    total = max(1, int(counts.sum()))
    guess, truth = counts.sum(0) / total, counts.sum(1) / total
    top = int(guess.argmax())
    collapsed = bool(len(classes) > 1 and guess[top] > COLLAPSE and truth[top] < COLLAPSE)
    diagnosis = ""
    if collapsed:
        diagnosis = (
            f"step {step}: the net gives {100 * guess[top]:.1f} % of all pixels to "
            f"`{classes[top]}` ({100 * truth[top]:.1f} % of the truth): it has collapsed to one "
            "class. Usual causes: the rate is too high or far too low (try a tenth, or ten times), "
            "a trunk without pretrained weights (--weights), labels that are nearly all one class "
            "(pixelwise data stats; then --set loss.class_weights=sqrt)"
        )
    shares = tuple(float(g) for g in guess)
    ius = tuple(row.iu for row in per_class(counts, classes))
    return Validation(step, scores(counts), ius, shares, collapsed, diagnosis)


@contextmanager
def averaged(net: nn.Module, average: Any) -> Iterator[None]:
    """The net with its moving average in place of its weights, for the length of the block."""
    if average is None:
        yield
        return
    own = {k: v.detach().clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        net.load_state_dict(average.tensors)
    try:
        yield
    finally:
        with torch.no_grad():
            net.load_state_dict(own)
