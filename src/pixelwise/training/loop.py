"""Training, readable in one sitting: set up, fit, finish.

Lightning Fabric places the net, casts, and distributes; the loop is ours. Everything random is a
function of (seed, step), so that a run continued from its saved state ends with the same weights
as one that was never stopped.
"""

from __future__ import annotations

import logging
import math
import shlex
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise import folders
from pixelwise.errors import NumericalError, Stopped
from pixelwise.machine import allocator, signals
from pixelwise.machine.files import remove_leftovers
from pixelwise.predict import memory
from pixelwise.training import processes, surroundings
from pixelwise.training.closing import close
from pixelwise.training.folder import claim, resumable, run_lock
from pixelwise.training.journal import Journal
from pixelwise.training.optim import learning_rate, set_rate
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import write_recipe
from pixelwise.training.setup import Setup, prepare
from pixelwise.training.state import Progress, generations, load_state, save_state
from pixelwise.training.tick import Tick, Watch, unwatched
from pixelwise.training.validate import validate

SAVE_SECONDS = 120.0
VALIDATIONS = 10
PATIENT = 3.0  # in a run by the clock, training gets this many times the time of an evaluation
LOG_EVERY = 10
AGAIN = "run the same command again"
COLLAPSED_AFTER = 100  # steps; before that one class for all is only a warning

log = logging.getLogger(__name__)


def train(
    recipe: Recipe, run: Path | str, *, resume: bool = False, watch: Watch | None = None
) -> Path:
    """Carry out a recipe; everything ends up in the run folder.

    Args:
        recipe: what to do; when resuming it must be the run's own.
        run: folder for recipe, journal, weights, states, evaluation and report.
        resume: go on from the newest whole state.
        watch: called every few steps and after each evaluation.

    Returns:
        The checkpoint of the best weights (of the last ones without a validation split).

    Raises:
        UsageError: contradictions, a folder in use, a changed recipe.
        DataError: anything wrong with the data, before the first step.
        NumericalError: a loss that is not finite (N001), a collapsed net (N002).
        ResourceError: R002, R007 the folder, R003 memory, R010 another process of the run is gone.
        Stopped: a signal came; the state was saved, or nothing was begun yet.
    """
    import torch

    run = Path(run)
    recipe = claim(recipe, run, resume=resume)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    fabric = _fabric(recipe)
    hold = run_lock(run) if fabric.global_rank == 0 else nullcontext()
    with (
        signals.caught() as caught,
        hold,
        processes.together(fabric),
        resumable(),
        allocator.freed_memory_kept(),
        surroundings.left_out(fabric.device),
    ):
        if fabric.global_rank == 0:  # once more: another run may have come before the lock
            claim(recipe, run, resume=resume)
        setup = prepare(
            recipe,
            run,
            fabric,
            resume=resume,
            watch=partial(_stop_reading, fabric, caught),
        )
        first = fabric.global_rank == 0
        journal = Journal(run if first else None)
        watch = watch if first and watch else unwatched
        return _Run(setup, run, journal, watch, caught).go(resume=resume)


def _stop_reading(fabric: Any, caught: signals.Caught) -> None:
    if fabric.world_size == 1:  # several decide together, once they step
        caught.refuse("stopped while the data was read", AGAIN)


