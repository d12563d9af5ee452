"""Several small pictures of one size through the net at once, each with the answer it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.runner import Runner, ScoreMap
from pixelwise.predict.predictor import Predictor, size_of

PIXELS = 2**15
"""Of a picture that gains by it. Four in one pass, on one thread, took of the time of four alone:
64x64 0.43 to 0.62, 128x128 0.55 to 0.83, 160x160 0.80, 224x224 0.84 to 1.04 (fcn8s of
EfficientNet-Lite0, tiny and ResNet-18): a layer's start costs as much as 20,000 pixels of it."""


class Computed:
    """A runner of one picture whose scores are there already."""

    def __init__(self, by: Runner, scores: dict[str, ScoreMap]) -> None:
        self.net, self.device, self.precision = by.net, by.device, by.precision
        self.needs, self.scores = by.needs, scores

    def maps(self, _: Tensor, /) -> dict[str, ScoreMap]:
        """Those of the picture, whatever it is given."""
        return self.scores


def can_share(predictor: Predictor, size: tuple[int, int]) -> bool:
    """Whether pictures of ``size`` (H, W) gain by one pass, and come out of it bit for bit alike.

    On a processor, where a plan computes each of several pictures as it computes one.
    """
    small = size[0] * size[1] <= PIXELS
    return small and isinstance(predictor.runner, PlannedRunner) and predictor.plain(size)


def sharing(predictor: Predictor, images: Sequence[NDArray[Any]]) -> list[Predictor]:
    """For each of several pictures of one size that ``can_share`` a predictor that has its scores.

    Raises:
        NumericalError: N003 the scores of one are not finite.
    """
    assert len({size_of(image) for image in images}) == 1
    runner = predictor.runner
    inputs = torch.stack([torch.from_numpy(predictor.preprocess(image)) for image in images])
    made = runner.maps(inputs)
    each = [
        {head: replace(m, cells=m.cells[i : i + 1]) for head, m in made.items()}
        for i in range(len(images))
    ]
    return [
        Predictor(Computed(runner, own), predictor.preprocess, view=predictor.view) for own in each
    ]
