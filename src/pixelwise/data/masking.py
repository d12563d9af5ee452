"""Pictures of which the foreground or the background is hidden by the labels (PAMI, table 8).

What a net makes of an object's own pixels, of its surroundings, and of its outline alone is told
apart by training and testing on such pictures. Foreground is every class but the one called
``background``. Void, which may be either, is hidden with both.

The paper does not say what a hidden pixel is filled with: here it is the mean pixel, rounded to the
pictures' numbers, which the net sees as zero. Of ``shape`` the silhouette is left: the foreground
is the highest value that pixels have, all else the mean pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.sample import Sample
from pixelwise.errors import UsageError, first_few, unknown_name
from pixelwise.labels import VOID
from pixelwise.pictures.bands import InputKind
from pixelwise.pictures.images import cast

Masking = Literal["none", "foreground", "background", "shape"]


def masked_as(
    masking: str,
    classes: Sequence[str],
    pixel: NDArray[Any],
    kinds: Mapping[str, InputKind] | None = None,
) -> Callable[[Sample], Sample]:
    """What shows samples so masked.

    Args:
        masking: what is hidden, one of ``Masking``.
        classes: of the labels that say where; ``none`` needs no background among them.
        pixel: (B,) for what is hidden, ``Preprocess.mean_pixel``.
        kinds: of several inputs, each of which has a highest value of its own.

    Raises:
        UsageError: U001 no such masking, U002 no class is called background.
    """
    if masking not in get_args(Masking):
        raise unknown_name("mask", masking, get_args(Masking))
    if masking == "none":
        return lambda sample: sample
    names = [name.strip("_").casefold() for name in classes]  # labelme writes _background_
    if "background" not in names:
        raise UsageError(
            "U002",
            f"mask {masking}: no class is called background among {first_few(classes)}, expected "
            "one to tell the foreground by",
            "call it so in the data's classes.txt, or leave the mask out",
        )
    background = names.index("background")
    dtypes = [kind.dtype for kind in (kinds or {}).values() for _ in range(kind.bands)]
    return lambda sample: _masked(sample, masking, background, pixel, dtypes)


def _masked(
    sample: Sample, masking: str, background: int, pixel: NDArray[Any], dtypes: Sequence[str]
) -> Sample:
    """The sample with another picture; its labels stay."""
    image, labels = sample.image, sample.labels
    behind = labels == background
    before = ~behind & (labels != VOID)
    shown = {"foreground": behind, "background": before, "shape": np.zeros_like(behind)}[masking]
    made = np.where(shown[..., None], image, cast(pixel, image.dtype))
    if masking == "shape":
        if not np.issubdtype(image.dtype, np.integer):
            raise UsageError(
                "U002",
                f"mask shape draws in the highest value of whole numbers, the pictures are of "
                f"{image.dtype}",
                "mask foreground or background alone",
            )
        made[before] = [np.iinfo(dtype).max for dtype in dtypes or (image.dtype,)]
    return dataclasses.replace(sample, image=made)
