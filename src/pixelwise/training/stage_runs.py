"""A run in stages: one after the other, each a run of its own, the next from the last weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from pixelwise import folders
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import ModelError, Stopped, UsageError
from pixelwise.machine.files import remove_leftovers
from pixelwise.nets import catalog
from pixelwise.pages import build
from pixelwise.training import processes
from pixelwise.training.folder import claim, is_begun, resume_command, run_lock
from pixelwise.training.journal import ProgressReport, Watch
from pixelwise.training.optim import effective_rate
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import read_recipe, write_recipe
from pixelwise.training.run_data import RunData
from pixelwise.training.stages import with_files
from pixelwise.weights.published import IMAGENET, imagenet
from pixelwise.weights.streams import files_by_stream

log = logging.getLogger(__name__)


Train = Callable[[Recipe, Path, Mapping[str, Recipe], Watch | None], Path]
"""Carries out a stage in its folder; the stages to come are named for what can be known early."""


def in_turn(recipe: Recipe, run: Path, train: Train, *, resume: bool, watch: Watch | None) -> Path:
    """Carry out every stage that is not finished; the weights of the last one.

    Raises:
        UsageError, ModelError: before anything is begun, what can be known of all stages.
        Stopped: a signal came; the stage's state was saved.
    """
    first = processes.is_first()
    with run_lock(run) if first else nullcontext():
        plans = recipe.by_stage()
        if first:
            claim(recipe, run, resume=resume)
            remove_leftovers(run)
        for name, plan in plans.items():
            _refuse_what_is_missing(name, plan)
        dataset = open_dataset(Path(recipe.data), strict=False, values=recipe.values)
        if run.resolve() in dataset.folders:
            raise UsageError("U003", f"{run} holds the data's own files", "choose another -o")
        if first:
            write_recipe(run / folders.RECIPE, recipe)
        try:
            return _each(plans, run, train, resume=resume, watch=watch)
        except Stopped as stopped:
            number = stopped.exit_code - 128
            raise Stopped(number, str(stopped), resume_command(run)) from stopped
        finally:
            if first and not folders.stages(run):  # nothing was begun
                (run / folders.RECIPE).unlink(missing_ok=True)


def _each(
    plans: Mapping[str, Recipe], run: Path, train: Train, *, resume: bool, watch: Watch | None
) -> Path:
    names, weights = list(plans), run
    for number, name in enumerate(names, start=1):
        folder, plan = folders.stage(run, number, name), resolved(plans, name, run)
        if resume and folders.is_finished(folder):
            weights = folders.weights(folder, "best" if plan.val_split else "last")
            log.info("stage %d of %d, %s, is finished", number, len(names), name)
            continue
        start = f"from {plan.weights}" if plan.weights else "from random weights"
        log.info("stage %d of %d, %s: %s %s", number, len(names), name, plan.net, start)
        later = {n: plans[n] for n in names[number:]}
        weights = train(plan, folder, later, _named(watch, name))
        if processes.is_first():
            build(run)
    return weights


def resolved(plans: Mapping[str, Recipe], name: str, run: Path) -> Recipe:
    """The recipe of a stage with files in place of the stages that it starts from.

    One that was begun has those that it was begun with: the folder may have moved since.
    """
    numbers = {n: i for i, n in enumerate(plans, start=1)}

    def file(stage: str, which: str) -> str:
        return str(folders.weights(folders.stage(run, numbers[stage], stage), which))

    folder = folders.stage(run, numbers[name], name)
    if is_begun(folder) and (folder / folders.RECIPE).exists():
        return plans[name].replace(weights=read_recipe(folder / folders.RECIPE).weights)
    return plans[name].replace(weights=with_files(plans[name].weights, file))


def next_stage(recipe: Recipe, run: Path) -> Recipe:
    """The recipe of the first stage that is not finished in ``run``.

    Raises:
        UsageError: U002 all are finished.
    """
    plans = recipe.by_stage()
    for number, name in enumerate(plans, start=1):
        if not folders.is_finished(folders.stage(run, number, name)):
            return resolved(plans, name, run)
    raise UsageError("U002", f"every stage of {run} is finished", "choose another -o")


def _named(watch: Watch | None, name: str) -> Watch | None:
    """A watch that hears of which stage a report is."""
    if watch is None:
        return None

    def heard(report: ProgressReport) -> None:
        watch(replace(report, stage=name))

    return heard


def _refuse_what_is_missing(name: str, plan: Recipe) -> None:
    """What would end a later stage at its first step, said before the first one's days."""
    catalog.entry(plan.net)
    for file in files_by_stream(plan.weights).values():
        if file == IMAGENET:
            imagenet(plan.net)
        elif file and not file.startswith("stage:") and not Path(file).exists():
            raise ModelError("M001", f"stage {name}: {file} does not exist", "check the path")


def refuse_useless_rates(later: Mapping[str, Recipe], recipe: Recipe, data: RunData) -> None:
    """Stages to come, on the same data, whose rate and loss do not fit (UsageError)."""
    for name, plan in later.items():
        if plan.data != recipe.data:
            continue
        try:
            effective_rate(plan, data.pixels_per_step(plan))
        except UsageError as error:
            hint = error.hint.replace("--set ", f"--set stages.{name}.")
            raise UsageError(error.code, f"stage {name}: {error}", hint) from error
