"""What a caller may have switched on for torch, and a recipe does not say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def left_out(device: torch.device) -> Iterator[None]:
    """Compute as in a fresh process: float32, with gradients, without autocast.

    Args:
        device: on which autocast may be on.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_default_dtype(before)
