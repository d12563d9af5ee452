"""A net of the catalogue, prepared for whatever is asked of it: narrow, saved, loaded, trained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelwise as pw
from make_data import canonical_set
from make_data import picture as scene
from narrow_nets import DISTINCT, SEGMENTERS, few, large, narrow, width
from pixelwise.cli.app import run as command
from pixelwise.engine.planned import PlannedRunner
from pixelwise.nets.catalog import NETS
from pixelwise.training import loop
from pixelwise.training.recipe import Augmentation, Optim, Recipe
from random_weights import save


def only(names: list[str], *left_out: str) -> list[str]:
    return [name for name in names if not any(part in name for part in left_out)]


EACH = {name for name in DISTINCT if not re.match("fcn(32|16)s-", name)}
"""Every day as modules: those of 32 and 16 pixels are the finer ones with fewer skips."""
EVERY_DAY = {
    "fcn8s-tiny",
    "fcn4s-alexnet",
    "fcn8s-vgg16-atonce",
    "fcn8s-mobilenetv2",
    "siftflow-fcn8s",
    "nyud-fcn16s-color-hha",
    "segnet-tiny",
    "unet-tiny",
    "deeplabv3-tiny",
    "pspnet-tiny",
    "fcn-spectral",
    "googlenet",
}
"""As files, models and commands: each kind of head, of inputs and of ways to the picture's size."""
TRAINED = {"fcn8s-tiny", "segnet-tiny", "unet-tiny", "pspnet-tiny"}
ONE_HEAD = only(SEGMENTERS, "siftflow")
PHOTOS = only(ONE_HEAD, "nyud")
"""One input of three bands, and one head."""
FRAMED = [name for name in SEGMENTERS if name != "unet"]
"""Those whose scores have the picture's frame: U-Net as published is shown a border."""
COLOURS = {f"class {i}": (40 * i, 250 - 40 * i, 7 * i) for i in range(5)}


def said(*words: object) -> dict[str, Any]:
    """The document that a command prints."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as talk:
        status = command([*map(str, words), "--json"])
    assert status == 0, talk.getvalue()
    return json.loads(out.getvalue())


class Case:
    """Each thing is made once, when a check first asks for it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.entry = name, folder, NETS[name]
        self.options = {"width": width(name), **few(name)}
        self.network = narrow(name)
        self.net = self.network.net
        self.classifies = self.entry.task == "classification"
        self.moves = any(layer.kind == "Unpool" for layer in self.net.layers.values())
        """Rounding may move a maximum, and with it what is unpooled."""

    def sizes(self) -> list[tuple[int, ...]]:
        """(H, W) that it takes: tiny, odd and uneven ones."""
        if self.classifies:
            return [(227, 224), (263, 300)]
        return [large(self.name, *s) for s in ((1, 1), (2, 3), (31, 33), (45, 66), (97, 61))]

    @property
    def size(self) -> tuple[int, int]:
        """Of its photos."""
        return (230, 226) if self.classifies else large(self.name, 40, 48)

    def pixels(self, seed: int = 0, size: tuple[int, ...] = ()) -> np.ndarray:
        """(H, W, B) uint8: a photo, of several inputs the bands of all."""
        height, across = size or self.size
        whole = scene(seed, (max(height, 17), max(across, 17)))[0][:height, :across]
        return np.tile(whole, 2)[..., : sum(self.net.inputs.values())]

    @cached_property
    def file(self) -> Path:
        path = self.folder / "net.safetensors"
        save(path, self.name, self.network, **self.options)
        return path

    @cached_property
    def model(self) -> pw.Model:
        return pw.load(self.file, device="cpu")

    @cached_property
    def planned(self) -> PlannedRunner:
        return PlannedRunner(self.network)

    @cached_property
    def data(self) -> Path:
        """Five classes of which three occur, and void; pictures as large as it needs."""
        splits = {"train": range(4), "val": range(4, 7)}
        made = {split: [self.labelled(i) for i in of] for split, of in splits.items()}
        return canonical_set(self.folder / "data", made, COLOURS)

    def labelled(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = scene(i, self.size)
        labels[:i, :9] = 255
        return image, labels

    @cached_property
    def recipe(self) -> Recipe:
        """Two steps; the classes' scores begin at zero in some nets, so one would teach little."""
        return Recipe(
            data=str(self.data),
            net=self.name,
            width=width(self.name),
            iterations=2,
            batch=2,
            threads=1,
            device="cpu",
            augment=Augmentation(mirror=False),
            optim=Optim("adamw", lr=5e-3),
            validate_every=2,
        )

    @cached_property
    def run(self) -> Path:
        loop.train(self.recipe, self.folder / "run")
        return self.folder / "run"


class Cases(dict[str, Case]):
    """Filled as they are asked for."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self.folders = folders

    def __missing__(self, name: str) -> Case:
        self[name] = Case(name, self.folders.mktemp(name))
        return self[name]


@dataclass(frozen=True)
class Check:
    """What must hold, and of which nets."""

    holds: Callable[..., None]
    of: list[str]
    everyday: set[str]


def of_the_table(table: list[Check]) -> list[object]:
    """Net by net, so that what one check has made serves the next."""
    slow = pytest.mark.slow
    return [
        pytest.param(name, check.holds, id=f"{name}-{check.holds.__name__}", marks=marks)
        for name in NETS
        for check in table
        if name in check.of
        for marks in [() if name in check.everyday else slow]
    ]


def make(case: Case, holds: Callable[..., None], folder: Path) -> None:
    """A check that writes files takes a folder too."""
    wants_a_folder = holds.__code__.co_argcount > 1
    holds(case, *([folder] if wants_a_folder else []))


EXACT = 1e-5
"""Of the largest score: sums in another order."""


def close(made: torch.Tensor, wanted: torch.Tensor, c: Case, near: float = EXACT) -> bool:
    """Within a part of the largest; of what is unpooled, nearly everywhere."""
    within = (made - wanted).abs() <= near * float(wanted.abs().max())
    return bool(within.float().mean() > 0.98 if c.moves else within.all())
