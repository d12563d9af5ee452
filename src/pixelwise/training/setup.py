"""Everything a run needs, made before the first step: data checked, net built, weights put in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.data import preprocess as preprocessing
from pixelwise.data.inspect import refuse_problems
from pixelwise.data.layouts import DataSet, open_dataset
from pixelwise.data.preprocess import Preprocess
from pixelwise.data.sample import Item
from pixelwise.data.statistics import Statistics, statistics
from pixelwise.inference.predictor import View
from pixelwise.losses.weighting import class_weights
from pixelwise.nets import catalog
from pixelwise.nets.module import Network
from pixelwise.training.feed import Feed, SampleCache
from pixelwise.training.optim import optimizer, refuse_absurd_rate
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import as_dict
from pixelwise.training.state import Progress
from pixelwise.training.step import Stepper
from pixelwise.training.validate import Validation
from pixelwise.weights.checkpoint import Header, save_checkpoint
from pixelwise.weights.importing import preprocess_of, start_from

RARE_SHARE = 0.25
"""A class is rare when it has less than this part of an equal share of the pixels."""


@dataclass(frozen=True)
class Setup:
    """A run, ready to step."""

    recipe: Recipe
    run: Path
    fabric: Any
    dataset: DataSet
    net: Network
    stepper: Stepper
    optimizer: torch.optim.Optimizer
    feed: Feed
    read: SampleCache
    validation: tuple[Item, ...]
    preprocess: Preprocess
    header: Header
    view: View
    iterations: int | None
    """None when the run is measured in minutes."""
    facts: dict[str, Any]
    """For the journal's first line."""
    warnings: tuple[str, ...]

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
        header = _dated(self.header, progress.step, scores)
        save_checkpoint(self.run / "weights" / f"{name}.safetensors", tensors, header)

    def report(self, weights: Path) -> None:
        """Evaluate the kept weights image by image, and write the page about the run."""
        from pixelwise.training.closing import close

        close(self, weights)


