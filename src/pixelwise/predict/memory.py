"""Whether a picture, or a training step, fits into memory: asked before anything is allocated."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pixelwise.engine.memory import FLOAT32, kept_for_gradients
from pixelwise.engine.runner import Runner
from pixelwise.errors import hxw
from pixelwise.machine.memory import require
from pixelwise.nets.net import Net

if TYPE_CHECKING:
    import torch

HINT = "shrink or cut the picture, or take a narrower net"
TRAINING_HINT = (
    "--set checkpoint=true, a smaller crop or batch (--set accumulate makes up for it), "
    "or --precision bf16"
)


def check_picture(
    runner: Runner, size: tuple[int, int], *, scores: bool = False, beside: int = 0
) -> None:
    """Refuse a picture of ``size`` (H, W), as the net sees it, that does not fit.

    With ``scores`` those of all pixels are held; ``beside`` are numbers held meanwhile.

    Raises:
        ResourceError: R003 with the bytes needed and available.
        UsageError: U002 the net gives nothing for a picture so small.
    """
    needed = runner.needs(*size, scores=scores) + FLOAT32 * beside
    what = f"a picture of {hxw(size)} (HxW) needs about {needed:,} bytes more"
    require(needed, runner.device, what, HINT)


def check_step(
    net: Net,
    trained: Collection[str],
    shape: tuple[int, int, int],
    *,
    number: int,
    device: torch.device,
    checkpointed: bool = False,
) -> None:
    """Refuse a training step on a batch of ``shape`` (N, H, W) that cannot fit.

    ``trained`` are the layers whose parameters are; ``number`` is the bytes of a map's number.

    Raises:
        ResourceError: R003 with the bytes needed at the least, and available.
    """
    count, height, width = shape
    kept = kept_for_gradients(net, trained, height, width, checkpointed=checkpointed)
    needed = number * count * kept
    size = hxw((height, width))
    what = f"a step on {count} pictures of {size} (HxW) keeps at least {needed:,} bytes"
    require(needed, device, what, TRAINING_HINT)
