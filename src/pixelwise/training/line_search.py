"""The learning rate by line search: short trials of many rates, and the one that lowers the loss.

The paper chose its rates so (section 4.3). Every trial begins with the same weights and sees the
same batches and the same dropout, so that only the rate differs; nothing of it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.errors import NumericalError, UsageError
from pixelwise.machine import memory, signals
from pixelwise.predict.memory import TRAINING_HINT
from pixelwise.training import optim, stage_runs
from pixelwise.training.loop import fabric_of, plain_torch
from pixelwise.training.recipe import Recipe
from pixelwise.training.run import Run
from pixelwise.training.run_data import read_data
from pixelwise.training.starting_net import starting_net

MEMORIES = 2
"""A trial lasts so many times 1 / (1 - momentum) steps: before, SGD has not got up its speed."""
SHORTEST = 20
GREW = 4.0
"""A loss that is so many times the first one grows without end."""


@dataclass(frozen=True)
class Trial:
    """What a rate did."""

    lr: float
    loss: float | None
    """Mean over the second half of its steps, per counted pixel; None: it grew without end."""


@dataclass(frozen=True)
class LineSearch:
    """Trials by rising rate, and what follows from them."""

    trials: tuple[Trial, ...]
    steps: int
    """Of each trial."""
    unmoved: float
    """The loss on the same batches where nothing is learned (at the lowest rate)."""

    @property
    def proposal(self) -> float | None:
        """The rate of the lowest loss; half of it where the next higher one grew without end.

        None: no rate lowered the loss.
        """
        done = [t for t in self.trials if t.loss is not None]
        best = min(done, key=lambda t: t.loss or 0.0, default=None)
        if best is None or best.loss is None or best.loss >= self.unmoved * (1 - 1e-6):
            return None
        above = [t for t in self.trials if t.lr > best.lr]
        edge = bool(above) and above[0].loss is None
        return float(f"{best.lr / (2 if edge else 1):.2g}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        trials = [{"lr": t.lr, "loss": t.loss} for t in self.trials]
        return {
            "proposal": self.proposal,
            "steps": self.steps,
            "unmoved": self.unmoved,
            "trials": trials,
        }


def find_rate(
    recipe: Recipe,
    run: Path | str,
    *,
    steps: int = 0,
    watch: Callable[[Trial], object] = lambda _: None,
) -> LineSearch:
    """Try learning rates for a recipe; of one in stages for the first that is not finished.

    Decades over all rates that can work, then finer steps around the best. Nothing is written.

    Args:
        recipe: what would be trained; its own rate does not matter.
        run: where its stages would lie.
        steps: of each trial; 0: long enough for its momentum.
        watch: called after each trial.

    Raises:
        UsageError, DataError, ModelError: as ``train`` raises.
        Stopped: a signal came.
    """
    plan = stage_runs.next_stage(recipe, Path(run)) if recipe.stages else recipe
    if Path(run).resolve() == Path(plan.data).resolve():
        raise UsageError("U003", f"{run} is the data itself", "choose another -o, as runs/first")
    if plan.devices > 1:
        message = f"devices is {plan.devices}, expected 1 to look for a rate"
        raise UsageError("U002", message, "--set devices=1")
    plan = plan.replace(force=True, ema=0.0, schedule=optim.Schedule("fixed"))
    fabric = fabric_of(plan)
    with signals.caught() as caught, memory.freed_memory_kept(), plain_torch(fabric.device):

        def stop() -> None:
            caught.refuse("stopped while looking for a rate; nothing was written", "")

        data = read_data(plan, watch=lambda _: stop())
        made = Run(plan, Path(run), fabric, data, starting_net(plan, data), caught, None)
        with made.feed:
            return _searched(_Trials(made, steps or _steps(plan), stop, watch))


class _Trials:
    """Trials of rates on one net, which each puts back to its first weights."""

    def __init__(
        self, run: Run, steps: int, stop: Callable[[], None], watch: Callable[[Trial], object]
    ) -> None:
        self.run, self.steps, self.stop, self.watch = run, steps, stop, watch
        self.first = {k: v.detach().clone() for k, v in run.stepper.net.state_dict().items()}
        self.made: dict[float, Trial] = {}

    def __call__(self, lr: float) -> Trial:
        self.run.stepper.net.load_state_dict(self.first)
        self.run.stepper.optimizer.state.clear()
        optim.set_rate(self.run.stepper.optimizer, lr)
        losses: list[float] = []
        # A loss or gradient that is not finite ends the trial as one that grew.
        with suppress(NumericalError), memory.failed_allocations(TRAINING_HINT):
            while len(losses) < self.steps and (not losses or losses[-1] <= GREW * losses[0]):
                self.stop()
                passes = range(self.run.recipe.passes)
                batches = [self.run.feed.batch(len(losses), i) for i in passes]
                losses.append(
                    self.run.recipe.loss.total(self.run.stepper.run(len(losses), batches))
                )
        half = losses[self.steps // 2 :]
        whole = len(losses) == self.steps and losses[-1] <= GREW * losses[0]
        trial = Trial(lr, sum(half) / len(half) if whole else None)
        self.made[lr] = trial
        self.watch(trial)
        return trial


def _searched(trials: _Trials) -> LineSearch:
    """Decades upwards until two in a row grow; then half and quarter decades beside the best."""
    lowest, highest = _decades(trials.run)
    grown = 0
    for power in range(lowest, highest + 1):
        grown = grown + 1 if trials(10.0**power).loss is None else 0
        if grown == 2:
            break
    for part in (0.5, 0.25):
        whole = [t for t in trials.made.values() if t.loss is not None]
        best = min(whole, key=lambda t: t.loss or 0.0).lr if whole else 10.0**lowest
        for beside in (-part, part):
            trials(best * 10**beside)
    ordered = tuple(sorted(trials.made.values(), key=lambda t: t.lr))
    return LineSearch(ordered, trials.steps, ordered[0].loss or math.inf)


def _decades(run: Run) -> tuple[int, int]:
    """Powers of ten between the rates at which nothing is learned and all is lost, whatever the
    reduction of the loss: the guard on a recipe's rate, turned round."""
    o = run.recipe.optim
    low, high = optim.SANE_ADAMW if o.name == "adamw" else optim.SANE_SGD
    unit = optim.effective_rate(run.recipe.replace(optim=replace(o, lr=1.0)), run.pixels)
    return math.ceil(math.log10(low / unit)), math.floor(math.log10(high / unit))


def _steps(recipe: Recipe) -> int:
    # AdamW's first moment forgets as momentum does.
    return max(SHORTEST, round(MEMORIES / (1 - recipe.optim.momentum)))
