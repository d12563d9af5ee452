"""What a net is shown and how its weights are moved while a run goes on, as torch sees it.

The hooks are torch's own and see every module and optimizer, whoever made them; a net that is
carried out by its plan is seen where its pictures go in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.runner import ScoreMap


@dataclass
class Forward:
    """One call of a net from outside."""

    x: Tensor
    training: bool
    dtypes: set[torch.dtype] = field(default_factory=set)
    """Of what its modules gave."""


@dataclass
class Witness:
    """What was seen so far."""

    forwards: list[Forward] = field(default_factory=list)
    rates: list[set[float]] = field(default_factory=list)
    """Learning rates of the groups at each optimizer step."""

    @property
    def batches(self) -> list[Tensor]:
        """(N, C, H, W) of each forward pass of training."""
        return [f.x for f in self.forwards if f.training]


@contextmanager
def witness(at_step: Callable[[int], None] = lambda step: None) -> Iterator[Witness]:
    """See all that torch does in the block; ``at_step`` is called before each optimizer step."""
    seen = Witness()
    depth = 0

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            seen.forwards.append(Forward(arguments[0].detach().clone(), module.training))

    def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        nonlocal depth
        depth -= 1
        if isinstance(output, Tensor):
            seen.forwards[-1].dtypes.add(output.dtype)

    def stepping(optimizer: Optimizer, *_: Any) -> None:
        seen.rates.append({float(group["lr"]) for group in optimizer.param_groups})
        at_step(len(seen.rates))

    def planned(runner: PlannedRunner, x: Tensor) -> dict[str, ScoreMap]:
        nonlocal depth
        seen.forwards.append(Forward(x.detach().clone(), False, {torch.float32}))
        depth += 1  # what modules it uses for itself, and on blank pictures, is its own affair
        try:
            return maps(runner, x)
        finally:
            depth -= 1

    maps, PlannedRunner.maps = PlannedRunner.maps, planned  # type: ignore[method-assign]
    handles = [
        hooks.register_module_forward_pre_hook(before),
        hooks.register_module_forward_hook(after, always_call=True),
        register_optimizer_step_pre_hook(stepping),
    ]
    try:
        yield seen
    finally:
        PlannedRunner.maps = maps  # type: ignore[method-assign]
        for handle in handles:
            handle.remove()
