"""Images per second of 375x500 whose pixels are counted by (true class, predicted class).

    python benchmarks/confusion.py [--classes 21,150] [--rounds 15] [--json]

One core, single-image updates, label maps as stored (uint8) unless a way needs int64; the time to
convert is then part of it, because the user pays it. README.md beside this file has the rules.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pixelwise.metrics.confusion import confusion
from pixelwise.workflows.bench.timing import cpu_times, interleaved, surroundings, tell

HEIGHT, WIDTH, VOID = 375, 500, 255
SECONDS = 0.04  # least time of one round of one way
Way = Callable[[np.ndarray, np.ndarray], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", default="21,150")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before = cpu_times()
    groups = [measure(int(k), options.rounds) for k in options.classes.split(",")]
    facts = surroundings("confusion", before)
    if options.json:
        json.dump({**facts, "groups": groups}, sys.stdout, indent=1)
        return
    tell(facts)
    for group in groups:
        show(group)


def measure(classes: int, rounds: int) -> dict[str, Any]:
    truth, guess = label_maps(classes)
    ways, absent = all_ways(classes)
    expected = confusion(truth, guess, classes)
    repeats = {}
    for name, way in ways.items():
        found = np.asarray(way(truth, guess))
        assert np.array_equal(found, expected), f"{name} counts differently"
        repeats[name] = max(1, round(SECONDS / timed(way, truth, guess, 1)))
    rates = interleaved(
        {
            name: lambda way=way, n=repeats[name]: n / timed(way, truth, guess, n)
            for name, way in ways.items()
        },
        rounds,
    )
    ours = float(np.median(rates["pixelwise"]))
    rows = [row(name, values, ours) for name, values in rates.items()]
    return {"classes": classes, "rows": rows, "not_installed": absent}


def all_ways(classes: int) -> tuple[dict[str, Way], list[str]]:
    """Ours, the formulas of the peers, and the peers' own code where it can be imported."""
    ways: dict[str, Way] = {
        "pixelwise": lambda t, g: confusion(t, g, classes),
        "numpy bincount (score.py)": lambda t, g: by_bincount(t, g, classes),
        "numpy bincount, int64 in": wide(lambda t, g: by_bincount(t, g, classes)),
    }
    absent = []
    for library, make in (("torch", torch_ways), ("torchmetrics", torchmetrics_ways)):
        try:
            ways |= make(classes)
        except ImportError:
            absent.append(library)
    try:
        counted = importlib.import_module("sklearn.metrics").confusion_matrix
        ways["scikit-learn confusion_matrix"] = lambda t, g: counted(
            t[t != VOID], g[t != VOID], labels=range(classes)
        )
    except ImportError:
        absent.append("scikit-learn")
    return ways, absent


def by_bincount(truth: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """The reference's two lines: one number per pair, then a histogram."""
    counted = truth < classes
    pairs = classes * truth[counted].astype(np.int64) + guess[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def wide(way: Way) -> Way:
    """The same on int64, with the maps converted beforehand: as a training loop holds them."""
    kept: dict[int, np.ndarray] = {}

    def run(truth: np.ndarray, guess: np.ndarray) -> Any:
        for array in (truth, guess):
            if id(array) not in kept:
                kept[id(array)] = array.astype(np.int64)
        return way(kept[id(truth)], kept[id(guess)])

    return run


def torch_ways(classes: int) -> dict[str, Way]:
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)

    def bincount(truth: np.ndarray, guess: np.ndarray) -> Any:
        t, g = torch.from_numpy(truth).long().flatten(), torch.from_numpy(guess).long().flatten()
        counted = t < classes
        pairs = classes * t[counted] + g[counted]
        return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    return {"torch.bincount (torchvision references)": bincount}


def torchmetrics_ways(classes: int) -> dict[str, Way]:
    torch = importlib.import_module("torch")
    metric = importlib.import_module("torchmetrics.functional.classification")
    count = metric.multiclass_confusion_matrix

    def way(check: bool) -> Way:
        def run(truth: np.ndarray, guess: np.ndarray) -> Any:
            t, g = torch.from_numpy(truth).long(), torch.from_numpy(guess).long()
            return count(g, t, classes, ignore_index=VOID, validate_args=check)

        return run

    return {
        "torchmetrics confusion_matrix": way(True),
        "torchmetrics, validate_args=False": way(False),
    }


def label_maps(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of classes with 3 % void; the guess is the truth moved by a few pixels."""
    rng = np.random.default_rng(classes)
    blocks = rng.integers(0, classes, (15, 20), dtype=np.uint8)
    truth = np.repeat(np.repeat(blocks, 25, axis=0), 25, axis=1)
    guess = np.roll(truth, (4, 5), axis=(0, 1))
    truth[rng.random(truth.shape) < 0.03] = VOID
    assert truth.shape == (HEIGHT, WIDTH)
    return truth, guess


def timed(way: Way, truth: np.ndarray, guess: np.ndarray, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        way(truth, guess)
    return time.perf_counter() - began


def row(name: str, rates: list[float], ours: float) -> dict[str, Any]:
    low, middle, high = np.quantile(rates, [0.25, 0.5, 0.75])
    return {
        "way": name,
        "images_per_second": round(float(middle), 1),
        "quartiles": [round(float(low), 1), round(float(high), 1)],
        "ours_is_times_faster": round(ours / float(middle), 2),
    }


def show(group: dict[str, Any]) -> None:
    print(f"\n{group['classes']} classes")
    print(f"{'way':42} {'images/s':>9} {'quartiles':>17} {'ours is':>9}")
    for r in group["rows"]:
        low, high = r["quartiles"]
        spread = f"{low:,.0f}..{high:,.0f}"
        ratio = f"{r['ours_is_times_faster']:.1f}x"
        print(f"{r['way']:42} {r['images_per_second']:9,.0f} {spread:>17} {ratio:>9}")
    if group["not_installed"]:
        print(f"not installed: {', '.join(group['not_installed'])}")


if __name__ == "__main__":
    main()
