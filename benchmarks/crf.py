"""The dense CRF beside pydensecrf2: seconds, building included, and who is nearer to the truth.

python -m benchmarks.crf [PICTURE] [--threads 2] [--repeats 5]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.crf.dense import refine
from pixelwise.crf.parameters import DenseCrf
from pixelwise.pictures.images import resize
from pixelwise.pictures.reading import read

SIZE, LABELS = (375, 500), 21
PLAIN = {"appearance_xy": 60, "appearance_rgb": 10, "iterations": 10}


def beliefs(labels: int, size: tuple[int, int]) -> NDArray[np.float32]:
    p = np.random.default_rng(1).random((labels, *size)).astype(np.float32)
    return p / p.sum(0)


def theirs(p: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    from pydensecrf import densecrf

    labels, height, width = p.shape
    crf = densecrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(-np.log(np.maximum(p, 1e-5)).reshape(labels, -1)))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=60, srgb=10, rgbim=np.array(image), compat=10)
    return np.array(crf.inference(10)).reshape(p.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = resize(read(options.picture), SIZE)
    p = beliefs(LABELS, SIZE)
    ways = {
        "fast": lambda: refine(p, image, DenseCrf(quality="fast", **PLAIN)),
        "pydensecrf2": None,
    }
    try:
        theirs(p[:2, :4, :4], image[:4, :4])
        ways["pydensecrf2"] = lambda: theirs(p, image)
    except ImportError:
        print("pydensecrf2 is not installed", file=sys.stderr)
        del ways["pydensecrf2"]
    ways["fast"]()  # machine code is made once
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.repeats):  # in turn: what else the machine does meets both
        for name, way in ways.items():
            began = time.perf_counter(), time.process_time()
            way()
            now = time.perf_counter(), time.process_time()
            spent[name].append((now[0] - began[0], now[1] - began[1]))
    for name, times in spent.items():
        wall, cpu = (min(column) for column in zip(*times, strict=True))
        print(f"{name}: {wall:.3f} s, {cpu:.3f} s of processor time")
    small, part = image[100:160, 100:180], p[:, :60, :80]
    true = refine(part, small, DenseCrf(quality="exact", **PLAIN)).argmax(0)
    for quality in ("fast", "pydensecrf", "0.1", "0.01"):
        made = refine(part, small, DenseCrf(quality=quality, **PLAIN)).argmax(0)
        print(f"{quality}: {100 * (made == true).mean():.2f} % of exact labels, 60x80")


if __name__ == "__main__":
    main()
