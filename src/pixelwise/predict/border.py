"""The border that a picture gets where a net's output covers less of it than all.

Valid convolutions, as U-Net has them, leave a margin without labels on all sides. The picture is
continued there by its mirror image (Ronneberger et al., MICCAI 2015, section 2 and figure 2), as
far as the output then covers every pixel of the picture itself. Nets whose output has the frame of
their input get no border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.nets.net import Net

FARTHEST = 2048
"""Pixels that are tried behind an axis; U-Net as published needs 92 before and 92 to 107 behind."""


@dataclass(frozen=True)
class Border:
    """What is added to an axis of a picture, and where the picture then lies in the outputs."""

    before: int
    after: int
    corners: Mapping[str, int]
    """Head to the cell of its output that lies on the picture's pixel 0."""

    def around(self, length: int) -> int:
        """The axis with its border."""
        return self.before + length + self.after


def border(net: Net, length: int) -> Border:
    """What an axis needs so that the outputs of all heads cover it; coarse maps need nothing.

    Raises:
        UsageError: U002 the net gives nothing for a picture of this length.
    """
    heads = [h for h, layer in net.outputs.items() if net.sights[layer].map.scale == 1]
    margins = {h: int(net.sights[net.outputs[h]].map.shift) for h in heads}
    margin = max(margins.values(), default=0)
    corners = dict.fromkeys(net.outputs, 0) | {h: margin - m for h, m in margins.items()}
    # Sizes do not grow steadily where pooling rounds down, so lengths are tried one by one.
    for after in range(FARTHEST + 1):
        total = margin + length + after
        try:
            frames = [net.frame(total, total, head) for head in heads]
        except UsageError:  # without a margin the picture itself is too small for the net
            if not margin or after == FARTHEST:
                raise
        else:
            if all(f.offset + f.height >= margin + length for f in frames):
                return Border(margin, after, corners)
    raise UsageError("U002", f"no border makes the output cover {length} px")


def mirrored(image: NDArray[Any], rows: Border, columns: Border) -> NDArray[Any]:
    """A picture (H, W, B) with its mirror image around it; the outermost pixels stand once."""
    sides = ((rows.before, rows.after), (columns.before, columns.after), (0, 0))
    return np.pad(image, sides, mode="reflect") if any(map(any, sides)) else image
