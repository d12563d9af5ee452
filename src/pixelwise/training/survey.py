"""What a plan follows from: a look at some pictures, at the machine, and at what to start from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.data.class_merging import merged
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.sample import each
from pixelwise.engine.build import build
from pixelwise.errors import DataError, raise_all
from pixelwise.folders import RECIPE
from pixelwise.labels import VOID
from pixelwise.machine import memory
from pixelwise.machine.environment import resolve_device
from pixelwise.nets import catalog
from pixelwise.pictures.bands import InputKind
from pixelwise.predict.view import View
from pixelwise.settings import read
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import read_recipe
from pixelwise.training.starting_net import net_options
from pixelwise.weights.load import read_weights
from pixelwise.weights.published import IMAGENET, OF_TRUNKS, at_hand
from pixelwise.weights.recognition import recognise_net
from pixelwise.weights.sniff import weight_file

LOOKED_AT = 60  # pictures, evenly over the split: enough for shares, and read in seconds
BINARY = "0=background,255=object"
PROBE = (2, 3, 192)  # pictures, passes, side of what the speed is measured on: a second or two


@dataclass(frozen=True)
class ClassFacts:
    """A class of the first head in the pictures that were looked at."""

    name: str
    share: float
    """Of the labelled pixels."""
    pictures: float
    """Share of the pictures in which it occurs."""
    width: float
    """How wide its parts are on average, in pixels: the shorter of the mean runs along rows and
    along columns."""


@dataclass(frozen=True)
class Start:
    """The weights that are named, where they are a file or a run."""

    trunk: str
    """Empty: not known."""
    net: str = ""
    """The segmentation net that they are of; empty: a classifier's, or unknown."""
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    """Of its first head."""
    zoom: float = 1.0
    """At which the net was trained."""
    view: View = View()  # noqa: RUF009 - it is frozen
    """How the finished model is shown pictures."""


@dataclass(frozen=True)
class Facts:
    """All that a plan follows from, beside what is asked for."""

    pictures: int
    """To train on."""
    held_out: int
    data: str
    """What the folder was taken for, and what was decided on the way."""
    values: str
    """What label values mean, where it was concluded from them alone; else empty."""
    size: tuple[int, int]
    """The usual (height, width) of the pictures."""
    largest: tuple[int, int]
    inputs: Mapping[str, InputKind]
    heads: Mapping[str, int]
    """Classes by head."""
    classes: tuple[ClassFacts, ...]
    numbers: bool = False  # whether a head gives some
    at_hand: frozenset[str] = frozenset()
    """Trunks whose ImageNet weights are."""
    memory: int | None = None
    """Bytes that can be taken; None: nobody knows."""
    speed: Mapping[str, float] = field(default_factory=dict)
    """Pixels a second that the net is trained on, by precision; empty: not measured."""
    start: Start | None = None
    """What is to be trained further; None: nothing, or imagenet."""

    @property
    def bands(self) -> dict[str, int]:
        """By input."""
        return {name: kind.bands for name, kind in self.inputs.items()}


def facts_of(asked: Recipe) -> Facts:
    """Facts of the data, the weights and the machine that a recipe names; the speed is left out.

    Raises:
        DataError: the problems of the data, all of them.
        ModelError: weights that cannot be read.
    """
    dataset, values = _opened(asked)
    items = dataset.splits.get(asked.train_split, ())
    places = np.linspace(0, len(items) - 1, min(LOOKED_AT, len(items)))
    some = [items[i] for i in places.astype(int)]
    seen, problems = each(some, lambda item: look(dataset.read(item).labels))
    if problems or dataset.problems or not seen:
        _refuse(dataset, asked)
    sizes, counts = (np.array(part) for part in zip(*seen.values(), strict=True))
    return Facts(
        pictures=len(items),
        held_out=len(dataset.splits.get(asked.val_split, ())),
        data="; ".join((f"{dataset.layout} ({dataset.evidence})", *dataset.notes)),
        values=values,
        size=_pair(np.median(sizes, axis=0)),
        largest=_pair(sizes.max(axis=0)),
        inputs=dataset.kinds_of(some[0]),
        heads={head: len(names) for head, names in dataset.classes_by_head.items()},
        classes=() if dataset.class_map.kind.measured else class_facts(dataset.classes, counts),
        numbers=any(dataset.class_maps[h].kind.kind == "numbers" for h in dataset.heads),
        at_hand=frozenset(p.trunk for p in OF_TRUNKS if at_hand(p)),
        memory=memory.available(resolve_device(asked.device)),
        start=_start(asked.weights) if asked.weights not in ("", IMAGENET) else None,
    )