def _fabric(recipe: Recipe) -> Any:
    from lightning_fabric import Fabric

    from pixelwise.predict.predictor import resolve_device

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    device = resolve_device(recipe.device)
    fabric = Fabric(
        accelerator=device.type,
        devices=recipe.devices,
        strategy="ddp" if recipe.devices > 1 else "auto",
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def next_validation(before: float, after: float) -> float:
    """At which share of the run to evaluate again, when an evaluation went from one to another."""
    tenth = (math.floor(after * VALIDATIONS + 1e-9) + 1) / VALIDATIONS
    return max(tenth, after + PATIENT * (after - before))


@dataclass(frozen=True)
class _Moment:
    """What decides where the loop goes; the same in every process."""

    share: float
    """How much of the run is done."""
    signal: int
    save: bool
    over: bool


class _Run:
    """A run under way."""

    def __init__(
        self,
        setup: Setup,
        run: Path,
        journal: Journal,
        watch: Watch,
        caught: signals.Caught,
    ) -> None:
        self.setup, self.run, self.journal = setup, run, journal
        self.watch, self.caught = watch, caught
        self.recipe, self.total = setup.recipe, setup.iterations
        self.progress = Progress()
        self.began = self.saved_at = time.monotonic()
        self.before = 0.0
        self._tick = Tick(0, setup.iterations, 0.0, 0.0, 0.0, 0.0)

    # -- the whole ----------------------------------------------------------------------------
    def go(self, *, resume: bool) -> Path:
        """From the first step (or the saved one) to the report."""
        s = self.setup
        for folder in (self.run, self.run / folders.WEIGHTS, self.run / folders.STATE):
            remove_leftovers(folder)
        if resume and generations(self.run):
            self.progress = load_state(
                self.run, s.net, s.optimizer, s.stepper.average, s.found.header
            )
            self.before = self.progress.seconds
            self._write_recipe()  # the data may have moved
            self.journal.rewind(self.progress.step)
            self.journal.write("resume", step=self.progress.step)
            if self._moment().over:
                log.warning("%s was finished: only its report is made anew", self.run)
        else:
            self._start()
        with s.feed:
            self.fit()
        return self.finish()

    def fit(self) -> None:
        """Step after step until the length is reached, patience ends, or a signal comes."""
        window: list[float] = []
        rate_began, rate_images = time.monotonic(), 0
        while not (now := self._moment()).over:
            step = self.progress.step
            lr = learning_rate(self.recipe.optim, self.recipe.schedule, step, now.share)
            set_rate(self.setup.optimizer, lr)
            window.append(self._step(step))
            self.progress = replace(self.progress, step=step + 1, seconds=self.seconds())
            rate_images += self.setup.images_per_step
            now = self._moment()
            if (step + 1) % LOG_EVERY == 0 or now.over:
                rate = rate_images / max(time.monotonic() - rate_began, 1e-9)
                self._log(sum(window) / len(window), lr, rate)
                window.clear()
                rate_began, rate_images = time.monotonic(), 0
            if self._due(now.share):
                self.validate(last=now.over)
                self._plan_validation(now.share)
                rate_began, rate_images = time.monotonic(), 0
            if now.save:
                self.save()
            if now.signal:
                self._stop(now.signal)

    def _step(self, step: int) -> float:
        feed = self.setup.feed
        try:
            with memory.told(memory.TRAINING_HINT):
                batches = [feed.batch(step, micro) for micro in range(self.recipe.accumulate)]
                return self.setup.stepper.run(step, batches)
        except NumericalError as error:
            self.journal.write("end", step=step, reason=str(error))
            raise

    def finish(self) -> Path:
        """Last evaluation and save, evaluation of the best weights, report."""
        if self.setup.validation and self.progress.validated != self.progress.step:
            self.validate(last=True)
        self.save()
        self.setup.write_weights("last", self.progress)
        self.journal.write("end", step=self.progress.step, seconds=self.seconds(), reason="done")
        path = folders.weights(self.run, "best" if self.setup.validation else "last")
        if self.setup.fabric.global_rank == 0:
            told = "stopped in the last evaluation; the weights are saved"
            close(self.setup, path, watch=lambda: self.caught.refuse(told, self._command()))
            self._refuse_collapse()
        return path

    # -- the parts ----------------------------------------------------------------------------
    def _start(self) -> None:
        s = self.setup
        self.journal.rewind(-1)  # of a run that died before its first save
        self.journal.write("start", step=0, **s.found.facts(str(s.fabric.device)))
        self._write_recipe()
        for text in s.found.notes:
            log.info("%s", text)
        for text in s.found.warnings:
            self.journal.write("warning", step=0, text=text)
            log.warning("%s", text)

    def _write_recipe(self) -> None:
        if self.setup.fabric.global_rank == 0:
            write_recipe(self.run / folders.RECIPE, self.recipe)

    def validate(self, *, last: bool) -> None:
        """Evaluate the averaged (or plain) weights; keep them if they are the best so far."""
        found = validate(self.setup, self.progress.step)
        best = found.mean_iu > self.progress.best
        self.progress = replace(
            self.progress,
            best=found.mean_iu if best else self.progress.best,
            best_step=found.step if best else self.progress.best_step,
            stale=0 if best else self.progress.stale + 1,
            validated=found.step,
            collapse=found.diagnosis if found.collapsed else "",
        )
        self.journal.write("validate", seconds=self.seconds(), best=best, **found.as_dict())
        if found.diagnosis and (found.step >= COLLAPSED_AFTER or last):
            self.journal.write("warning", step=found.step, text=found.diagnosis)
            log.warning("%s", found.diagnosis)
        if best:
            self.setup.write_weights("best", self.progress, found)
        self.watch(replace(self._tick, step=found.step, validation=found))
        allocator.give_back()  # its maps had other sizes, and what they leave need not fit a step's

    def save(self) -> None:
        """A state to resume from."""
        self.saved_at = time.monotonic()
        s = self.setup
        self.progress = replace(self.progress, seconds=self.seconds())
        if s.fabric.global_rank == 0:
            save_state(
                self.run, self.progress, s.net, s.optimizer, s.stepper.average, s.found.header
            )
        self.journal.write("save", step=self.progress.step)

    def _stop(self, number: int) -> None:
        self.save()
        self.setup.write_weights("last", self.progress)
        self.journal.write("end", step=self.progress.step, reason=f"signal {number}")
        told = f"stopped at step {self.progress.step}; the state is saved"
        raise Stopped(number, told, self._command())

    def _command(self) -> str:
        recipe, run = (shlex.quote(str(p)) for p in (self.run / folders.RECIPE, self.run))
        return f"pixelwise train {recipe} -o {run} --resume"

    def _refuse_collapse(self) -> None:
        if self.progress.collapse and self.progress.step >= COLLAPSED_AFTER:
            hint = "the weights are kept in the run folder"
            raise NumericalError("N002", self.progress.collapse, hint)

    # -- time ---------------------------------------------------------------------------------
    def seconds(self) -> float:
        """Training time so far, over all sittings."""
        return self.before + time.monotonic() - self.began

    def _moment(self) -> _Moment:
        """Where the run stands; clocks and signals differ between processes, so they agree."""
        own = (self._share(), self.caught.signal, self._save_due())
        share, number, save = processes.largest(self.setup.fabric, own)
        tired = bool(self.recipe.patience and self.progress.stale >= self.recipe.patience)
        return _Moment(share, int(number), bool(save), over=share >= 1 or tired)

    def _share(self) -> float:
        if self.total:
            return self.progress.step / self.total
        return min(1.0, self.seconds() / (60 * self.recipe.minutes))

    def _due(self, share: float) -> bool:
        if not self.setup.validation:
            return False
        every = self.recipe.validate_every
        if every:
            return self.progress.step % every == 0
        return share >= (self.progress.next_validation or 1 / VALIDATIONS)

    def _plan_validation(self, share: float) -> None:
        """At the next tenth of the run; later where an evaluation takes much of a run's minutes."""
        now = share if self.total else self._moment().share
        self.progress = replace(self.progress, next_validation=next_validation(share, now))

    def _save_due(self) -> bool:
        if self.recipe.save_every:
            return self.progress.step % self.recipe.save_every == 0
        return time.monotonic() - self.saved_at > SAVE_SECONDS

    def _log(self, loss: float, lr: float, rate: float) -> None:
        epoch = self.progress.step * self.setup.images_per_step / len(self.setup.feed.items)
        self.journal.write(
            "step",
            step=self.progress.step,
            epoch=round(epoch, 3),
            loss=loss,
            lr=lr,
            images_per_second=round(rate, 3),
            seconds=round(self.seconds(), 2),
        )
        share = self._share()
        left = 60 * self.recipe.minutes - self.seconds()
        if self.total:
            left = (self.total - self.progress.step) * self.setup.images_per_step / rate
        self._tick = Tick(self.progress.step, self.total, share, loss, rate, max(left, 0.0))
        self.watch(self._tick)
