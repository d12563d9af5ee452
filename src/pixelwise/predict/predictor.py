"""The one path from a picture to labels; evaluation, commands and services all use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.network import Network
from pixelwise.errors import (
    DataError,
    NumericalError,
    ResourceError,
    UsageError,
    hxw,
    unknown_name,
)
from pixelwise.machine.memory import failed_allocations
from pixelwise.pictures.images import resize_bands as zoom
from pixelwise.predict.grid import EVERY_PIXEL, Grid
from pixelwise.predict.memory import HINT, check_picture
from pixelwise.predict.view import View

Precision = Literal["fp32", "bf16"]
DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one.

    Raises:
        ResourceError: R009 the device is asked for by name and absent.
        UsageError: U001 no such kind of device.
    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("R009", "device cuda: no CUDA device is available", "--device cpu")
    return torch.device(name)


def resolve_precision(name: str) -> Precision:
    """``name``, if it is one.

    Raises:
        UsageError: U001 no such precision.
    """
    if name == "bf16":
        return "bf16"
    if name != "fp32":
        raise unknown_name("precision", name, ("fp32", "bf16"))
    return "fp32"


class Predictor:
    """A net with its preprocessing, ready for pictures.

    Args:
        net: put into evaluation while it predicts, and back after.
        preprocess: what the net was trained with.
        view: how pictures are shown to it.
        precision: fp32, or bf16 autocast when asked for.
        device: where to compute.

    Raises:
        UsageError: U002 a view that a coarse map cannot have.
    """

    def __init__(
        self,
        net: Network,
        preprocess: Preprocess,
        *,
        view: View | None = None,
        precision: Precision = "fp32",
        device: torch.device | None = None,
    ) -> None:
        self.net, self.preprocess, self.precision = net, preprocess, precision
        self.view = view or View()
        several = len(self.view.zooms) > 1 or self.view.mirror
        if several and self.grid() != EVERY_PIXEL:
            what = "mirror" if len(self.view.zooms) == 1 else f"zooms {self.view.zooms}"
            raise UsageError(
                "U002",
                f"{what}: a mean of several maps was asked for, but the net gives a coarse map, "
                "whose cells would not lie on each other",
                "--zoom 2 alone",
            )
        self.device = device or torch.device("cpu")
        net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def channels(self) -> int:
        """Channels of the pictures that the net takes."""
        return self.net.net.channels[self.net.net.input]

    def scores(self, image: NDArray[np.uint8]) -> Tensor:
        """Scores before softmax.

        Args:
            image: (H, W, C) uint8.

        Returns:
            (K, H, W) float32; (K, h, w) coarse probabilities for a classification net.

        Raises:
            DataError: D018 another number of channels than the net takes, D023 too small for it.
            ResourceError: R003 it would not fit into memory.
            NumericalError: N003 a score is not finite.
        """
        if image.ndim != 3 or image.shape[2] != self.channels:
            raise DataError(
                "D018",
                f"the picture has shape {image.shape}, the net takes (H, W, {self.channels})",
                "use a model trained on pictures of this kind",
            )
        sizes = self._shown_sizes(image.shape)
        with failed_allocations(HINT), self._ready():
            scores = self._scores(image, sizes[0])
            for size in sizes[1:]:
                scores += self._scores(image, size)
            scores /= len(sizes)
        if not torch.isfinite(scores).all():
            raise NumericalError(
                "N003",
                "the net gives scores that are not finite",
                "the weights are damaged or training diverged; take an earlier checkpoint",
            )
        return scores

    def grid(self) -> Grid:
        """Where the cells of ``scores`` lie on the picture."""
        net = self.net.net
        seen = net.sights[net.output].map
        return EVERY_PIXEL if seen.scale == 1 else Grid.of(seen, self.view.zooms[0])

    def _shown_sizes(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Heights and widths of the picture as the net will see it, checked before any work."""
        sizes = self.view.sizes(shape)
        try:
            for height, width in sizes:
                check_picture(self.net.net, height, width, self.device)
        except UsageError as error:
            raise DataError(
                "D023",
                f"a picture of {hxw(shape)} (HxW) is too small for the net ({error})",
                "enlarge the picture, or take a model made with a larger zoom",
            ) from error
        return sizes

    def _scores(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        """The scores of the picture shown at a size, brought back to its own."""
        shown = image if size == image.shape[:2] else zoom(image, size)
        x = torch.from_numpy(self.preprocess(shown))[None].to(self.device)
        x = x.contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.net(x).float()
        if self.view.mirror:
            scores = (scores + self.net(x.flip(3)).float().flip(3)) / 2
        if shown is not image and scores.shape[-2:] == size:
            shape = image.shape[:2]
            scores = F.interpolate(scores, shape, mode="bilinear", align_corners=False)
        return scores[0]

    def labels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The best class of every pixel.

        Args:
            image: (H, W, C) uint8.

        Returns:
            (H, W) uint8; uint16 for nets of more than 255 classes.
        """
        return best_class(self.scores(image))

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Evaluation mode, no gradients, the precision asked for; training mode comes back."""
        training = [m for m in self.net.modules() if m.training]
        self.net.eval()
        # Switched off too: what the caller has switched on would change the answer silently.
        bf16 = self.precision == "bf16"
        half = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16)
        try:
            with torch.inference_mode(), half:
                yield
        finally:
            for module in training:
                module.training = True


def best_class(scores: Tensor) -> NDArray[np.uint8]:
    """The class with the highest score at each pixel, the first of equals.

    Args:
        scores: (K, H, W).

    Returns:
        (H, W) uint8, or uint16 where K is more than 255.
    """
    labels = scores.argmax(dim=0).cpu().numpy()
    small: NDArray[np.uint8] = labels.astype(np.uint8 if scores.shape[0] <= 255 else np.uint16)
    return small