def prepare(recipe: Recipe, run: Path, fabric: Any) -> Setup:
    """Check the data, build the net, put the weights in; nothing is trained yet.

    Raises:
        DataError: all problems of the data, named with their files.
        UsageError: a rate that does not fit the reduction, an unknown net.
        ModelError: weights that do not fit.
    """
    dataset = open_dataset(Path(recipe.data), seed=recipe.seed)
    items = dataset.items(recipe.train_split)
    held = dataset.items(recipe.val_split) if recipe.val_split else ()
    refuse_problems(dataset, [s for s in (recipe.train_split, recipe.val_split) if s])
    counted = statistics(dataset, recipe.train_split)
    weights = _class_weights(counted, recipe)
    net, preprocess, notes = _net(recipe, dataset, counted)
    check = refuse_absurd_rate(recipe, _pixels(recipe, counted, len(items)))
    made = optimizer(net, recipe)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wrapped, made = fabric.setup(net, made)
    stepper = Stepper(
        fabric, net, wrapped, made, recipe, None if weights is None else weights.to(fabric.device)
    )
    read = SampleCache(dataset.read, int(recipe.cache * 2**30))
    feed = Feed(
        items,
        read,
        recipe,
        preprocess,
        rare=_rare(counted),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    view = View(recipe.zoom, recipe.mirror)
    options = {
        "classes": len(dataset.classes),
        "channels": dataset.image_channels,
        "width": recipe.width,
        "learned": recipe.learned,
    }
    header = Header(
        net=recipe.net,
        options=options,
        classes=dataset.classes,
        palette=dataset.palette,
        preprocess=preprocess.as_dict(),
        inference=view.as_dict(),
        data={"path": recipe.data, "fingerprint": dataset.fingerprint()},
    )
    facts = {
        "net": recipe.net,
        "recipe": as_dict(recipe),
        "classes": list(dataset.classes),
        "parameters": sum(p.numel() for p in net.parameters()),
        "trained": sum(p.numel() for p in net.parameters() if p.requires_grad),
        "device": str(fabric.device),
        "images": len(items),
        "validation_images": len(held),
        "rate_per_pixel": check.per_pixel,
        "rate_on_mean_loss": check.normalised,
        "weights": notes,
    }
    per_step = recipe.batch * recipe.accumulate * fabric.world_size
    return Setup(
        recipe,
        run,
        fabric,
        dataset,
        net,
        stepper,
        made,
        feed,
        read,
        tuple(held),
        preprocess,
        header,
        view,
        _iterations(recipe, len(items), per_step),
        facts,
        _absent(counted, dataset, recipe),
    )


def _net(
    recipe: Recipe, dataset: DataSet, counted: Statistics
) -> tuple[Network, Preprocess, dict[str, Any]]:
    """The net with its starting weights and the preprocessing that goes with them."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = catalog.build(
            recipe.net,
            classes=len(dataset.classes),
            channels=dataset.image_channels,
            width=recipe.width,
            learned=recipe.learned,
        )
    if not recipe.weights:
        return net, _fresh_preprocess(recipe.net, dataset, counted), {}
    from pixelwise.weights.files import weight_file

    foreign, transplant = start_from(weight_file(Path(recipe.weights)), net)
    settings = preprocess_of(foreign, recipe.net)
    told = {"file": recipe.weights, **transplant.as_dict()}
    if settings:
        return net, Preprocess.from_dict(settings), told
    return net, _fresh_preprocess(recipe.net, dataset, counted), told


def _fresh_preprocess(net: str, dataset: DataSet, counted: Statistics) -> Preprocess:
    """What a trunk's published weights expect; for other channels and trunks, the data's own."""
    kind = catalog.entry(net).preprocess
    if dataset.image_channels == 3 and kind == "caffe":
        return preprocessing.CAFFE
    if dataset.image_channels == 3 and kind == "imagenet":
        return preprocessing.IMAGENET
    return preprocessing.standard(counted.mean.tolist(), counted.std.tolist())


def _class_weights(counted: Statistics, recipe: Recipe) -> Tensor | None:
    scheme = recipe.loss.class_weights
    if scheme == "none":
        return None
    weights = class_weights(counted.pixels, scheme, in_images=counted.pixels_where_present)
    return torch.from_numpy(weights)


def _rare(counted: Statistics) -> tuple[int, ...]:
    """Classes that a rare-class crop may be centred on."""
    share = counted.pixels / max(1, int(counted.pixels.sum()))
    limit = RARE_SHARE / len(share)
    return tuple(i for i, s in enumerate(share) if 0 < s < limit)


def _pixels(recipe: Recipe, counted: Statistics, images: int) -> int:
    """Pixels that count in one optimizer step, about."""
    known = int(counted.pixels.sum()) / max(1, images)
    if recipe.crop:
        known = min(known, recipe.crop[0] * recipe.crop[1])
    return max(1, round(known * recipe.batch * recipe.accumulate))


def _iterations(recipe: Recipe, images: int, per_step: int) -> int | None:
    if recipe.iterations:
        return recipe.iterations
    if recipe.minutes:
        return None
    return max(1, math.ceil((recipe.epochs or 30.0) * images / per_step))


def _absent(counted: Statistics, dataset: DataSet, recipe: Recipe) -> tuple[str, ...]:
    names = [n for n, pixels in zip(dataset.classes, counted.pixels, strict=True) if not pixels]
    if not names:
        return ()
    listed = ", ".join(f"`{n}`" for n in names)
    return (
        f"no pixel of {listed} in split {recipe.train_split}: the net cannot learn them, and they "
        "are scored 0 where the truth has them (add pictures, or drop them from the class list)",
    )


def _dated(header: Header, step: int, scores: dict[str, Any]) -> Header:
    from dataclasses import replace

    return replace(header, step=step, scores=scores)
