"""How a picture is shown to a net; part of a model, as its preprocessing is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

from pixelwise.crf.parameters import DenseCrf
from pixelwise.predict.components import Sieve
from pixelwise.settings import Number, Whole, as_dict, in_one_word, limits, refuse, settings

Zoom = Annotated[Number, limits(gt=0, le=8)]
"""Factor on a picture's size; at 8 a photo of 500x375 has 12 million pixels."""
Zooms = Annotated[tuple[Zoom, ...], limits(max_length=16), in_one_word]
"""Sizes at which one picture is shown, each a pass through the net."""

Temperature = Annotated[Number, limits(ge=0.005, le=200)]
Stitch = Annotated[Whole, limits(ge=1, le=32)]
"""Factor by which shift-and-stitch divides a stride; 32 is the largest there is."""


@settings(hint="--zoom 2, or several: --zoom 1.25,1.75")
class View:
    """What is done with a picture before a net, and with its scores after."""

    zooms: Zooms = (1.0,)
    """The picture is enlarged by each of these, its scores are brought back, and averaged."""
    mirror: bool = False
    """Scores are the mean over the picture and its mirror image; twice the work."""
    stitch: Stitch = 1
    """Scores are this many times finer, from as many times as many shifted pictures, squared."""
    crf: DenseCrf | None = None
    """The dense CRF that the scores go through."""
    sieve: Sieve = Sieve()
    """Which labels stay."""
    temperature: Mapping[str, Temperature] = field(default_factory=dict)
    """By head what scores are divided by before the softmax (Guo et al. 2017); 1 where none is."""

    def __post_init__(self) -> None:
        refuse(not self.zooms and "no zooms, expected at least one")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a header; what is as usual is left out where versions before lack it."""
        usual, first = as_dict(View()), ("zooms", "mirror", "stitch")
        return {k: v for k, v in as_dict(self).items() if k in first or v != usual[k]}

    def sizes(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """(height, width) of each showing of a picture of ``shape``."""
        return [(max(1, round(shape[0] * z)), max(1, round(shape[1] * z))) for z in self.zooms]
