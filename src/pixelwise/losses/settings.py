"""What a training run minimises, as settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from pixelwise.losses.weighting import Scheme
from pixelwise.settings import Number, Text, limits, refuse, settings

Unit = Literal["cell", "pixel"]


@settings("loss.", noun="recipe setting")
class Loss:
    """What is minimised; of several heads each has this loss, by its own labels and classes."""

    reduction: Literal["mean", "image", "sum"] = "mean"
    """mean over all pixels of a step; image: over those of each picture, then over pictures (the
    released FCN-AlexNet); sum: the other released nets' unnormalised sum."""
    class_weights: Scheme = "none"
    """none, median, enet or sqrt, from the training split's pixel counts."""
    jaccard: Annotated[Number, limits(ge=0)] = 0.0
    """Factor on the soft Jaccard loss (it follows mean IU) that is added to the mean; 0: none."""
    keep: Annotated[Number, limits(ge=0.001, le=1)] = 1.0
    """Share of the loss's terms that counts, drawn anew in each step (patch-wise training, paper
    section 3.4); a step then takes 1/keep times as many forward passes."""
    sample: Unit = "cell"
    """What is drawn with ``keep``: pixel, or cell, which is all pixels nearest to a cell of the
    net's coarsest scores."""
    head_weights: Mapping[Text, Annotated[Number, limits(ge=0)]] = field(default_factory=dict)
    """Head to the factor on its loss in the sum of all; 1 where none is given (SIFT Flow's)."""

    def __post_init__(self) -> None:
        refuse(
            self.jaccard != 0
            and self.reduction != "mean"
            and "loss.jaccard is added to a mean, expected loss.reduction mean"
        )

    def total(self, losses: Mapping[str, float]) -> float:
        """The weighted sum of losses by head."""
        return sum(self.head_weights.get(head, 1.0) * loss for head, loss in losses.items())
