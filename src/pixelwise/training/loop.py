"""Training, readable in one sitting: set up, fit, finish.

Lightning Fabric places the net, casts, and distributes; the loop is ours. Everything random is a
function of (seed, step), so that a run continued from its saved state ends with the same weights
as one that was never stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from pixelwise.errors import ResourceError, UsageError
from pixelwise.machine import memory, signals
from pixelwise.machine.environment import float32_is_float32, resolve_device
from pixelwise.training import processes, stage_runs
from pixelwise.training.folder import claim, run_lock
from pixelwise.training.journal import ProgressReport, Watch
from pixelwise.training.recipe import Recipe
from pixelwise.training.run import Run
from pixelwise.training.run_data import read_data
from pixelwise.training.starting_net import starting_net
from pixelwise.training.state import begun_with


def train(
    recipe: Recipe,
    run: Path | str,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    reasons: Sequence[str] = (),
) -> Path:
    """Carry out a recipe; everything ends up in the run folder.

    A recipe in stages is carried out stage by stage, each in a run folder of its own within it.

    Args:
        recipe: what to do; when resuming it must be the run's own.
        run: folder for recipe, journal, weights, states, evaluation and report.
        resume: go on from the newest whole state.
        watch: called every few steps and after each evaluation.
        reasons: lines on why the recipe is as it is, kept at its head.

    Returns:
        The checkpoint of the best weights (of the last ones without a validation split), of the
        last stage.

    Raises:
        UsageError: contradictions, a folder in use, a changed recipe.
        DataError: anything wrong with the data, before the first step.
        NumericalError: a loss that is not finite (N001), a collapsed net (N002).
        ResourceError: R002, R007 the folder, R003 memory, R010 another process of the run is gone.
        Stopped: a signal came; the state was saved, or nothing was begun yet.
    """
    if recipe.stages:

        def stage(
            plan: Recipe, folder: Path, later: Mapping[str, Recipe], heard: Watch | None
        ) -> Path:
            return _train(plan, folder, resume=resume, watch=heard, later=later)

        return stage_runs.in_turn(recipe, Path(run), stage, resume=resume, watch=watch)
    return _train(recipe, Path(run), resume=resume, watch=watch, reasons=reasons)


def _train(
    recipe: Recipe,
    run: Path,
    *,
    resume: bool,
    watch: Watch | None,
    reasons: Sequence[str] = (),
    later: Mapping[str, Recipe] = MappingProxyType({}),
) -> Path:
    """One run, of one piece; ``later`` are the stages to come, by name."""
    first = processes.is_first()
    # The folder is locked and looked at before other processes are started: what it refuses would
    # leave them waiting.
    with signals.caught() as caught, run_lock(run) if first else nullcontext():
        if first:
            claim(recipe, run, resume=resume)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        fabric = fabric_of(recipe)
        with (
            processes.together(fabric),
            resumable(),
            # Kept, freed memory lies in pieces: 3.6 against 2.8 GB with checkpoints (FCN-8s-VGG16).
            nullcontext() if recipe.checkpoint else memory.freed_memory_kept(),
            plain_torch(fabric.device),
        ):
            watched = watch if first else None

            def reading(share: float) -> None:
                if watched:
                    watched(ProgressReport(done=share, doing="reading the data"))
                if fabric.world_size == 1:  # several decide together, once they step
                    caught.refuse("stopped while the data was read", "run the same command again")

            begun = begun_with(run) if resume else None
            data = read_data(recipe, begun, watch=reading)
            stage_runs.refuse_useless_rates(later, recipe, data)
            start = starting_net(recipe, data, begun)
            under_way = Run(recipe, run, fabric, data, start, caught, watched)
            return under_way.go(resume=resume, reasons=reasons)


def fabric_of(recipe: Recipe) -> Any:
    """A launched ``lightning_fabric.Fabric`` for device, precision and processes of a recipe."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    device = resolve_device(recipe.device)
    fabric = Fabric(
        accelerator=device.type,
        **processes.layout(recipe),
        strategy="ddp" if recipe.devices > 1 else "auto",
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


@contextmanager
def resumable() -> Iterator[None]:
    """A disk that is full ends a run, which then goes on from its last state."""
    try:
        yield
    except ResourceError as error:
        if error.code == "R001":
            error.hint = "free some space; the same command with --resume goes on"
        raise


@contextmanager
def plain_torch(device: torch.device) -> Iterator[None]:
    """Compute as in a fresh process, whatever the caller has switched on: float32, with gradients.

    Autocast on the device cannot be left out: within a block of it, also one that switches it off
    again, torch keeps the weights that it has cast until the outermost block ends, and every step
    would see those of the first.
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
        exact = float32_is_float32(device, repeatable=True)
        with torch.inference_mode(False), torch.enable_grad(), exact:
            yield
    finally:
        torch.set_default_dtype(before)
