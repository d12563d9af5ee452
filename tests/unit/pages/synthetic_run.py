"""A run folder and its data set by arithmetic: three images, three classes, hostile names."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from pixelwise.evaluation.evaluate import Pair, evaluate

HOSTILE = "<img src=x onerror=alert(1)>"
CLASSES = ("road", HOSTILE, 'tree" & sky')
NAMES = ("good", "bad", "void")


def make_run(root: Path) -> Path:
    """The run folder; its data set stands beside it."""
    pairs = _data(root / "data")
    run = root / "run<b>bold"
    (run / "evaluation" / "guesses").mkdir(parents=True)
    for pair in pairs:
        Image.fromarray(pair.guess).save(run / "evaluation" / "guesses" / f"{pair.name}.png")
    evaluation = replace(evaluate(pairs, CLASSES), seconds_per_image=0.25)
    (run / "evaluation" / "scores.json").write_text(json.dumps(evaluation.as_dict()))
    recipe = {
        "data": str(root / "data"),
        "net": "fcn8s-tiny",
        "crop": [32, 40],
        "val_split": "val",
        "optim": {"name": "adamw", "lr": 0.0003},
        "weights": HOSTILE,
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    lines = [json.dumps(event) for event in events()]
    (run / "journal.jsonl").write_text("\n".join(lines) + '\n{"event": "ste')  # power went
    return run


def events() -> list[dict]:
    """100 steps of two seconds, a validation every 25."""
    made: list[dict] = [
        {"event": "start", "time": "2026-11-21T01:02:03", "net": "n", "parameters": 1234567}
    ]
    for step in range(1, 101):
        facts = {"loss": 2 * math.exp(-step / 30), "lr": 1e-3 * (1 - step / 100)}
        made.append({"event": "step", "step": step, "seconds": 2.0 * step, **facts})
        if step % 25 == 0:
            iu = {25: 0.3, 50: 0.6, 75: 0.7, 100: 0.65}[step]
            made.append(
                {
                    "event": "validate",
                    "step": step,
                    "seconds": 2.0 * step,
                    "mean_iu": iu,
                    "pixel_accuracy": 0.9,
                    "per_class_iu": [iu, iu / 2, None],
                    "best": step < 100,
                    "loss": 0.5,
                }
            )
    made.append({"event": "warning", "step": 60, "text": f"class {HOSTILE} is rare"})
    return made


def _data(root: Path) -> list[Pair]:
    truth = np.zeros((40, 64), np.uint8)
    truth[:, 32:] = 1
    truth[:4] = 255
    wrong = truth.copy()
    wrong[truth == 255] = 0
    good = wrong.copy()
    good[4:8, :32] = 1  # 4 of 36 rows of class 0
    wrong[4:22, 32:] = 0  # half of class 1
    void = np.full((40, 64), 255, np.uint8)
    pairs = [Pair("good", truth, good), Pair("bad", truth, wrong), Pair("void", void, good)]
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    photo = np.broadcast_to(ramp[None, :, None], (40, 64, 3))
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir(parents=True)
    for pair in pairs:
        Image.fromarray(photo.copy()).save(root / "images" / f"{pair.name}.png")
        Image.fromarray(pair.truth).save(root / "labels" / f"{pair.name}.png")
    for split in ("train", "val"):
        names = NAMES if split == "val" else NAMES[:1]
        (root / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    palette = [[128, 64, 128], [0, 200, 0], [10, 20, 250]]
    description = {"classes": list(CLASSES), "palette": palette, "ignore": 255}
    (root / "dataset.json").write_text(json.dumps(description))
    return pairs
