"""Labels by the kernel are the first best of the scores as torch upsamples them, to the bit."""

from __future__ import annotations

import pytest
import torch

from pixelwise.engine import runner
from pixelwise.engine.modules import FixedUpsampling
from pixelwise.engine.runner import ScoreMap
from pixelwise.engine.upsampling import Window
from pixelwise.nets.layers import Edge, Upsample


@pytest.mark.parametrize("edge", ["fade", "hold"])
@pytest.mark.parametrize(("stride", "kernel"), [(2, 4), (3, 5), (8, 16), (16, 31), (32, 64)])
def test_labels_are_the_first_best_of_upsampled_scores(
    stride: int, kernel: int, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "STRIP", 5000)
    upsampling = FixedUpsampling(Upsample("up", ("x",), kernel, stride, edge=edge))
    for classes in (2, 21, 300):
        cells = torch.randn(2, classes, 5, 9).contiguous(memory_format=torch.channels_last)
        height, width = (stride * (n - 1) + kernel for n in cells.shape[2:])
        scores = ScoreMap(cells, upsampling, Window(3, 2, height - 4, width - 3))
        expected = scores.whole().argmax(1)
        assert torch.equal(scores.labels().long(), expected)
        with monkeypatch.context() as without:
            without.setattr(runner, "unavailable", lambda: "asked for")
            assert torch.equal(scores.labels().long(), expected)


def test_without_upsampling_and_of_equals_the_first() -> None:
    cells = torch.randint(0, 4, (2, 260, 7, 35)).float()
    scores = ScoreMap(cells, None, Window(0, 0, 7, 35))
    expected = (cells == cells.amax(1, keepdim=True)).int().argmax(1)
    assert torch.equal(scores.labels().long(), expected)
    assert scores.labels().dtype == torch.int32
