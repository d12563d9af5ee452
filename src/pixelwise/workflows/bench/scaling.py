"""How time and memory grow: with pixels, threads, classes. Each point has a process of its own."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise.engine.network import filled
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import UsageError, hxw
from pixelwise.predict import model as models
from pixelwise.predict.predictor import Predictor
from pixelwise.weights import checkpoint
from pixelwise.workflows.bench import timing
from pixelwise.workflows.bench.ways import random_checkpoint

ALONG = ("pixels", "threads", "classes")
MEGAPIXELS = (0.25, 1, 4, 16, 64)
CLASSES = (2, 21, 150, 1000)
WAYS = ("fp32", "modules")


def scale(
    along: str, net: str, folder: Path, *, size: tuple[int, int], threads: int, rounds: int
) -> dict[str, Any]:
    """Rows by way and place along an axis, and why others have none; plain data for JSON.

    Args:
        along: one of ``ALONG``.
        net: of the catalogue, with random weights.
        folder: where model files are made.
        size: (H, W) of the picture, where it is not what grows.
        threads: as ``size``.
        rounds: of each, the median counts; the largest pictures are shown once.
    """
    before, rows, missing = timing.cpu_times(), list[dict[str, Any]](), dict[str, str]()
    path = random_checkpoint(net, folder)
    for at in _places(along):
        side = math.isqrt(round(1e6 * at))
        shown = (side, side) if along == "pixels" else size
        if along == "classes":
            path = random_checkpoint(net, folder, classes=int(at))
        for way in WAYS:
            count = int(at) if along == "threads" else threads
            turns = rounds if shown[0] * shown[1] < 10**7 else 1
            arguments = (way, str(path), *map(str, (*shown, count, turns)))
            try:
                made = json.loads(timing.printed_by(__name__, *arguments))
                rows.append({"way": way, along: at, **made})
            except RuntimeError as error:
                missing[f"{way}, {at:g} {along}"] = str(error)
    facts = timing.surroundings(along, before, threads=threads)
    return {**facts, "net": net, "size": hxw(size), "rows": rows, "missing": missing}


def _places(along: str) -> Sequence[float]:
    if along == "threads":
        cores = os.cpu_count() or 1
        return [1 << i for i in range(cores.bit_length()) if 1 << i <= cores]
    return {"pixels": MEGAPIXELS, "classes": CLASSES}[along]


def labelled(way: str, path: Path, size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Milliseconds and peak megabytes of this process, labelling a picture of bytes.

    Raises:
        ResourceError: R003 it would not fit into memory.
        UsageError: U002 a net that does not take pictures of three bands.
    """
    model = models.load(path)
    predictor = model.predictor
    if predictor.bands != 3:
        raise UsageError("U002", f"{model.header.net} takes {predictor.bands} bands", "another net")
    if way == "modules":
        network = filled(predictor.net, checkpoint.load_checkpoint(path)[1])
        predictor = Predictor(TorchRunner(network), predictor.preprocess)
        del model
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    predictor.by_head(image[:64, :64])  # kernels are made and weights packed
    spent = [timing.seconds(lambda: predictor.by_head(image)) for _ in range(rounds)]
    middle = timing.spread(spent)["median"]
    return {"ms": round(1e3 * middle, 1), "peak_mb": round(timing.own_memory() / 1e6)}


def main() -> None:
    """Print what ``labelled`` says: WAY FILE HEIGHT WIDTH THREADS ROUNDS."""
    way, path, height, width, threads, rounds = sys.argv[1:]
    torch.set_num_threads(int(threads))
    made = labelled(way, Path(path), (int(height), int(width)), int(rounds))
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    main()
