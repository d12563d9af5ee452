"""All that decides a training run, as frozen data that refuses contradictions at once.

A run folder keeps the exact recipe it ran (``recipe.yaml``), and that file is itself a recipe.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pixelwise.errors import UsageError
from pixelwise.losses.weighting import Scheme
from pixelwise.nets.catalog import WIDEST
from pixelwise.predict.view import zoom_problem
from pixelwise.training.typed import bring_to_types


@dataclass(frozen=True)
class Optim:
    """The optimizer."""

    name: Literal["sgd", "adamw"] = "adamw"
    """sgd (the paper's) or adamw."""
    lr: float = 3e-4
    """Learning rate of weights; with ``loss.reduction: sum`` it is a rate per pixel."""
    momentum: float = 0.9
    """Of SGD, and the first beta of AdamW; 0.99 in the heavy regime of the released nets."""
    weight_decay: float = 5e-4
    """Of weights; biases and batch norm have none."""
    bias_rate: float = 2.0
    """Factor on the learning rate of biases (all released VGG nets)."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Layer name, or prefix ending in *, to a factor on its rate; 0 freezes. A name goes
    before prefixes, a longer one before shorter ones."""
    clip: float = 0.0
    """Largest norm of the whole gradient; 0 leaves it alone."""

    def __post_init__(self) -> None:
        bring_to_types(self, "optim.")


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves from the run's start (progress 0) to its end (progress 1)."""

    name: Literal["fixed", "poly", "step", "cosine"] = "poly"
    """fixed (the paper's), poly, step or cosine."""
    power: float = 0.9
    """Of poly: (1 - progress) ** power."""
    steps: tuple[float, ...] = (0.6, 0.85)
    """Of step: where in the run the rate is multiplied by ``factor``."""
    factor: float = 0.1
    """Of step."""
    warmup: int = 0
    """First iterations, n of them, over which the rate grows linearly from one nth."""

    def __post_init__(self) -> None:
        bring_to_types(self, "schedule.")


@dataclass(frozen=True)
class Loss:
    """What is minimised."""

    reduction: Literal["mean", "sum"] = "mean"
    """mean over pixels, or the released nets' unnormalised sum."""
    class_weights: Scheme = "none"
    """none, median, enet or sqrt, from the training split's pixel counts."""
    jaccard: float = 0.0
    """Factor on the soft Jaccard loss (it follows mean IU) that is added to the mean; 0: none."""

    def __post_init__(self) -> None:
        bring_to_types(self, "loss.")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training sample; labels move along, and what is not known is void."""

    mirror: bool = True
    """Left and right exchanged for half of the samples."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the random size factor (log-uniform); batches of several pictures need crop."""
    jitter: int = 0
    """Largest random shift in pixels (the paper tried 32)."""
    brightness: float = 0.0
    """Largest relative change."""
    contrast: float = 0.0
    """Largest relative change."""
    saturation: float = 0.0
    """Largest relative change."""
    hue: float = 0.0
    """Largest turn of the colour circle, in turns."""
    rare: float = 0.0
    """Probability that a crop is centred on a pixel of a rare class."""
    paste: float = 0.0
    """Probability that what is of rare classes in another crop is pasted over a crop."""

    def __post_init__(self) -> None:
        bring_to_types(self, "augment.")


@dataclass(frozen=True)
class Recipe:
    """A training run."""

    data: str = ""
    """Data folder, any layout that ``pixelwise data inspect`` recognises."""
    net: str = "fcn8s-tiny"
    """Name in the catalogue (``pixelwise nets``)."""
    weights: str = ""
    """File or run to start from; empty: random weights."""
    train_split: str = "train"
    """Trained on."""
    val_split: str = "val"
    """Evaluated on while training; empty: none."""
    seed: int = 0
    """Decides initial weights, order, augmentation and dropout."""
    iterations: int = 0
    """Length in optimizer steps; give one of iterations, epochs, minutes."""
    epochs: float = 0.0
    """Length in passes over the training split."""
    minutes: float = 0.0
    """Length in time; the schedule follows the clock, so the run is not repeatable bit for bit."""
    batch: int = 4
    """Pictures per forward pass and device."""
    accumulate: int = 1
    """Forward passes per optimizer step."""
    crop: tuple[int, int] | None = None
    """Height and width cut from each training picture; none: whole pictures."""
    zoom: float = 1.0
    """Factor on the size of every picture; crops are cut from the enlarged one."""
    mirror: bool = False
    """The finished model averages over each picture and its mirror image (twice the work)."""
    zooms: tuple[float, ...] = ()
    """The finished model averages over each picture at these factors; none: at ``zoom``."""
    augment: Augmentation = Augmentation()
    """Random changes."""
    optim: Optim = Optim()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over time."""
    loss: Loss = Loss()
    """What is minimised."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is evaluated and kept; 0: none."""
    freeze: Literal["none", "trunk"] = "none"
    """trunk trains the score layers alone (the paper's FCN-32s-fixed)."""
    frozen_bn: bool = False
    """Batch norm keeps its stored statistics (small batches, pretrained trunks)."""
    learned: Literal["none", "inner", "all"] = "none"
    """Upsampling that is trained: none (the releases), inner (the paper: all but the last), all."""
    width: float = 1.0
    """Factor on the net's channels."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 or bf16; bf16 is autocast: weights and optimizer stay in float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: auto, cpu or cuda."""
    devices: int = 1
    """Processes, each on its own device (or share of the cores); the batch is per device."""
    threads: int = 0
    """CPU threads of torch; 0: as many as torch takes."""
    workers: int = 0
    """Threads that read and augment samples ahead of the net; 0: between steps, which is faster
    where the net itself is computed by all cores (0.69 s a step against 0.85 s on two)."""
    cache: float = 2.0
    """GiB of decoded pictures to keep in memory."""
    validate_every: int = 0
    """Iterations between evaluations; 0: ten over the run, fewer if they take much of its
    minutes."""
    save_every: int = 0
    """Iterations between saved states; 0: every two minutes."""
    patience: int = 0
    """Evaluations without a better mean IU before the run stops early; 0: never."""
    force: bool = False
    """Accept a learning rate that does not fit the loss's reduction."""

    def __post_init__(self) -> None:
        bring_to_types(self)
        problems = _problems(self)
        if problems:
            raise UsageError("U002", "; ".join(problems), "change it with --set key=value")

    def replace(self, **changes: Any) -> Recipe:
        """A copy with other fields."""
        return dataclasses.replace(self, **changes)


LENGTHS = ("iterations", "epochs", "minutes")
"""Settings of which one at most says how long a run is."""
INFINITE = float("inf")
MANY = 10**9
RANGES: dict[str, tuple[float, float]] = {
    "iterations": (0, MANY),
    "epochs": (0, MANY),
    "minutes": (0, MANY),
    "validate_every": (0, MANY),
    "save_every": (0, MANY),
    "patience": (0, MANY),
    "seed": (0, 2**32 - 1),
    "batch": (1, 65536),
    "accumulate": (1, 65536),
    "devices": (1, 1024),
    "threads": (0, 1024),
    "workers": (0, 1024),
    "cache": (0, 2**20),
    "augment.jitter": (0, 65536),
    "augment.brightness": (0, 1),
    "augment.contrast": (0, 1),
    "augment.saturation": (0, 1),
    "augment.hue": (0, 0.5),
    "augment.rare": (0, 1),
    "augment.paste": (0, 1),
    "loss.jaccard": (0, INFINITE),
    "optim.weight_decay": (0, INFINITE),
    "optim.bias_rate": (0, INFINITE),
    "optim.clip": (0, INFINITE),
    "schedule.power": (0, INFINITE),
    "schedule.factor": (0, 1),
    "schedule.warmup": (0, MANY),
}
"""Setting to its smallest and largest value; what has an open end is in ``_problems``."""


def _problems(r: Recipe) -> list[str]:
    """Every contradiction in a recipe, one clause each."""
    found = [
        f"{name} is {value}, expected a finite number"
        for name, value in _numbers(r)
        if not math.isfinite(value)
    ]

    if found:
        return found

    def must(true: bool, text: str) -> None:
        if not true:
            found.append(text)

    for name, (low, high) in RANGES.items():
        value = operator.attrgetter(name)(r)
        span = f"at least {low}" if high == INFINITE else f"{low} to {high}"
        must(low <= value <= high, f"{name} is {value}, expected {span}")
    lengths = [n for n in LENGTHS if getattr(r, n)]
    must(len(lengths) <= 1, f"give one of {', '.join(LENGTHS)}, not {' and '.join(lengths)}")
    must(0 <= r.ema < 1, f"ema is {r.ema}, expected 0 or a decay below 1")
    must(0 < r.width <= WIDEST, f"width is {r.width}, expected a factor in (0, {WIDEST}]")
    must(r.optim.lr > 0, f"optim.lr is {r.optim.lr}, expected more than 0")
    must(0 <= r.optim.momentum < 1, f"optim.momentum is {r.optim.momentum}, expected [0, 1)")
    for pattern, rate in r.optim.rates.items():
        must(rate >= 0, f"optim.rates.{pattern} is {rate}, expected at least 0")
    steps = r.schedule.steps
    rising = all(0 < a < 1 for a in steps) and list(steps) == sorted(steps)
    must(rising, f"schedule.steps is {steps}, expected rising shares of the run, between 0 and 1")
    must(r.crop is None or min(r.crop) >= 1, f"crop is {r.crop}, expected HxW of at least 1x1")
    seen = zoom_problem((r.zoom, *r.zooms))
    must(not seen, seen)
    low, high = r.augment.scale
    must(0 < low <= high <= 16, f"augment.scale is {low}, {high}, expected 0 < low <= high <= 16")
    must(
        r.batch == 1 or r.crop is not None or r.augment.scale == (1.0, 1.0),
        "augment.scale with a batch of several pictures needs crop=HxW (sizes would differ)",
    )
    must(
        r.loss.jaccard == 0 or r.loss.reduction == "mean",
        "loss.jaccard is added to a mean, expected loss.reduction mean",
    )
    for name in ("rare", "paste"):
        used = getattr(r.augment, name) > 0
        must(not used or r.crop is not None, f"augment.{name} needs crop=HxW")
    must(not r.patience or bool(r.val_split), "patience needs a val_split")
    must(
        r.freeze == "none" or bool(r.weights),
        "freeze: trunk needs weights (a random trunk is noise)",
    )
    return found


def _numbers(settings: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a recipe or a part of it, with its name."""
    for name in settings.__dataclass_fields__:
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, Mapping):
            yield from ((f"{prefix}{name}.{key}", float(v)) for key, v in value.items())
        elif isinstance(value, tuple):
            yield from ((prefix + name, float(v)) for v in value)
        elif isinstance(value, int | float):
            yield prefix + name, float(value)
