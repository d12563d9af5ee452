"""Losses beside each other: the same small net, steps and seeds on the made scenes.

``python -m benchmarks.losses OUT --steps 150 --seeds 0,1``; its table stands in docs/training.md.
A run that is there is not made again, so that a stopped comparison goes on. Figures are of the
validation split at the last step. Seconds are processor time of a whole run, reading included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from pixelwise.data.scenes.write import make_scenes
from pixelwise.folders import SCORES
from pixelwise.training.loop import train
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import with_settings

LOSSES = {
    "cross-entropy": (),
    "class weights, effective number": ("class_weights=effective",),
    "focal, gamma 2": ("focal=2",),
    "border 10": ("border=10",),
    "hard, a quarter": ("hard=0.25",),
    "+ 1 x Jaccard": ("jaccard=1",),
    "+ 1 x Dice": ("dice=1",),
    "+ 1 x Lovasz-softmax": ("lovasz=1",),
    "+ 1 x boundary": ("boundary=1",),
    "auxiliary head on pool3, 0.4": ("auxiliary.pool3=0.4",),
    "deep supervision of score_fr and fuse_pool4, 0.4": (
        "auxiliary.score_fr=0.4",
        "auxiliary.fuse_pool4=0.4",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", default="0,1")
    options = parser.parse_args()
    data = options.out / "scenes"
    if not data.exists():
        make_scenes(data, count=80, size=(96, 128), seed=7)
    shared = ("net=fcn8s-tiny", "batch=4", "optim.lr=4e-3", "schedule.warmup=15", "ema=0.95")
    length = (f"iterations={options.steps}", f"validate_every={options.steps}", "threads=1")
    rows = {}
    for seed in options.seeds.split(","):
        for name, losses in LOSSES.items():
            run = options.out / f"{'-'.join(losses) or 'plain'}-s{seed}"
            if not (run / SCORES).is_file():
                settings = (*shared, *length, f"seed={seed}", *(f"loss.{each}" for each in losses))
                began = time.process_time()
                train(with_settings(Recipe(data=str(data)), settings), run, resume=run.exists())
                (run / "seconds").write_text(f"{time.process_time() - began:.2f}")
            scores = json.loads((run / SCORES).read_text())
            figures = scores["mean_iu"], scores.get("boundary_iu"), scores["pixel_accuracy"]
            rows.setdefault(name, []).append((*figures, float((run / "seconds").read_text())))
            print(name, seed, rows[name][-1], flush=True)
    for name, made in rows.items():
        means = [100 * statistics.fmean(column) for column in list(zip(*made, strict=True))[:3]]
        each = ", ".join(f"{100 * row[0]:.1f}" for row in made)
        seconds = statistics.fmean(row[3] for row in made)
        print(
            f"| {name} | {each} | " + " | ".join(f"{m:.1f}" for m in means) + f" | {seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
