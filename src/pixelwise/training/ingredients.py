"""What a run is made of, checked before anything is trained: data, counts, net with its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.data import preprocess as preprocessing
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import refuse_problems
from pixelwise.data.listing import raise_all
from pixelwise.data.preprocess import Preprocess
from pixelwise.data.sample import Item
from pixelwise.data.statistics import Statistics
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import DataError, UsageError, hxw
from pixelwise.losses.weighting import class_weights
from pixelwise.nets import catalog
from pixelwise.predict.view import View
from pixelwise.training.feed import SampleCache
from pixelwise.training.optim import RateCheck, refuse_absurd_rate
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import as_dict
from pixelwise.weights.checkpoint import Header
from pixelwise.weights.files import weight_file
from pixelwise.weights.importing import preprocess_of, start_from
from pixelwise.weights.surgery import without_values

RARE_SHARE = 0.25
"""A class is rare when it has less than this part of an equal share of the pixels."""


@dataclass(frozen=True)
class Ingredients:
    """Data and net of a run, nothing trained yet."""

    recipe: Recipe
    dataset: DataSet
    read: SampleCache
    """``dataset.read``, with what was read already."""
    items: tuple[Item, ...]
    held: tuple[Item, ...]
    counted: Statistics
    net: Network
    preprocess: Preprocess
    weights: dict[str, Any]
    """What was taken from the file the run starts from; empty for random weights."""
    gaps: tuple[str, ...]
    """Tensors of the trunk that the file should hold and does not: they start from random."""
    check: RateCheck
    fingerprint: str
    """Of the data that is trained and evaluated on, as it was when the run began."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of the pictures, each once."""

    @property
    def view(self) -> View:
        """How the finished model shows pictures to its net."""
        return View(self.recipe.zooms or (self.recipe.zoom,), self.recipe.mirror)

    @property
    def header(self) -> Header:
        """For every checkpoint of the run, but for step and scores."""
        return Header(
            net=self.recipe.net,
            options=net_options(self.recipe, len(self.dataset.classes)),
            classes=self.dataset.classes,
            palette=self.dataset.palette,
            preprocess=self.preprocess.as_dict(),
            inference=self.view.as_dict(),
            data={"path": self.recipe.data, "fingerprint": self.fingerprint},
        )

    @property
    def class_weights(self) -> Tensor | None:
        """(K,) by the recipe's scheme, None for none."""
        scheme = self.recipe.loss.class_weights
        if scheme == "none":
            return None
        within = self.counted.pixels_where_present
        return torch.from_numpy(class_weights(self.counted.pixels, scheme, in_images=within))

    @property
    def rare(self) -> tuple[int, ...]:
        """Classes that a crop may be centred on, and that may be pasted from another."""
        share = self.counted.pixels / max(1, int(self.counted.pixels.sum()))
        limit = RARE_SHARE / len(share)
        return tuple(i for i, s in enumerate(share) if 0 < s < limit)

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """(N, H, W) of a batch; where pictures are not cut, of one of the smallest."""
        smallest = min(self.sizes, key=lambda size: size[0] * size[1])
        scale = self.recipe.zoom * self.recipe.augment.scale[0]
        whole = (round(scale * smallest[0]), round(scale * smallest[1]))
        height, width = self.recipe.crop or whole
        return self.recipe.batch, max(1, height), max(1, width)

    @property
    def least(self) -> int:
        """The longer side of the smallest input that a batch of one may be."""
        crop = self.recipe.crop
        scale = self.recipe.zoom * self.recipe.augment.scale[0]
        return max(crop) if crop else max(1, round(scale * min(max(size) for size in self.sizes)))

    @property
    def notes(self) -> tuple[str, ...]:
        """How the weights it starts from were fitted to the net, score layers above all."""
        return tuple(self.weights.get("notes", ()))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Classes that cannot be learned, settings without effect, layers left random."""
        found = []
        pairs = zip(self.dataset.classes, self.counted.pixels, strict=True)
        listed = ", ".join(f"`{name}`" for name, pixels in pairs if not pixels)
        if listed:
            found.append(
                f"no pixel of {listed} in split {self.recipe.train_split}: the net cannot learn "
                "them, and they are scored 0 where the truth has them (add pictures, or drop them "
                "from the class list)"
            )
        if self.recipe.train_split == self.recipe.val_split:
            found.append(
                f"the split that is trained on, `{self.recipe.train_split}`, is also evaluated on: "
                "its scores say nothing about other pictures"
            )
        largest = tuple(max(sides) for sides in zip(*self.sizes, strict=True))
        scale = self.recipe.zoom * self.recipe.augment.scale[1]
        crop = self.recipe.crop
        if crop and any(c > scale * side for c, side in zip(crop, largest, strict=True)):
            found.append(
                f"crop {hxw(crop)} is larger than every picture (at most {hxw(largest)}, enlarged "
                f"{scale:g} times): what is beyond is void"
            )
        if not self.rare and (self.recipe.augment.rare or self.recipe.augment.paste):
            found.append("no class is rare here: augment.rare and augment.paste change nothing")
        if self.gaps:
            more = f", and {len(self.gaps) - 5} more" if len(self.gaps) > 5 else ""
            found.append(
                f"{len(self.gaps)} tensors are not in {self.recipe.weights} and start from random "
                f"values: {', '.join(self.gaps[:5])}{more}"
            )
        return tuple(found)

    def iterations(self, per_step: int) -> int | None:
        """Optimizer steps of the run; None when it is measured in minutes."""
        if self.recipe.iterations:
            return self.recipe.iterations
        if self.recipe.minutes:
            return None
        return max(1, math.ceil((self.recipe.epochs or 30.0) * len(self.items) / per_step))

    def facts(self, device: str) -> dict[str, Any]:
        """For the journal's first line."""
        parameters = list(self.net.parameters())
        return {
            "net": self.recipe.net,
            "recipe": as_dict(self.recipe),
            "classes": list(self.dataset.classes),
            "parameters": sum(p.numel() for p in parameters),
            "trained": sum(p.numel() for p in parameters if p.requires_grad),
            "device": device,
            "images": len(self.items),
            "validation_images": len(self.held),
            "rate_per_pixel": self.check.per_pixel,
            "rate_on_mean_loss": self.check.normalised,
            "weights": self.weights,
        }


