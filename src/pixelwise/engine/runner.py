"""What carries a net out for prediction: from preprocessed pictures to scores or labels by head.

The predictor knows ``Runner`` alone, so another engine can take the torch module's place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from pixelwise.engine.kernels import unavailable
from pixelwise.engine.labels import fill, labellers
from pixelwise.engine.memory import by_modules
from pixelwise.engine.modules import FixedUpsampling
from pixelwise.engine.network import Network
from pixelwise.engine.plan import coarse_scores
from pixelwise.engine.upsampling import Window, along_columns, cells, upsample
from pixelwise.engine.workers import Scratch, alone
from pixelwise.errors import NumericalError
from pixelwise.machine.environment import float32_is_float32
from pixelwise.nets.net import Net

STRIP = 2**20
"""Scores held at once while labels are made: 4 MiB, which a processor's cache holds."""
STRIP_ON_GPU = 2**26
"""256 MiB: a GPU is kept waiting by many small strips."""


class Runner(Protocol):
    """A net, ready to be carried out."""

    net: Net
    device: torch.device
    """Whose memory is used."""
    precision: str
    """How it computes, fp32 or bf16; with it the outputs may differ."""

    def needs(self, height: int, width: int, *, scores: bool = False) -> int:
        """Bytes that it has to take for a picture, with all ``scores``; U002 of one too small."""
        ...

    def maps(self, x: Tensor) -> dict[str, ScoreMap]:
        """(N, B, H, W) float32, preprocessed, to the scores by head.

        Raises:
            NumericalError: N003, they are not finite.
        """
        ...


@dataclass(frozen=True)
class ScoreMap:
    """One head's scores, of which any rows can be had: upsampling waits until they are wanted."""

    cells: Tensor
    """(N, K, h, w): the scores, or the coarse map that ``upsampling`` enlarges."""
    upsampling: FixedUpsampling | None
    window: Window
    """The part of the enlarged map that is the output."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, K, H, W) of the whole map."""
        n, classes = self.cells.shape[:2]
        return (n, classes, self.window.height, self.window.width)

    def rows(self, first: int, count: int) -> Tensor:
        """(N, K, count, W) float32, from row ``first`` on."""
        if self.upsampling is None:
            return self.cells.narrow(-2, first, count).float()
        by = self.upsampling
        part = self.window._replace(top=self.window.top + first, height=count)
        return upsample(self.cells, by.shares, by.kernel, by.edge, part).float()

    def whole(self) -> Tensor:
        """(N, K, H, W) float32."""
        return self.rows(0, self.window.height)

    def classes(self, first: int, last: int) -> Tensor:
        """(N, last - first, H, W) float32: the whole map of some classes."""
        return replace(self, cells=self.cells[:, first:last]).whole()

    def labels(self) -> Tensor:
        """(N, H, W), int32 of more than 255 classes, else uint8: the best, the first of equals.

        As ``whole().argmax(1)``, in strips of rows: no map of N x K x H x W is made.
        """
        n, classes, height, width = self.shape
        dtype = torch.uint8 if classes <= 255 else torch.int32
        labels = torch.empty((n, height, width), dtype=dtype, device=self.cells.device)
        own = labels.is_cpu and not unavailable()
        step = len(self.upsampling.shares) if self.upsampling else 1
        # Whole strides: a strip that begins inside one computes it from its start.
        held = STRIP_ON_GPU if labels.is_cuda else STRIP
        count = max(1, held // (n * classes * width * step)) * step

        def strip(i: int, _: Scratch | None = None) -> None:
            part = labels[:, i * count : (i + 1) * count]
            if own:
                fill(part, *self._rows_between(i * count, part.shape[1]))
            else:
                # The same class as argmax, first of equals, in a quarter of its time (torch 2.13).
                part.copy_(self.rows(i * count, part.shape[1]).max(1).indices)

        strips = -(height // -count)
        if own:
            with alone():
                labellers().each(strips, strip)
        else:
            for i in range(strips):
                strip(i)
        return labels

    def _rows_between(self, first: int, count: int) -> tuple[Tensor, Tensor, int]:
        """What ``fill`` makes labels of: scores, shares, and where among them it starts."""
        if self.upsampling is None:
            return self.rows(first, count).transpose(1, 2).contiguous(), torch.ones(1), 0
        by, top = self.upsampling, self.window.top + first
        rows = cells(self.cells.float(), by.edge, -2, len(by.shares), top, count).transpose(1, 2)
        spread = along_columns(rows.contiguous(), by.shares, by.edge, self.window)
        return spread, by.shares, top % len(by.shares)


class TorchRunner:
    """Carries a net out with its torch modules, which are moved to ``device``.

    The network is put into evaluation while it works, and back after; with ``bf16`` it computes in
    bfloat16 where autocast does.
    """

    def __init__(
        self, network: Network, *, bf16: bool = False, device: torch.device | None = None
    ) -> None:
        self.network, self.net, self.bf16 = network, network.net, bf16
        self.device = device or torch.device("cpu")
        self.precision = "bf16" if bf16 else "fp32"
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def needs(self, height: int, width: int, *, scores: bool = False) -> int:
        """Those of the maps: each is freed after its last use."""
        return by_modules(self.net, height, width, scores=scores)

    def maps(self, x: Tensor) -> dict[str, ScoreMap]:
        """Every head's scores before their last upsampling, where that is fixed and cropped."""
        x = x.to(self.device).contiguous(memory_format=torch.channels_last)
        coarse = coarse_scores(self.net)
        # Switched off too: what the caller has switched on would change the answer silently.
        half = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)
        with evaluated(self.network), half, float32_is_float32(self.device):
            maps = self.network.activations(x, set(coarse.values()))
        size = x.shape[2], x.shape[3]
        return {h: score_map(self.network, h, maps[name], size) for h, name in coarse.items()}


@contextmanager
def evaluated(network: Network) -> Iterator[None]:
    """Evaluation mode and no gradients; training mode comes back."""
    training = [m for m in network.modules() if m.training]
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def score_map(
    network: Network,
    head: str,
    cells: Tensor,
    size: tuple[int, int],
    *,
    net: Net | None = None,
    checked: bool = True,
) -> ScoreMap:
    """A head's scores of pictures of ``size`` (H, W), from its ``coarse_scores``.

    ``net`` says which layers are heads, where others are than the network's own.

    Raises:
        NumericalError: N003, they are not finite; where they are ``checked``.
    """
    net = net or network.net
    name = net.outputs[head]
    height, width = (net.sizes(length)[name] for length in size)
    scores = ScoreMap(cells, None, Window(0, 0, height, width))
    if coarse_scores(net)[head] != name:
        module = network.get_submodule(name)
        assert isinstance(module, FixedUpsampling)
        window = Window(module.offset, module.offset, height, width)
        scores = ScoreMap(cells, module, window)
    if checked:
        refuse_not_finite(scores)
    return scores


def refuse_not_finite(scores: ScoreMap) -> None:
    """N003 of scores from which no labels can be made."""
    # The difference of two cells is taken in float32; half its range leaves room for that.
    limit = torch.finfo(torch.float32).max / (2 if scores.upsampling else 1)
    if not (scores.cells.abs() <= limit).all():
        raise NumericalError(
            "N003",
            "the net gives scores that are not finite",
            "the weights are damaged or training diverged; take an earlier checkpoint",
        )
