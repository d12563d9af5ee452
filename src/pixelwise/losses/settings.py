"""What a training run minimises, as settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from pixelwise.losses.weighting import Scheme
from pixelwise.nets.heads.auxiliary import AT
from pixelwise.settings import Number, Share, Text, limits, refuse, settings

Unit = Literal["cell", "pixel"]
Factor = Annotated[Number, limits(ge=0)]
Form = Literal["l1", "l2", "log"]


@settings("loss.", noun="recipe setting")
class Loss:
    """What is minimised; of several heads each has this loss, by its own labels and classes."""

    reduction: Literal["mean", "image", "sum"] = "mean"
    """mean over all pixels of a step; image: over those of each picture, then over pictures (the
    released FCN-AlexNet); sum: the other released nets' unnormalised sum."""
    class_weights: Scheme = "none"
    """none, median, enet, sqrt, inverse or effective, from the training split's pixel counts."""
    cross_entropy: Factor = 1.0
    """Factor on the cross-entropy of pixels, the paper's loss; 0: only what is added below."""
    focal: Factor = 0.0
    """Gamma of the focal loss (2 in its paper): a pixel whose class has probability p counts
    (1 - p) ** gamma times; 0: all alike."""
    border: Factor = 0.0
    """How much more a pixel on a border between classes counts than one far away (10 in U-Net)."""
    hard: Annotated[Number, limits(gt=0, le=1)] = 1.0
    """Share of a picture's pixels that counts in cross-entropy: those with the largest losses."""
    hard_below: Share = 0.0
    """Beside that share count all pixels whose class has a probability less than this."""
    jaccard: Factor = 0.0
    """Factor on the soft Jaccard loss (it follows mean IU) that is added to the mean; 0: none."""
    dice: Factor = 0.0
    """The same of the soft Dice loss."""
    lovasz: Factor = 0.0
    """The same of the Lovasz-softmax loss, which is 1 - IU between sure guesses too."""
    boundary: Factor = 0.0
    """The same of the boundary loss: probability times the distance to where its class is."""
    keep: Annotated[Number, limits(ge=0.001, le=1)] = 1.0
    """Share of the loss's terms that counts, drawn anew in each step (patch-wise training, paper
    section 3.4); a step then takes 1/keep times as many forward passes."""
    sample: Unit = "cell"
    """What is drawn with ``keep``: pixel, or cell, which is all pixels nearest to a cell of the
    net's coarsest scores."""
    head_weights: Mapping[Text, Factor] = field(default_factory=dict)
    """Head to the factor on its loss in the sum of all; 1 where none is given (SIFT Flow's)."""
    auxiliary: Mapping[Text, Factor] = field(default_factory=dict)
    """Layer to the factor on the loss of scores that are made of it in training alone (0.4 in
    PSPNet); of a layer that has scores itself, such as score_fr, it is deep supervision."""

    numbers: Form = "l1"
    """Of heads of numbers: l1, l2, or log, which learns logarithms (Eigen et al. 2014)."""

    def __post_init__(self) -> None:
        by_pixel = self.focal or self.border or self.hard < 1 or self.class_weights != "none"
        refuse(
            *(
                f"loss.{name} is added to a mean, expected loss.reduction mean"
                for name in self.regions
                if self.reduction != "mean"
            ),
            self.cross_entropy == 0
            and not self.regions
            and "loss.cross_entropy is 0 and nothing is added: nothing would be learned",
            self.cross_entropy == 0
            and bool(by_pixel)
            and "loss.focal, border, hard and class_weights are of cross-entropy, "
            "expected loss.cross_entropy above 0",
            self.hard_below > 0
            and self.hard == 1
            and "loss.hard_below adds to what loss.hard keeps, expected loss.hard below 1",
        )

    @property
    def regions(self) -> dict[str, float]:
        """The factors on losses of regions, by name, where there are any."""
        factors = {name: getattr(self, name) for name in ("jaccard", "dice", "lovasz", "boundary")}
        return {name: factor for name, factor in factors.items() if factor}

    @property
    def of_sums(self) -> bool:
        """Whether all of it follows from sums over pixels by class."""
        alike = (self.focal, self.border, self.hard) == (0, 0, 1)
        return alike and self.regions.keys() <= {"jaccard", "dice"}

    def factor(self, of: str) -> float:
        """On the loss of a head, or of an auxiliary of it (``nets.heads.auxiliary``)."""
        head, _, layer = of.partition(AT)
        return self.head_weights.get(head, 1.0) * (self.auxiliary[layer] if layer else 1.0)

    def total(self, losses: Mapping[str, float]) -> float:
        """The weighted sum of losses by head."""
        return sum(self.factor(of) * loss for of, loss in losses.items())
