"""A folder of JPEGs through `predict`, beside the net alone on the same pictures in memory.

    python benchmarks/folder.py [MODEL|NET] [--size 375x500] [--count 24] [--rounds 3]

What reading, checking, drawing and writing cost beyond the net: pictures a second of both in
turns, and the share that the folder reaches. Nets get random weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from pixelwise.predict import jobs
from pixelwise.predict.model import load
from pixelwise.workflows.bench.timing import cpu_times, interleaved, seconds, surroundings, tell
from pixelwise.workflows.bench.ways import random_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="fcn8s-efficientnetlite0")
    parser.add_argument("--size", default="375x500")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", default="labels")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    before = cpu_times()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = Path(options.model)
        model = load(path if path.exists() else random_checkpoint(options.model, folder))
        photos = folder / "photos"
        photos.mkdir()
        draw = np.random.default_rng(0)
        for i in range(options.count):  # as smooth as photos are: 40 to 60 kB each
            noise = Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8))
            noise.filter(ImageFilter.GaussianBlur(1.5)).save(photos / f"{i:04}.jpg", quality=90)
        images = [np.asarray(Image.open(p)) for p in sorted(photos.iterdir())]
        rounds = iter(range(10**6))

        def predict() -> None:
            out = folder / f"out{next(rounds)}"
            jobs.carry_out(jobs.plan([str(photos)], out, save=options.save), model)

        def net() -> None:
            for image in images:
                model.predictor.by_head(image)

        net()
        ways = {"folder": lambda: seconds(predict), "net alone": lambda: seconds(net)}
        spent = interleaved(ways, options.rounds)
    speeds = {name: options.count / float(np.median(times)) for name, times in spent.items()}
    facts = surroundings("folder", before, threads=options.threads)
    share = speeds["folder"] / speeds["net alone"]
    if options.json:
        json.dump({**facts, "pictures_per_second": speeds, "share": share}, sys.stdout, indent=1)
        return
    tell(facts)
    for name, speed in speeds.items():
        print(f"{name:10}{speed:8.2f} pictures a second")
    print(f"the folder reaches {share:.2f} of the net's own speed (--save {options.save})")


if __name__ == "__main__":
    main()
