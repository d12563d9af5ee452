"""Seconds and memory of FCN-8s-VGG16 on one picture: written by hand, and ours in both geometries.

    python benchmarks/forward.py [--size 375x500] [--classes 21] [--rounds 7] [--json]

"By hand" is the net as its prototxt reads, in torch's functions: pad 100, ceil pools, dense
deconvolution kernels, crops. All have the same weights, and ours in Caffe's geometry must give the
same scores before any time is taken (the tight one equals them in the interior only, which pictures
of this size do not have; tests/unit/nets prove it on larger ones). One thread. Memory is what the
resident size of a process grows to while it runs one way once (Linux).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import cpu_times, growth, growth_in_process, interleaved, surroundings, tell
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network

Way = Callable[[Tensor], Tensor]
NAMES = ("by hand", "fcn8s-vgg16", "fcn8s-vgg16-tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="375x500")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, options.size.split("x"))
    picture = torch.from_numpy(
        np.random.default_rng(0).normal(0, 60, (1, 3, height, width)).astype(np.float32)
    )
    if options.memory_of:
        way = make(options.memory_of, options.classes)
        with torch.inference_mode():
            print(growth(lambda: way(picture)))
        return
    before = cpu_times()
    rows = measure(picture, options.classes, options.rounds)
    same = ["--size", options.size, "--classes", str(options.classes)]
    for row in rows:
        row["megabytes"] = round(growth_in_process(__file__, row["way"], same) / 1e6)
    facts = surroundings("forward", before)
    if options.json:
        json.dump({**facts, "size": options.size, "rows": rows}, sys.stdout, indent=1)
        return
    tell(facts)
    print(f"{'way':20} {'s':>7} {'quartiles':>15} {'by hand takes':>14} {'MB':>7}")
    for r in rows:
        spread = "{:.2f}..{:.2f}".format(*r["quartiles"])
        ratio = f"{r['by_hand_takes_times']:.2f}x"
        print(f"{r['way']:20} {r['seconds']:7.2f} {spread:>15} {ratio:>14} {r['megabytes']:7}")


def make(name: str, classes: int) -> Way:
    """A way with weights that depend on nothing but their layer's place."""
    built = build("fcn8s-vgg16" if name == "by hand" else name, classes=classes).eval()
    fill(built)
    if name == "by hand":
        weights = dict(built.state_dict())
        kernels = [tent(classes, k) for k in (4, 4, 16)]
        return lambda x: by_hand(x, weights, kernels)
    built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda x: built(x.contiguous(memory_format=torch.channels_last))


@torch.no_grad()
def fill(net: Network) -> None:
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            torch.nn.init.normal_(parameter, std=0.1)


def measure(picture: Tensor, classes: int, rounds: int) -> list[dict[str, Any]]:
    ways = {name: make(name, classes) for name in NAMES}
    with torch.inference_mode():
        compare({name: way(picture) for name, way in ways.items()})
        seconds = interleaved(
            {name: lambda way=way: timed(way, picture) for name, way in ways.items()}, rounds
        )
    reference = float(np.median(seconds["by hand"]))
    return [row(name, spent, reference) for name, spent in seconds.items()]


def timed(way: Way, picture: Tensor) -> float:
    began = time.perf_counter()
    way(picture)
    return time.perf_counter() - began


def row(name: str, spent: list[float], reference: float) -> dict[str, Any]:
    low, middle, high = (float(q) for q in np.quantile(spent, [0.25, 0.5, 0.75]))
    return {
        "way": name,
        "seconds": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "by_hand_takes_times": round(reference / middle, 3),
    }


def compare(found: dict[str, Tensor]) -> None:
    truth = found["by hand"]
    assert (found["fcn8s-vgg16"] - truth).abs().max() < 1e-3 * truth.abs().max()


# -- by hand ---------------------------------------------------------------------------------------
def tent(classes: int, kernel: int) -> Tensor:
    """Caffe's bilinear filler, one kernel for each pair of classes: zero off the diagonal."""
    f = (kernel + 1) // 2
    c = (kernel - 1) / (2 * f)
    line = torch.tensor([1 - abs(x / f - c) for x in range(kernel)])
    return torch.eye(classes)[:, :, None, None] * torch.outer(line, line)


def by_hand(image: Tensor, w: dict[str, Tensor], kernels: list[Tensor]) -> Tensor:
    def conv(x: Tensor, name: str, pad: int = 0) -> Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=pad)

    def crop(x: Tensor, at: int, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return x[:, :, at : at + height, at : at + width]

    x, pools = image, {}
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            x = F.relu(conv(x, f"conv{block}_{i}", 100 if (block, i) == (1, 1) else 1))
        x = pools[block] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = F.relu(conv(F.relu(conv(x, "fc6")), "fc7"))
    x = F.conv_transpose2d(conv(x, "score_fr"), kernels[0], stride=2)
    x = x + crop(conv(pools[4], "score_pool4"), 5, x)
    x = F.conv_transpose2d(x, kernels[1], stride=2)
    x = x + crop(conv(pools[3], "score_pool3"), 9, x)
    return crop(F.conv_transpose2d(x, kernels[2], stride=8), 31, image)


if __name__ == "__main__":
    main()
