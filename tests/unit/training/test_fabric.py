"""Which strategy a run has: one process needs no gradients of others."""

from __future__ import annotations

from lightning_fabric.strategies import SingleDeviceStrategy

from pixelwise.training.loop import fabric_of
from pixelwise.training.recipe import Recipe


def test_one_process_exchanges_nothing() -> None:
    fabric = fabric_of(Recipe(data="none", device="cpu"))
    assert isinstance(fabric.strategy, SingleDeviceStrategy)
    assert fabric.world_size == 1