def gather(
    recipe: Recipe, begun: Header | None = None, *, watch: Callable[[], object] = lambda: None
) -> Ingredients:
    """Check the data, build the net, put the weights in.

    Args:
        recipe: what to do.
        begun: of the state of a run that goes on: it holds the weights that are needed, and what
            the run started from may be gone or another by now.
        watch: called after each picture that was read.

    Raises:
        DataError: all problems of the data, named with their files.
        UsageError: a rate that does not fit the reduction, an unknown net.
        ModelError: weights that do not fit.
    """
    _refuse_classifier(recipe.net)
    dataset = open_dataset(Path(recipe.data), strict=False)
    splits = tuple(s for s in (recipe.train_split, recipe.val_split) if s)
    try:
        fingerprint = dataset.fingerprint(*splits)
    except DataError as error:
        if recipe.val_split and recipe.val_split not in dataset.splits:
            error.hint = "--set val_split= trains without evaluation; or " + error.hint
        raise_all(dataset.root, [*dataset.problems, error])
    items = dataset.items(recipe.train_split)
    held = dataset.items(recipe.val_split) if recipe.val_split else ()
    read = SampleCache(dataset.read, int(recipe.cache * 2**30))
    inspected = refuse_problems(dataset, splits, read=read, watch=watch)
    counted = inspected.statistics(recipe.train_split)
    check = refuse_absurd_rate(recipe, _pixels(recipe, counted, len(items)))
    net, preprocess, weights, gaps = _net(recipe, dataset, counted, begun)
    return Ingredients(
        recipe,
        dataset,
        read,
        items,
        held,
        counted,
        net,
        preprocess,
        weights,
        gaps,
        check,
        fingerprint,
        tuple(inspected.sizes_in[recipe.train_split]),
    )


def _refuse_classifier(net: str) -> None:
    if catalog.entry(net).task != "segmentation":
        raise UsageError(
            "U002",
            f"{net} is a classifier, expected a net that labels pixels",
            f"--net fcn8s-{net}",
        )


def net_options(recipe: Recipe, classes: int) -> dict[str, Any]:
    """Arguments of ``engine.build`` beside the name."""
    return {"classes": classes, "channels": 3, "width": recipe.width, "learned": recipe.learned}


def _net(
    recipe: Recipe, dataset: DataSet, counted: Statistics, begun: Header | None
) -> tuple[Network, Preprocess, dict[str, Any], tuple[str, ...]]:
    """The net with its starting weights, their preprocessing, and what they do not hold."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = build(recipe.net, **net_options(recipe, len(dataset.classes)))
    if begun is not None:
        return net, Preprocess.from_dict(begun.preprocess), {}, ()
    if not recipe.weights:
        return net, _fresh_preprocess(recipe.net, counted), {}, ()
    foreign, transplant = start_from(weight_file(Path(recipe.weights)), net, dataset.classes)
    settings = preprocess_of(foreign, recipe.net)
    told = {"file": recipe.weights, **transplant.as_dict()}
    gaps = tuple(row.target for row in without_values(transplant, net))
    fresh = _fresh_preprocess(recipe.net, counted)
    return net, Preprocess.from_dict(settings) if settings else fresh, told, gaps


def _fresh_preprocess(net: str, counted: Statistics) -> Preprocess:
    """What a trunk's published weights expect; for trunks without, the data's own."""
    own = preprocessing.standard(counted.mean.tolist(), counted.std.tolist())
    return preprocessing.PUBLISHED.get(catalog.entry(net).preprocess, own)


def _pixels(recipe: Recipe, counted: Statistics, images: int) -> int:
    """Pixels that count in one optimizer step of all devices, about."""
    known = int(counted.pixels.sum()) / max(1, images) * recipe.zoom**2
    if recipe.crop:
        known = min(known, recipe.crop[0] * recipe.crop[1])
    return max(1, round(known * recipe.batch * recipe.accumulate * recipe.devices))
