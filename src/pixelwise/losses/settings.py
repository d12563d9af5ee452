"""What a training run minimises, as settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pixelwise.losses.weighting import Scheme
from pixelwise.settings import Number, limits, refuse, settings


@settings("loss.", noun="recipe setting")
class Loss:
    """What is minimised."""

    reduction: Literal["mean", "sum"] = "mean"
    """mean over pixels, or the released nets' unnormalised sum."""
    class_weights: Scheme = "none"
    """none, median, enet or sqrt, from the training split's pixel counts."""
    jaccard: Annotated[Number, limits(ge=0)] = 0.0
    """Factor on the soft Jaccard loss (it follows mean IU) that is added to the mean; 0: none."""

    def __post_init__(self) -> None:
        refuse(
            self.jaccard != 0
            and self.reduction != "mean"
            and "loss.jaccard is added to a mean, expected loss.reduction mean"
        )
