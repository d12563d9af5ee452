"""Torch as in a fresh process, whatever a caller has switched on that a recipe does not say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pixelwise.errors import UsageError


@contextmanager
def plain_torch(device: torch.device) -> Iterator[None]:
    """Compute as in a fresh process: float32, with gradients.

    Autocast cannot be left out: within a block of it, also one that switches it off again, torch
    keeps the weights that it has cast until the outermost block ends, and every step would see
    those of the first.

    Args:
        device: on which autocast may be on.

    Raises:
        UsageError: U002 it is.
    """
    if torch.is_autocast_enabled(device.type):
        raise UsageError(
            "U002",
            "training was begun within torch.autocast, expected outside: the recipe says how",
            "precision: bf16, in the recipe",
        )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(before)
