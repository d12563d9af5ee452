"""A run, placed on its device and ready to step."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pixelwise import folders
from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Item
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError
from pixelwise.nets import spec
from pixelwise.predict import memory
from pixelwise.training.feed import Feed
from pixelwise.training.ingredients import Ingredients, gather
from pixelwise.training.optim import optimizer
from pixelwise.training.recipe import Recipe
from pixelwise.training.state import Progress, begun_with
from pixelwise.training.step import Stepper
from pixelwise.training.validate import Validation
from pixelwise.weights.checkpoint import save_checkpoint


@dataclass(frozen=True)
class Setup:
    """A run, ready to step."""

    found: Ingredients
    run: Path
    fabric: Any
    stepper: Stepper
    optimizer: torch.optim.Optimizer
    feed: Feed
    iterations: int | None
    """None when the run is measured in minutes."""

    @property
    def recipe(self) -> Recipe:
        """What is carried out."""
        return self.found.recipe

    @property
    def dataset(self) -> DataSet:
        """What is trained on."""
        return self.found.dataset

    @property
    def net(self) -> Network:
        """The plain net, without Fabric's wrapping."""
        return self.found.net

    @property
    def validation(self) -> tuple[Item, ...]:
        """What is evaluated on while training; empty: nothing."""
        return self.found.held

    @property
    def images_per_step(self) -> int:
        """Training pictures per optimizer step, over all devices."""
        return self.recipe.batch * self.recipe.accumulate * int(self.fabric.world_size)

    def write_weights(self, name: str, progress: Progress, found: Validation | None = None) -> None:
        """``RUN/weights/<name>.safetensors``: the averaged weights where there are some."""
        if self.fabric.global_rank != 0:
            return
        average = self.stepper.average
        tensors = average.tensors if average else self.net.state_dict()
        scores = {"split": self.recipe.val_split, **found.scores.as_dict()} if found else {}
        header = replace(self.found.header, step=progress.step, scores=scores)
        save_checkpoint(folders.weights(self.run, name), tensors, header)


def prepare(
    recipe: Recipe,
    run: Path,
    fabric: Any,
    *,
    resume: bool = False,
    watch: Callable[[], object] = lambda: None,
) -> Setup:
    """Everything up to the first step: what ``gather`` found, placed on the device.

    Args:
        recipe: what to do.
        run: its folder.
        fabric: a ``lightning_fabric.Fabric``.
        resume: a state of the run will be loaded, if there is one.
        watch: called after each picture that was read.

    Raises:
        DataError, UsageError, ModelError: as ``gather``; U002 batch norm over a single value,
            U003 the run folder is one of the data's.
        ResourceError: R003 a step would not fit into memory.
    """
    found = gather(recipe, begun_with(run) if resume else None, watch=watch)
    if run.resolve() in found.dataset.folders:
        raise UsageError("U003", f"{run} holds the data's own files", "choose another -o")
    made = optimizer(found.net, recipe)
    trained = {n.rpartition(".")[0] for n, p in found.net.named_parameters() if p.requires_grad}
    _refuse_single_values(found, trained)
    memory.check_step(
        found.net.net,
        trained,
        found.batch_shape,
        number=2 if recipe.precision == "bf16" else 4,
        device=fabric.device,
    )
    found.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wrapped, made = fabric.setup(found.net, made)
    weights = found.class_weights
    if weights is not None:
        weights = weights.to(fabric.device)
    feed = Feed(
        found.items,
        found.read,
        recipe,
        found.preprocess,
        rare=found.rare,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    return Setup(
        found=found,
        run=run,
        fabric=fabric,
        stepper=Stepper(fabric, found.net, wrapped, made, recipe, weights),
        optimizer=made,
        feed=feed,
        iterations=found.iterations(recipe.batch * recipe.accumulate * fabric.world_size),
    )


def _refuse_single_values(found: Ingredients, trained: Collection[str]) -> None:
    """One value has no deviation: batch norm cannot be trained on it."""
    recipe, net = found.recipe, found.net.net
    if recipe.batch > 1 or recipe.frozen_bn:
        return
    sizes = net.sizes(found.least)
    norms = (name for name in sizes if isinstance(net.layers.get(name), spec.BatchNorm))
    first = next((name for name in norms if name in trained and sizes[name] == 1), None)
    if first:
        raise UsageError(
            "U002",
            f"batch norm {first} would see a single value (batch 1, maps of 1x1 from "
            f"{found.least}x{found.least}), expected several",
            "--set batch=2, a larger crop, or --set frozen_bn=true",
        )
