"""A run under way: from its first step, or the saved one, to the report."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from pixelwise import folders
from pixelwise.data.masking import masked_as
from pixelwise.errors import NumericalError, Stopped, UsageError
from pixelwise.machine import memory, signals
from pixelwise.machine.environment import environment
from pixelwise.machine.files import remove_leftovers, write_json
from pixelwise.pages import build
from pixelwise.predict import model
from pixelwise.predict.memory import TRAINING_HINT
from pixelwise.settings import as_dict
from pixelwise.training import optim, processes
from pixelwise.training.feed import Feed
from pixelwise.training.folder import resume_command
from pixelwise.training.journal import Journal, ProgressReport, Watch
from pixelwise.training.length import iterations, next_validation
from pixelwise.training.look import write_look
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import write_recipe
from pixelwise.training.run_data import RunData
from pixelwise.training.starting_net import StartingNet, header_of, refuse_impossible_step
from pixelwise.training.state import Progress, generations, load_state, save_state
from pixelwise.training.step import Stepper
from pixelwise.training.validate import Validation, validate
from pixelwise.weights.checkpoint import save_checkpoint

SAVE_SECONDS = 120.0  # what a crash may cost, where the recipe does not say
LOG_EVERY = 10  # steps
LOG_SECONDS = 30.0  # slower steps are told of one by one
LOOK_SECONDS = 60.0  # until the first look: in sight before the second minute ends
COLLAPSED_AFTER = 100  # steps; before that one class for all is only a warning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Moment:
    """What decides where the loop goes; the same in every process."""

    share: float
    """How much of the run is done."""
    signal: int
    save: bool
    over: bool


class Run:
    """Built complete and ready to step; ``go`` carries it through.

    The run folder is locked for this process, and ``fabric`` is a ``lightning_fabric.Fabric`` that
    was launched.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        fabric: Any,
        data: RunData,
        start: StartingNet,
        caught: signals.Caught,
        watch: Watch | None,
    ) -> None:
        if folder.resolve() in data.dataset.folders:
            raise UsageError("U003", f"{folder} holds the data's own files", "choose another -o")
        self.recipe, self.folder, self.fabric = recipe, folder, fabric
        pixel = start.preprocess.mean_pixel()
        shown = masked_as(recipe.mask, data.dataset.classes, pixel, data.inputs)
        read = data.read
        # After the data was read once: statistics and what is trained on are of whole pictures.
        data = replace(data, read=lambda item: shown(read(item)))
        self.data, self.start, self.caught, self.watch = data, start, caught, watch
        self.pixels = data.pixels_per_step(recipe)
        self.rate = optim.effective_rate(recipe, self.pixels)
        refuse_impossible_step(recipe, start.net, data.sizes, fabric.device)
        weights = data.class_weights(recipe.loss.class_weights)
        self.stepper = Stepper(fabric, start.net, recipe, weights)
        self.feed = Feed(
            data.items,
            data.read,
            recipe,
            start.preprocess,
            rare=data.rare,
            deviation=data.statistics.std,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )
        self.first = fabric.global_rank == 0
        self.journal = Journal(folder if self.first else None)
        self.images_per_step = recipe.batch * recipe.passes * int(fabric.world_size)
        self.total = iterations(recipe, len(data.items), self.images_per_step)
        self.progress = Progress()
        self.began = self.saved_at = time.monotonic()
        self.seconds_before = 0.0
        self.report = ProgressReport(total=self.total)
        self.looked = False
        self.header = header_of(recipe, data, start)

    # -- the whole ----------------------------------------------------------------------------
    def go(self, *, resume: bool, reasons: Sequence[str] = ()) -> Path:
        """From the first step (or the saved one) to the report; ``reasons`` head the recipe."""
        for folder in (self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())):
            remove_leftovers(folder)
        if resume and generations(self.folder):
            self._go_on()
        else:
            self._begin()
        processes.refuse_other_step(self.fabric, self.progress.step, self.folder)
        if self.first:  # also of a run that goes on: its data may have moved
            write_recipe(self.folder / folders.RECIPE, self.recipe, reasons)
        with self.feed:
            self._fit()
        return self._finish()

    def _fit(self) -> None:
        """Step after step until the length is reached, patience ends, or a signal comes."""
        rate_began, rate_images = time.monotonic(), 0
        now = self._moment()
        while not now.over:
            step = self.progress.step
            lr = optim.learning_rate(self.recipe.optim, self.recipe.schedule, step, now.share)
            optim.set_rate(self.stepper.optimizer, lr)
            losses = (*self.progress.losses, self._step(step))
            self.progress = replace(
                self.progress, step=step + 1, seconds=self._seconds(), losses=losses
            )
            rate_images += self.images_per_step
            now = self._moment()
            spent = time.monotonic() - rate_began
            if (step + 1) % LOG_EVERY == 0 or now.over or spent > LOG_SECONDS:
                rate = rate_images / max(spent, 1e-9)
                self._log(lr, rate)
                self.progress = replace(self.progress, losses=())
                rate_began, rate_images = time.monotonic(), 0
            if self._validation_due(now.share):
                self._validate(last=now.over)
                before, now = now, self._moment()  # it took time, and may have ended all patience
                due = next_validation(before.share, now.share)
                self.progress = replace(self.progress, next_validation=due)
                rate_began, rate_images = time.monotonic(), 0
            if not self.looked and time.monotonic() - self.began > LOOK_SECONDS:
                self._look()
            if now.save:
                self._save()
            if now.signal:
                self._stop(now.signal)

    def _finish(self) -> Path:
        """Last evaluation and save, evaluation of the best weights, report."""
        if self.data.held_out and self.progress.validated != self.progress.step:
            self._validate(last=True)
        self._save()
        self._write_weights("last")
        self.fabric.barrier()  # a stage that follows starts from these, in every process
        end = {"step": self.progress.step, "seconds": self._seconds()}
        path = folders.weights(self.folder, "best" if self.data.held_out else "last")
        if self.first:
            self._write_report(path)
            if self.progress.collapse and self.progress.step >= COLLAPSED_AFTER:
                hint = "the weights are kept in the run folder"
                self.journal.write("end", **end, reason=self.progress.collapse)
                raise NumericalError("N002", self.progress.collapse, hint)
        self.journal.write("end", **end, reason=folders.DONE)  # the page is written as well
        return path

    def _write_report(self, weights: Path) -> None:
        """The kept weights evaluated, loaded as users load them, and the page about the run."""

        number, held_out = count(1), len(self.data.held_out)

        def evaluated() -> None:
            self._tell("evaluating the best weights", next(number), held_out)
            message = "stopped in the last evaluation; the weights are saved"
            self.caught.refuse(message, resume_command(self.folder))

        write_json(self.folder / folders.ENVIRONMENT, environment())
        dataset, split = self.data.dataset, self.recipe.val_split
        if split:
            guesses = self.folder / folders.GUESSES
            shutil.rmtree(guesses, ignore_errors=True)  # the run's own, of other weights
            kept = model.load(weights, device=self.fabric.device.type)
            mask = self.recipe.mask
            evaluation = kept.evaluate(dataset, split, keep=guesses, mask=mask, watch=evaluated)
            write_json(self.folder / folders.SCORES, evaluation.as_dict())
            own, measured = evaluation.measures or evaluation.scores, evaluation.measures
            alone = measured.beside if measured else evaluation.majority.sentence()
            log.info("%s on %s: %s; %s", weights.name, split, own.sentence, alone)
        build(self.folder, dataset=dataset)

    # -- the parts ----------------------------------------------------------------------------
    def _begin(self) -> None:
        self.journal.rewind(-1)  # of a run that died before its first save
        per_pixel = self.rate / self.pixels
        parameters = list(self.start.net.parameters())
        self.journal.write(
            "start",
            step=0,
            net=self.recipe.net,
            recipe=as_dict(self.recipe),
            classes=list(self.data.dataset.classes),
            heads=self.data.dataset.classes_by_head,
            inputs={name: str(kind) for name, kind in self.data.inputs.items()},
            parameters=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            device=str(self.fabric.device),
            images=len(self.data.items),
            validation_images=len(self.data.held_out),
            rate_per_pixel=per_pixel,
            rate_on_mean_loss=self.rate,
            weights=dict(self.start.transplant),
        )
        log.info(
            "rate per pixel %.2g, for the mean over a step's %s px %.2g (docs/training.md)",
            per_pixel,
            f"{self.pixels:,}",
            self.rate,
        )
        for text in self.start.transplant.get("notes", ()):
            log.info("%s", text)
        for text in (*self.data.warnings(self.recipe), *self.start.warnings):
            self.journal.write("warning", step=0, text=text)
            log.warning("%s", text)

    def _go_on(self) -> None:
        self.progress = load_state(self.folder, self.stepper, self.header)
        self.seconds_before = self.progress.seconds
        self.journal.rewind(self.progress.step)
        self.journal.write("resume", step=self.progress.step)
        if self._moment().over:
            log.warning("%s was finished: only its report is made anew", self.folder)

    def _step(self, step: int) -> dict[str, float]:
        try:
            with memory.failed_allocations(TRAINING_HINT):
                batches = [self.feed.batch(step, i) for i in range(self.recipe.passes)]
                return self.stepper.run(step, batches)
        except NumericalError as error:
            self.journal.write("end", step=step, reason=str(error))
            raise

    def _validate(self, *, last: bool) -> None:
        """Evaluate the averaged (or plain) weights; keep them if they are the best so far."""
        preprocess, step = self.start.preprocess, self.progress.step
        tell = partial(self._tell, "evaluating")
        result = validate(self.stepper, self.data, preprocess, step, tell)
        best = result.scores.lead > self.progress.best
        self.progress = replace(
            self.progress,
            best=result.scores.lead if best else self.progress.best,
            best_step=result.step if best else self.progress.best_step,
            stale=0 if best else self.progress.stale + 1,
            validated=result.step,
            collapse=result.collapse,
        )
        self.journal.write("validate", seconds=self._seconds(), best=best, **result.as_dict())
        if result.collapse and (result.step >= COLLAPSED_AFTER or last):
            self.journal.write("warning", step=result.step, text=result.collapse)
            log.warning("%s", result.collapse)
        if best:
            self._write_weights("best", result)
        if self.watch:
            report = replace(self.report, step=result.step)
            self.watch(replace(report, validation=result, so_far=self.progress))
        self._look()
        memory.give_back()  # its maps had other sizes, and what they leave need not fit a step's

    def _look(self) -> None:
        """Show what a held-out picture has come to; the other processes need not wait for it."""
        if self.first and self.data.example:
            place, preprocess = self.folder / folders.LOOK, self.start.preprocess
            write_look(place, self.stepper, self.data, preprocess, self.progress.step)
            if not self.looked:
                log.info("look: %s, a held-out picture, its labels so far and the truth", place)
        self.looked = True

    def _tell(self, doing: str, done: int, total: int) -> None:
        if self.watch:
            self.watch(ProgressReport(step=self.progress.step, done=done / total, doing=doing))

    def _write_weights(self, name: str, validation: Validation | None = None) -> None:
        """``RUN/weights/<name>.safetensors``, with the scores that they have."""
        split = {"split": self.recipe.val_split}
        scores = split | validation.as_scores() if validation else {}
        header = replace(self.header, step=self.progress.step, scores=scores)
        if self.first:
            save_checkpoint(folders.weights(self.folder, name), self.stepper.finished, header)

    def _save(self) -> None:
        """A state to resume from."""
        self.saved_at = time.monotonic()
        self.progress = replace(self.progress, seconds=self._seconds())
        if self.first:
            save_state(self.folder, self.progress, self.stepper, self.header)
        self.journal.write("save", step=self.progress.step)

    def _stop(self, number: int) -> None:
        self._save()
        self._write_weights("last")
        self.journal.write("end", step=self.progress.step, reason=f"signal {number}")
        message = f"stopped at step {self.progress.step}; the state is saved"
        raise Stopped(number, message, resume_command(self.folder))

    # -- time ---------------------------------------------------------------------------------
    def _seconds(self) -> float:
        """Training time so far, over all sittings."""
        return self.seconds_before + time.monotonic() - self.began

    def _moment(self) -> _Moment:
        """Where the run stands; clocks and signals differ between processes, so they agree."""
        own = torch.tensor(
            [self._share(), self.caught.signal, self._save_due()], dtype=torch.float64
        )
        share, number, save = processes.combined(self.fabric, own, "max").tolist()
        tired = bool(self.recipe.patience and self.progress.stale >= self.recipe.patience)
        return _Moment(share, int(number), bool(save), over=share >= 1 or tired)

    def _share(self) -> float:
        steps = self.progress.step / self.total if self.total else 0.0
        time_gone = self._seconds() / (60 * self.recipe.minutes) if self.recipe.minutes else 0.0
        return min(1.0, max(steps, time_gone))

    def _validation_due(self, share: float) -> bool:
        if not self.data.held_out:
            return False
        if self.recipe.validate_every:
            return self.progress.step % self.recipe.validate_every == 0
        return share >= (self.progress.next_validation or next_validation(0.0, 0.0))

    def _save_due(self) -> bool:
        if self.recipe.save_every:
            return self.progress.step % self.recipe.save_every == 0
        return time.monotonic() - self.saved_at > SAVE_SECONDS

    def _log(self, lr: float, rate: float) -> None:
        losses, share = self.progress.losses, self._share()
        heads = {head: sum(of[head] for of in losses) / len(losses) for head in losses[0]}
        loss = self.recipe.loss.total(heads)
        epoch = self.progress.step * self.images_per_step / len(self.feed.items)
        self.journal.write(
            "step",
            step=self.progress.step,
            epoch=round(epoch, 3),
            loss=loss,
            **({"head_losses": heads} if len(heads) > 1 else {}),
            lr=lr,
            images_per_second=round(rate, 3),
            seconds=round(self._seconds(), 2),
        )
        left = 60 * self.recipe.minutes - self._seconds() if self.recipe.minutes else math.inf
        if self.total:
            left = min(left, (self.total - self.progress.step) * self.images_per_step / rate)
        self.report = ProgressReport(
            self.progress.step, self.total, share, loss, rate, max(left, 0.0)
        )
        if self.watch:
            self.watch(self.report)
