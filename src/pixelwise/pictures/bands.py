"""A picture of several inputs: what each of them is, and all of them as one stack of bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, hxw
from pixelwise.settings import Exact, limits, read, settings


@settings("input.", code="M002")
class InputKind:
    """What an input is made of: another type of numbers is another unit."""

    bands: Annotated[Exact, limits(ge=1)]
    dtype: Literal["uint8", "uint16", "int16", "float32"]
    """As ``pictures.reading`` gives it."""

    def __str__(self) -> str:
        return f"{self.bands} band{'s' if self.bands > 1 else ''} of {self.dtype}"


def kind_of(image: NDArray[Any]) -> InputKind:
    """The kind of a picture (H, W, B)."""
    return read(InputKind, {"bands": image.shape[2], "dtype": image.dtype.name})


def refuse_other_kind(image: NDArray[Any], kind: InputKind, what: object) -> None:
    """Refuse a picture (H, W, B) that is not of this kind.

    Raises:
        DataError: D018 other bands, D015 another type of numbers; ``what`` is named.
    """
    found = kind_of(image)
    if found != kind:
        code = "D015" if found.bands == kind.bands else "D018"
        hint = "give it as the net was trained on it: the same file type, bits and unit"
        raise DataError(code, f"{what} is {found}, the net was trained on {kind}", hint)


def refuse_other_size(
    size: Sequence[int], what: object, expected: Sequence[int], other: object
) -> None:
    """Refuse what is not of the size (H, W) of ``other``.

    Raises:
        DataError: D013.
    """
    if tuple(size[:2]) != tuple(expected[:2]):
        sizes = f"{what} is {hxw(size)}, {other} is {hxw(expected)} (HxW); expected the same size"
        hint = "export both at one size; labels and inputs are never resized silently"
        raise DataError("D013", sizes, hint)


def stack(images: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Pictures (H, W, bands) of one size as one, of the smallest dtype that holds all exactly."""
    return images[0] if len(images) == 1 else np.concatenate(images, axis=2)


def stacked(images: Mapping[str, NDArray[Any]], kinds: Mapping[str, InputKind]) -> NDArray[Any]:
    """The inputs of ``kinds`` behind each other, (H, W, B), each of its kind and of one size.

    Raises:
        DataError: D013, D015 and D018, naming the input.
    """
    first = next(iter(kinds))
    for name, kind in kinds.items():
        refuse_other_kind(images[name], kind, f"input `{name}`")
        refuse_other_size(images[name].shape, f"input `{name}`", images[first].shape, first)
    return stack([images[name] for name in kinds])


def whole(kinds: Mapping[str, InputKind]) -> InputKind:
    """The kind of the stack of these inputs."""
    dtype = np.result_type(*(kind.dtype for kind in kinds.values()))
    return kind_of(np.empty((0, 0, sum(kind.bands for kind in kinds.values())), dtype))
