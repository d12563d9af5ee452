"""What the processes of one run say to each other; alone, a process hears only itself.

Whatever decides where the loop goes (how much is done, a signal, a save) must be the same in every
process, or they wait for each other for ever: clocks and signals differ, so the largest counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pixelwise.errors import PixelwiseError, ResourceError


def is_first() -> bool:
    """Whether this process speaks for the run; known before the processes are joined."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "RANK"))


def combined(fabric: Any, values: Tensor, how: Literal["sum", "max"]) -> Tensor:
    """The sum or maximum over all processes, number by number; sums of whole numbers are exact."""
    if fabric.world_size == 1:
        return values
    result: Tensor = fabric.all_reduce(values.to(fabric.device), reduce_op=how)
    return result


@contextmanager
def together(fabric: Any) -> Iterator[None]:
    """A process that is gone, which the others notice in the middle of an exchange, is an R010."""
    try:
        yield
    except RuntimeError as error:
        alone = fabric.world_size == 1 or isinstance(error, PixelwiseError)
        if alone or not re.search("gloo|nccl|connection|broken pipe", str(error), re.IGNORECASE):
            raise
        raise ResourceError(
            "R010",
            f"another of the run's {fabric.world_size} processes has ended; this is number "
            f"{fabric.global_rank}",
            "what the other said tells why; --resume goes on from the last saved state",
        ) from error


def same_buffers(fabric: Any, net: nn.Module) -> None:
    """Give every process the first one's buffers (batch norm's statistics), in place."""
    if fabric.world_size == 1:
        return
    for buffer in net.buffers():
        torch.distributed.broadcast(buffer, src=0)
