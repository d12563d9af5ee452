"""What the processes of one run say to each other; alone, a process hears only itself.

Whatever decides where the loop goes (how much is done, a signal, a save) must be the same in every
process, or they wait for each other for ever: clocks and signals differ, so the largest counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pixelwise.errors import PixelwiseError, ResourceError, UsageError
from pixelwise.training.recipe import Recipe

OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
"""With it torchrun's rendezvous (c10d, also ``--standalone``) makes a store for each restart."""


def is_first() -> bool:
    """Whether this process speaks for the run; known before the processes are joined."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "RANK"))


def launched() -> int:
    """How many processes torchrun has started for this run, on all machines; 0: it did not.

    When one dies its agents start all of them again, with the command that they were given. So a
    run that it started goes on wherever its folder has a state: ``TORCHELASTIC_RESTART_COUNT`` is
    that of one agent, and the others' processes would not know.
    """
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def layout(recipe: Recipe) -> dict[str, int]:
    """Processes of this machine and number of machines, as Fabric is told them.

    Raises:
        UsageError: U002 torchrun has started another number than the recipe's.
        ResourceError: R010 it has started them again where they cannot find each other.
    """
    number, told = launched(), os.environ.get
    if not number:
        return {"devices": recipe.devices}
    # Its store outlives the processes (torch 2.13): new ones would call at the ports of the dead.
    if told("TORCHELASTIC_USE_AGENT_STORE") == "True" and told("TORCHELASTIC_RESTART_COUNT") != "0":
        what = "torchrun's store still has the addresses of the processes that have ended"
        raise ResourceError("R010", what, f"{OWN_STORE} torchrun --standalone ...")
    if number != recipe.devices:
        what = f"torchrun started {number} processes, and devices is {recipe.devices}"
        raise UsageError("U002", what, f"--set devices={number}")
    own = int(os.environ["LOCAL_WORLD_SIZE"])
    if number % own:
        what = f"{own} of {number} processes are on this machine, expected as many on each"
        raise UsageError("U002", what, "--nproc-per-node, the same on each machine")
    return {"devices": own, "num_nodes": number // own}


def refuse_other_step(fabric: Any, step: int, run: Path) -> None:
    """U004 unless every process goes on from the same step: each reads the state by itself."""
    steps = torch.tensor([step, -step], dtype=torch.float64)
    last, first = map(int, combined(fabric, steps, "max").tolist())
    if last != -first:
        what = f"{run} is at step {last} for one process and at {-first} for another"
        raise UsageError("U004", what, "-o in a folder that all machines share")


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