def _opened(asked: Recipe) -> tuple[DataSet, str]:
    """The data, and what its label values mean where that was concluded here: masks of 0 and 255
    alone have something to tell apart only if 255 is a class."""

    def opened(values: str) -> DataSet:
        dataset = open_dataset(Path(asked.data), strict=False, values=values)
        return merged(dataset.using(inputs=asked.inputs, heads=asked.heads), asked.map)

    try:
        return opened(asked.values), ""
    except DataError as error:
        if error.code != "D012" or asked.values:
            raise
        dataset = opened(BINARY)
        _, problems = each(dataset.all_items(), dataset.read)
        if problems:  # there are other values, and the question is open
            raise
        return dataset, BINARY


def _refuse(dataset: DataSet, asked: Recipe) -> None:
    """All that is wrong with the splits that will be used, not what was met first."""
    raise_all(dataset.root, dataset.split_problems(asked.train_split))
    splits = [s for s in (asked.train_split, asked.val_split) if s in dataset.splits]
    raise_all(dataset.root, inspect(dataset, splits).problems)


def _pair(numbers: Any) -> tuple[int, int]:
    return int(numbers[0]), int(numbers[1])


def look(labels: NDArray[np.uint8]) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Shape of a label map, and (3, 256) by class id: pixels, runs along rows, along columns."""
    labels = labels if labels.ndim == 2 else np.zeros(labels.shape[:2], np.uint8)  # of numbers
    counts = [np.bincount(labels.ravel(), minlength=VOID + 1)]
    for lines in (labels, labels.T):
        begins = np.ones(lines.shape, bool)
        begins[:, 1:] = lines[:, 1:] != lines[:, :-1]
        counts.append(np.bincount(lines[begins], minlength=VOID + 1))
    return labels.shape, np.stack(counts)


def class_facts(classes: Sequence[str], counts: NDArray[np.int64]) -> tuple[ClassFacts, ...]:
    """Of the counts of ``look``, (N, 3, 256): poles of 4x200 px are 4 px wide."""
    pixels, rows, columns = counts[:, :, : len(classes)].sum(0)
    return tuple(
        ClassFacts(
            name,
            share=float(pixels[k] / max(1, pixels.sum())),
            pictures=float((counts[:, 0, k] > 0).mean()),
            width=float(pixels[k] / max(1, rows[k], columns[k])),
        )
        for k, name in enumerate(classes)
    )


def _start(weights: str) -> Start:
    """What is known of the weights to start from; a run says at which zoom it was trained."""
    path = weight_file(Path(weights))
    foreign = read_weights(path)
    header = foreign.header
    net = header.net if header else recognise_net(foreign, path)
    if not net:
        return Start("")
    entry = catalog.entry(net)
    if header is None or entry.task != "segmentation":
        return Start(entry.trunk)
    view = read(View, dict(header.inference)) if header.inference else View()
    recipe = path.parent.parent / RECIPE
    zoom = read_recipe(recipe).zoom if recipe.is_file() else view.zooms[0]
    return Start(entry.trunk, net, header.options, header.classes, zoom, view)


def training_speed(recipe: Recipe, facts: Facts, precisions: Sequence[str]) -> dict[str, float]:
    """Pixels a second that the recipe's net learns from here, by precision: the best of passes."""
    device = resolve_device(recipe.device)
    with torch.random.fork_rng():
        net = build(recipe.net, **net_options(recipe, facts.heads, facts.bands))
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    count, passes, side = PROBE
    x = torch.zeros(count, sum(net.net.inputs.values()), side, side, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    speed = {}
    for precision in precisions:
        seconds = []
        for _ in range(passes):
            began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                scores = net(x)
            maps = scores.values() if isinstance(scores, dict) else [scores]
            total = torch.stack([m.float().mean() for m in maps]).sum()
            first, *_ = torch.autograd.grad(total, [*net.parameters()])
            first.sum().item()  # a GPU is waited for
            seconds.append(time.perf_counter() - began)
        speed[precision] = count * side * side / min(seconds)
    return speed
