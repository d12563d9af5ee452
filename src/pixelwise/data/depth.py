"""Depth as it is stored: what of it cannot be meant, and HHA as an input that is computed of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.class_files import parsed
from pixelwise.data.hha import Camera, hha
from pixelwise.errors import DataError
from pixelwise.settings import Number, Plain, limits, parse_json, read, refuse, settings

MILLIMETRE = 0.001
"""Metres of one count in NYUDv2's depth pictures, and in most that a Kinect made."""
MEANT = (0.05, 100.0)
"""Metres that the median of a depth picture may be: no sensor of rooms or streets sees others."""
FORM = '"computed": {"hha": {"of": "depth", "unit": 0.001, "camera": [518.9, 519.5, 325.6, 253.7]}}'
CAMERAS = '{"cameras": {"NAME": {"fx": 90, "fy": 90, "cx": 63.5, "cy": 47.5}}}'


@settings("computed.", code="D034", hint=FORM)
class HhaOf:
    """What ``dataset.json`` says of an input that is computed."""

    of: Plain
    """The input that is depth."""
    raw: Plain | Literal[""] = ""
    """The input that is depth as the sensor gave it, whose zeros are missing too."""
    unit: Annotated[Number, limits(gt=0)] = MILLIMETRE
    """Metres of one count."""
    camera: Plain | tuple[Number, ...] = ()
    """fx, fy, cx, cy, pixels counted from 1; or a file of cameras by picture; empty: NYUDv2's."""

    def __post_init__(self) -> None:
        numbers = self.camera if isinstance(self.camera, tuple) else (1.0,) * 4
        wrong = len(numbers) not in (0, 4) or min(numbers[:2], default=1) <= 0
        refuse(wrong and f"computed.camera is {list(numbers)}, expected fx, fy, cx, cy")


@settings("cameras.", code="D034", hint=CAMERAS, others="ignore")
class _Pinhole:
    """A camera as made scenes tell it: pixels are counted from 0."""

    fx: Annotated[Number, limits(gt=0)]
    fy: Annotated[Number, limits(gt=0)]
    cx: Number
    cy: Number


@settings(code="D034", hint=CAMERAS, others="ignore")
class _Cameras:
    cameras: Mapping[str, _Pinhole]


@dataclass(frozen=True)
class HhaInput:
    """How the pictures of an input are computed."""

    source: HhaOf
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    """By picture, where each has its own."""

    def image(
        self, depth: NDArray[Any], path: Path, name: str, raw: NDArray[Any] | None = None
    ) -> NDArray[np.uint8]:
        """(H, W, 3) HHA of (H, W, 1) depth.

        Args:
            depth: as stored, and ``raw`` likewise.
            path: for messages.
            name: of the picture, whose camera is taken.

        Raises:
            DataError: D018, D019 it is no depth in this unit; D034 no camera of this name; D013
                ``raw`` of another size.
        """
        plane = as_depth(depth, path)
        median_metres(plane, self.source.unit, path)
        below = None if raw is None else as_depth(raw, path)
        return hha(plane, below, unit=self.source.unit, camera=self._camera(path, name))

    def _camera(self, path: Path, name: str) -> Camera | None:
        own = self.source.camera
        if isinstance(own, tuple):
            return Camera(*own) if own else None
        if name not in self.cameras:
            what = f"{path}: {own} has no camera for `{name}`, which HHA takes"
            raise DataError("D034", what, CAMERAS)
        return self.cameras[name]

    @property
    def facts(self) -> tuple[object, ...]:
        """What its pictures depend on beside their files."""
        own = sorted((name, astuple(camera)) for name, camera in self.cameras.items())
        return (self.source, *own)


@dataclass(frozen=True)
class Depth:
    """Depth for a net that takes HHA of it."""

    source: Any
    """What ``pictures.reading.read`` takes, and ``raw`` likewise."""
    made: HhaInput
    name: str
    """Of the picture, whose camera is taken."""
    raw: Any = None


def read_cameras(path: Path) -> dict[str, Camera]:
    """The cameras of a file such as made scenes have, by picture; D034 it holds none."""
    told = parsed(path, lambda content: read(_Cameras, parse_json(content)), CAMERAS)
    # Here pixels are counted from 1, there from 0.
    return {n: Camera(c.fx, c.fy, c.cx + 1, c.cy + 1) for n, c in told.cameras.items()}


def as_depth(image: NDArray[Any], path: Path) -> NDArray[Any]:
    """A picture (H, W, B) as depth (H, W); raises as ``depth_in``."""
    if image.shape[2] != 1:
        message = f"{path} has {image.shape[2]} bands, expected one of depth"
        raise DataError("D018", message, "give the depth picture, not what was coloured after it")
    if image.dtype == np.uint8:
        message = f"{path} holds 8-bit numbers, expected depth of 16 bits or float"
        hint = "depth that was scaled to 8 bits has lost its unit: export it as 16-bit PNG"
        raise DataError("D019", message, hint)
    return image[..., 0]


def median_metres(depth: NDArray[Any], unit: float, path: Path) -> float:
    """The median of what is known, in metres.

    Raises:
        DataError: D019 nothing is known; or the median says that the unit is another.
    """
    known = depth[depth > 0]
    if not known.size:
        message = f"{path}: depth is missing (0) everywhere, expected a depth picture"
        raise DataError("D019", message, "check which file holds depth")
    median = float(np.median(known)) * unit
    if not MEANT[0] <= median <= MEANT[1]:
        # The power of ten that makes it about two metres, as rooms are.
        likely = 10.0 ** round(math.log10(2 * unit / median))
        raise DataError(
            "D019",
            f"{path}: its median depth is {median:.3g} m at {unit:g} m a count, expected "
            f"{MEANT[0]:g} to {MEANT[1]:g} m",
            f"--unit {likely:g}",
        )
    return median
