"""Makes run/, data/ and recipe.yaml: a small run folder as version 0.1 wrote it, and its data.

Later versions must read the recipe, predict with the weights, go on with the state and show the
report of such a folder. Made once, by hand, on 2026-11-26; not to be made anew with later code:

    python tests/golden/make_run.py

The run was finished; then all but the state of step 146 of 150 was taken away, so that going on
makes the last four steps again, whose outcome is weights/last.safetensors. In recipe.yaml are the
settings that this run could not have.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import pixelwise as pw
from pixelwise.cli.app import run as command
from pixelwise.training.recipe import Augmentation, Loss, Optim, Schedule
from pixelwise.training.recipe_text import write_recipe

PLACE = Path(__file__).parent
CLASSES = {
    "sky": (70, 130, 180),
    "field": (60, 160, 40),
    "road": (128, 64, 128),
    "sign": (220, 220, 0),
}
COLOURS = np.array([(90, 150, 250), (40, 120, 30), (120, 110, 100), (240, 30, 20)], np.uint8)
STEPS, KEPT = 150, 146
# Every setting but the lengths is another than its default, where a run from random weights on
# one processor allows it.
RECIPE = {
    "data": "data",
    "net": "fcn8s-tiny",
    "train_split": "fit",
    "val_split": "held",
    "seed": 7,
    "iterations": STEPS,
    "batch": 2,
    "accumulate": 2,
    "crop": [32, 40],
    "zoom": 1.25,
    "mirror": True,
    "zooms": [1.0, 1.5],
    "augment": {
        "mirror": False,
        "scale": [0.8, 1.25],
        "jitter": 3,
        "brightness": 0.1,
        "contrast": 0.15,
        "saturation": 0.2,
        "hue": 0.02,
        "rare": 0.4,
        "paste": 0.3,
    },
    "optim": {
        "name": "adamw",
        "lr": 0.02,
        "momentum": 0.8,
        "weight_decay": 0.001,
        "bias_rate": 1.5,
        "rates": {"score*": 0.5, "bn1_1": 0.25},
        "clip": 5.0,
    },
    "schedule": {"name": "step", "power": 0.8, "steps": [0.5, 0.9], "factor": 0.2, "warmup": 10},
    "loss": {"reduction": "mean", "class_weights": "sqrt", "jaccard": 0.5},
    "ema": 0.9,
    "frozen_bn": False,
    "learned": "inner",
    "width": 0.0625,
    "device": "cpu",
    "threads": 1,
    "cache": 0.5,
    "validate_every": 75,
    "save_every": KEPT,
    "patience": 9,
}
# And every setting that RECIPE leaves alone.
OTHER = {
    "data": "/data/Straße, 数据 # 1",
    "net": "fcn16s-resnet18",
    "weights": "runs/first",
    "val_split": "",
    "epochs": 12.5,
    "crop": None,
    "batch": 1,
    "augment": Augmentation(mirror=True, scale=(0.5, 2.0)),
    "optim": Optim("sgd", 1e-10, 0.99, rates={"*": 0.0, "score_fr": 1.0}),
    "schedule": Schedule("cosine", steps=()),
    "loss": Loss("sum", "median"),
    "freeze": "trunk",
    "frozen_bn": True,
    "learned": "all",
    "precision": "bf16",
    "device": "cuda",
    "devices": 3,
    "workers": 2,
    "force": True,
}


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky over field and road, every second time with a sign, and a corner that is void."""
    rng = np.random.default_rng(index)
    truth = np.zeros((36, 48), np.uint8)
    row, column = rng.integers(12, 24), rng.integers(12, 36)
    truth[row:], truth[row:, column:] = 1, 2
    if index % 2 == 0:
        truth[4:9, 30:36] = 3
    image = COLOURS[truth]
    truth[:3, :4] = 255
    return image, truth


def make_data(root: Path) -> None:
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir(parents=True)
    for i in range(8):
        image, truth = scene(i)
        Image.fromarray(image).save(root / "images" / f"s{i}.png", optimize=True)
        Image.fromarray(truth).save(root / "labels" / f"s{i}.png", optimize=True)
    for split, numbers in {"fit": range(6), "held": (6, 7)}.items():
        (root / "splits" / f"{split}.txt").write_text("".join(f"s{i}\n" for i in numbers))
    told = {"classes": list(CLASSES), "palette": [list(c) for c in CLASSES.values()], "ignore": 255}
    (root / "dataset.json").write_text(json.dumps(told) + "\n")


def check(run: Path) -> None:
    """The golden labels must not hang on rounding, and must need the header's view."""
    model = pw.load(run, device="cpu")
    for name in ("s6", "s7"):
        found = model.predict(f"data/images/{name}.png", probabilities=True)
        first, second = np.sort(found.probabilities, axis=0)[[-1, -2]]
        assert (first - second).min() > 1e-4  # rounding differs by 1e-6 between machines
        plain = model.shown(zoom=1.0, mirror=False).predict(f"data/images/{name}.png")
        assert (plain.labels != found.labels).sum() > 5
        stored = np.array(Image.open(run / "evaluation" / "guesses" / f"{name}.png"))
        assert np.array_equal(stored, found.labels)
        assert set(np.unique(stored)) >= {0, 1, 2}


def main() -> None:
    os.chdir(PLACE)
    make_data(Path("data"))
    Path("plan.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    assert command(["train", "plan.yaml", "-o", "run"]) == 0
    Path("plan.yaml").unlink()
    run = Path("run")
    check(run)
    newest = sorted((run / "state").iterdir())[-1]
    assert newest.name.endswith(f"{STEPS}.safetensors")
    newest.unlink()
    (run / "environment.json").unlink()  # of one machine
    (run / "report.html").unlink()
    write_recipe(Path("recipe.yaml"), pw.Recipe(**OTHER))


if __name__ == "__main__":
    sys.exit(main())
