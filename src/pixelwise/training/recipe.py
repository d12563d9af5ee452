"""All that decides a training run, as frozen data that refuses contradictions at once.

A run folder keeps the exact recipe it ran (``recipe.yaml``), and that file is itself a recipe.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pixelwise.data.masking import Masking
from pixelwise.data.transforms import Augmentation
from pixelwise.errors import PixelwiseError
from pixelwise.losses.settings import Loss
from pixelwise.machine.environment import MOST_THREADS
from pixelwise.nets.catalog import WIDEST
from pixelwise.nets.fusion import Inflation
from pixelwise.predict.view import View, Zoom, Zooms
from pixelwise.settings import (
    Count,
    Name,
    Number,
    Text,
    Whole,
    as_dict,
    completed,
    in_one_word,
    limits,
    names_in_one_word,
    read,
    refuse,
    settings,
)
from pixelwise.training.optim import Optim, Schedule
from pixelwise.training.regimes import Regime, additions, contradictions, put
from pixelwise.training.stages import LENGTHS, problems, stage_values

# Whoever writes a recipe in Python has its parts from here.
__all__ = ["LENGTHS", "Augmentation", "Loss", "Optim", "Recipe", "Schedule"]

HINT = "--set key=value changes a setting; docs/training.md lists them all"

# Their ends only catch numbers that were meant for another setting.
Length = Annotated[Number, limits(ge=0, le=10**9)]
Several = Annotated[Whole, limits(ge=1, le=65536)]
Side = Annotated[Whole, limits(ge=1)]
Names = Annotated[tuple[Name, ...], names_in_one_word]
Crop = Annotated[tuple[Side, Side] | None, in_one_word]
Threads = Annotated[Whole, limits(ge=0, le=MOST_THREADS)]


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """What is given of a recipe, with what its regime gives beside; of stages, each with its own.

    So a recipe that is saved, with all of its numbers, is the same recipe when it is read.
    """
    stages = values.get("stages", {})
    if not isinstance(stages, Mapping) or not all(isinstance(s, Mapping) for s in stages.values()):
        return values  # which is refused as such
    if not stages:
        for key, value in additions(values).items():
            put(values, key, value)
        return values
    completed_stages = {str(name): dict(changes) for name, changes in stages.items()}
    for name, settled in stage_values(values, stages).items():
        for key, value in additions(settled).items():
            put(completed_stages[name], key, value)
    return {**values, "stages": completed_stages}


@settings(noun="recipe setting", hint=HINT)
class Recipe:
    """A training run."""

    data: Text = ""
    """Data folder, any layout that ``pixelwise data inspect`` recognises."""
    net: Text = "fcn8s-tiny"
    """Name in the catalogue (``pixelwise nets``)."""
    weights: Text = ""
    """File or run to start from, or imagenet: the trunk's published weights, if they are at hand;
    empty: random weights."""
    regime: Regime = "none"
    """none, or the paper's light, accumulated or heavy: it gives batch, loss, optimizer and rate
    where the recipe does not."""
    inputs: Names = ()
    """Inputs of the data that make a picture, in the order of its bands; none: those in use there.
    Of several each is an input of the net."""
    bands: Annotated[tuple[Annotated[Whole, limits(ge=0)], ...], in_one_word] = ()
    """Numbers of the bands of one input that the net is shown, in its order, from 0; none: all."""
    pca: Annotated[Whole, limits(ge=0)] = 0
    """Principal components that the net is shown in place of bands, of the labelled pixels of the
    training split; 0: none."""
    heads: Names = ()
    """Heads of the data that are trained; none: those in use there. The first one's mean IU says
    which weights are best."""
    values: Text = ""
    """What the numbers or colours in label maps mean, as 0=back,255=cell; empty: what the data's
    files say of them."""
    map: Mapping[Text, Text] = dataclasses.field(default_factory=dict)
    """Class of the data's first head to what it becomes: another name, which several may have, or
    void."""
    fusion: Literal["own", "early", "sum", "average"] = "own"
    """How several inputs meet: early (in the first layer), or late, as the sum (the paper) or the
    average (the release) of the scores of a whole stream for each. own is what the net is
    released with, else early."""
    train_split: Text = "train"
    """Trained on."""
    share: Annotated[Number, limits(gt=0, le=1)] = 1.0
    """Part of the training split that is trained on, evenly over it: what would more data bring?"""
    val_split: Text = "val"
    """Evaluated on while training; empty: none."""
    seed: Annotated[Whole, limits(ge=0, lt=2**32)] = 0
    """Decides initial weights, order, augmentation and dropout."""
    sampling: Literal["epochs", "replacement", "replacement_python2"] = "epochs"
    """epochs: each picture once an epoch; replacement: drawn by Python's random.randint;
    replacement_python2: as Python 2 drew, under which the released nets were trained."""
    iterations: Count = 0
    """Length in optimizer steps; or give epochs, or minutes."""
    epochs: Length = 0.0
    """Length in passes over the training split."""
    minutes: Length = 0.0
    """Length in time; the schedule follows the clock, so the run is not repeatable bit for bit.
    Beside iterations or epochs: what is reached first ends the run."""
    batch: Several = 4
    """Pictures per forward pass and device."""
    accumulate: Several = 1
    """Forward passes per optimizer step."""
    crop: Crop = None
    """Height and width cut from each training picture; none: whole pictures."""
    zoom: Zoom = 1.0
    """Factor on the size of every picture; crops are cut from the enlarged one."""
    mask: Masking = "none"
    """Hides the foreground or the background of pictures, or all but the shape, by their labels, in
    training and validation (PAMI, table 8)."""
    mirror: bool = False
    """The finished model averages over each picture and its mirror image (twice the work)."""
    zooms: Zooms = ()
    """The finished model averages over each picture at these factors; none: at ``zoom``."""
    augment: Augmentation = Augmentation()
    """Random changes."""
    optim: Optim = Optim()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over time."""
    loss: Loss = Loss()
    """What is minimised."""
    ema: Annotated[Number, limits(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is evaluated and kept; 0: none."""
    freeze: Literal["none", "trunk"] = "none"
    """trunk trains the score layers alone (the paper's FCN-32s-fixed)."""
    score_start: Literal["zero", "random"] = "zero"
    """Weights of new score layers: zero, or random, which the paper found neither better nor
    faster (section 4.3)."""
    frozen_bn: bool = False
    """Batch norm keeps its stored statistics (small batches, pretrained trunks)."""
    learned: Literal["none", "inner", "all"] = "none"
    """Upsampling that is trained: none (the releases), inner (the paper: all but the last), all."""
    rarefied: Names = ()
    """Layers whose stride becomes 1 while all later filters are dilated: a finer output with the
    same weights and field (section 3.2)."""
    lowered: Names = ()
    """Layers whose stride becomes 1 while later filters grow instead: pool5 gives fc6 14x14."""
    inflation: Inflation = "mean"
    """What filters for three bands of the weights to start from are for further bands: mean of the
    three, repeat, or zero."""
    width: Annotated[Number, limits(gt=0, le=WIDEST)] = 1.0
    """Factor on the net's channels."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 or bf16; bf16 is autocast: weights and optimizer stay in float32."""
    checkpoint: bool = False
    """Maps are kept only where a net's scale changes, and computed again on the way back: a step
    takes less memory, and up to a third more time. The weights are the same."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: auto, cpu or cuda."""
    devices: Annotated[Whole, limits(ge=1, le=1024)] = 1
    """Processes, each on its own device (or share of the cores); the batch is per device."""
    threads: Threads = 0
    """CPU threads of torch; 0: as many as torch takes."""
    workers: Threads = 0
    """Threads that read and augment samples ahead of the net; 0: between steps, which is faster
    where the net itself is computed by all cores (0.69 s a step against 0.85 s on two)."""
    cache: Annotated[Number, limits(ge=0, le=2**20)] = 2.0
    """GiB of decoded pictures to keep in memory."""
    validate_every: Count = 0
    """Iterations between evaluations; 0: ten over the run, fewer if they take much of its
    minutes."""
    save_every: Count = 0
    """Iterations between saved states; 0: every two minutes."""
    patience: Count = 0
    """Evaluations without a better mean IU before the run stops early; 0: never."""
    force: bool = False
    """Accept a learning rate that does not fit the loss's reduction."""
    stages: Mapping[Text, Mapping[Text, Any]] = dataclasses.field(default_factory=dict)
    """Name to changes of these settings: each is trained in turn, on from the one before."""

    _completed = completed(complete)

    def __post_init__(self) -> None:
        if self.stages:  # each has what is checked below; these are what they share
            refuse(*self._stage_problems())
            return
        a, sized = self.augment, self.crop is not None
        refuse(
            self.iterations > 0
            and self.epochs > 0
            and "iterations and epochs are both given, expected one of them",
            not (self.batch == 1 or sized or a.scale == (1.0, 1.0))
            and "augment.scale with a batch of several pictures needs crop=HxW (sizes differ)",
            self._passes.denominator > 1
            and f"loss.keep {self.loss.keep:g} with accumulate {self.accumulate} asks for "
            f"{float(self._passes):.4g} forward passes a step, expected a whole number: "
            f"accumulate={self._share.numerator} gives {self._share.denominator}",
            *(
                f"augment.{name} needs crop=HxW"
                for name in ("rare", "paste")
                if getattr(a, name) and not sized
            ),
            *contradictions(self.regime, as_dict(self)),
            *(
                f"{name} names `{twice}` twice"
                for name in ("inputs", "heads")
                for twice, n in Counter(getattr(self, name)).items()
                if n > 1
            ),
            self.optim.in_backward
            and (self._passes > 1 or self.devices > 1 or self.optim.clip > 0)
            and "optim.in_backward needs one forward pass a step (accumulate 1, loss.keep 1), "
            "devices 1 and optim.clip 0: it moves weights before the whole gradient is known",
            len({*self.bands}) < len(self.bands) and "bands names one twice",
            self.patience > 0 and not self.val_split and "patience needs a val_split",
            self.freeze == "trunk"
            and not self.weights
            and "freeze: trunk needs weights (a random trunk is noise)",
        )

    def _stage_problems(self) -> list[str]:
        weights, clauses = dict[str, str](), list[str]()
        for name, values in stage_values(as_dict(self), self.stages).items():
            try:
                weights[name] = read(Recipe, {**values, "stages": {}}).weights
            except PixelwiseError as error:
                clauses.append(f"stages.{name}: {error}")
        return [*clauses, *problems(self.stages, weights)]

    def by_stage(self) -> dict[str, Recipe]:
        """The recipe of each stage by its name; in ``weights`` stage:NAME is one before it."""
        values = stage_values(as_dict(self), self.stages)
        return {name: read(Recipe, settled) for name, settled in values.items()}

    @property
    def passes(self) -> int:
        """Forward passes of an optimizer step: 1/p times as many where a share p of the loss's
        terms counts, so that as many terms decide a step (paper, section 3.4 and figure 5)."""
        return int(self._passes)

    @property
    def _share(self) -> Fraction:
        return Fraction(self.loss.keep).limit_denominator(1000)  # 0.3333 is meant as a third

    @property
    def _passes(self) -> Fraction:
        return self.accumulate / self._share

    @property
    def view(self) -> View:
        """How the finished model shows pictures to its net."""
        return View(self.zooms or (self.zoom,), self.mirror)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with other fields."""
        return dataclasses.replace(self, **changes)
