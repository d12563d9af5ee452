"""Evaluation while training: the same predictor and counts that users call, and a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.runner import TorchRunner
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import Scores, per_class, scores
from pixelwise.predict.predictor import Predictor
from pixelwise.training import processes
from pixelwise.training.run_data import RunData
from pixelwise.training.step import Stepper

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


def validate(stepper: Stepper, data: RunData, preprocess: Preprocess, step: int) -> Validation:
    """Evaluate the weights that would be kept, as the finished model would be shown pictures.

    Args:
        stepper: of the run; its net gets its own weights back.
        data: of the run.
        preprocess: of the net.
        step: optimizer steps done.
    """
    fabric, recipe, classes = stepper.fabric, stepper.recipe, data.dataset.classes
    counts = np.zeros((len(classes), len(classes)), np.int64)
    with averaged(stepper.net, stepper.average):
        runner = TorchRunner(stepper.net, bf16=recipe.precision == "bf16", device=fabric.device)
        predictor = Predictor(runner, preprocess, view=recipe.view)
        processes.same_buffers(fabric, stepper.net)
        for item in processes.mine(fabric, data.held_out):
            sample = data.read(item)
            counts += confusion(sample.labels, predictor.labels(sample.image), len(classes))
    counts = processes.total(fabric, torch.from_numpy(counts)).cpu().numpy()
    return summarise(counts, classes, step)


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
