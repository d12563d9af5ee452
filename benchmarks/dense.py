"""Processor seconds of a denser output (section 3.2): stitched, rarefied, or by longer filters.

    python benchmarks/dense.py [--net fcn32s-alexnet] [--size 375x500] [--rounds 3] [--json]

Plain is the net as it is. Stitched by F is F * F passes of it on shifted pictures; rarefied is one
pass with the last strides at 1 and later filters dilated, which gives the same numbers away from
the rim; lowered is one pass with longer filters in their place (14x14 for VGG16's fc6). Before any
time is taken, stitched and rarefied scores of an unpadded narrow copy of the net must be equal. One
thread; everything up to the scores before the last upsampling, which all have in common.
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
from torch import Tensor

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.plan import coarse_scores
from pixelwise.engine.runner import TorchRunner
from pixelwise.nets import rarefy
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool
from pixelwise.nets.unpadded import unpadded
from pixelwise.predict.stitching import stitched
from pixelwise.workflows.bench.timing import cpu_times, interleaved, surroundings, tell

Way = Callable[[Tensor], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="fcn32s-alexnet")
    parser.add_argument("--size", default="375x500")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, options.size.split("x"))
    numbers = np.random.default_rng(0).normal(0, 60, (1, 3, height, width))
    picture = torch.from_numpy(numbers.astype(np.float32))
    before = cpu_times()
    last = strided(spec(options.net))[-2:]
    check(options.net, last)
    ways = {
        "plain": carried_out(options.net),
        "stitched by 2": carried_out(options.net, factor=2),
        "rarefied by 2": carried_out(options.net, rarefied=last[1:]),
        "lowered by 2": carried_out(options.net, lowered=last[1:]),
        "stitched by 4": carried_out(options.net, factor=4),
        "rarefied by 4": carried_out(options.net, rarefied=last),
    }
    for way in ways.values():  # the first call of a shape makes torch's plans
        timed(way, picture[:, :, :64, :64])
    seconds = interleaved(
        {name: lambda way=way: timed(way, picture) for name, way in ways.items()}, options.rounds
    )
    plain = float(np.median(seconds["plain"]))
    rows = [row(name, spent, plain) for name, spent in seconds.items()]
    facts = surroundings("dense", before)
    if options.json:
        json.dump(
            {**facts, "net": options.net, "size": options.size, "rows": rows}, sys.stdout, indent=1
        )
        return
    tell(facts)
    print(f"{options.net} at {options.size}")
    for r in rows:
        spread = "{:.2f}..{:.2f}".format(*r["quartiles"])
        print(f"{r['way']:14} {r['seconds']:7.2f} s {spread:>15} {r['times_plain']:6.2f} x plain")


def strided(net: Net) -> list[str]:
    return [n for n, r in net.layers.items() if isinstance(r, Conv | MaxPool) and r.stride > 1]


def carried_out(name: str, factor: int = 1, **options: Any) -> Way:
    torch.manual_seed(0)
    runner = TorchRunner(build(name, **options))
    wanted = coarse_scores(runner.net).values()
    if factor > 1:
        return lambda x: stitched(runner, x, factor)
    return lambda x: runner.network.activations(x, wanted)


def check(name: str, last: list[str]) -> None:
    net = unpadded(spec(name, classes=3, width=1 / 16))
    run, finer = (TorchRunner(Network(n).double()) for n in (net, rarefy(net, *last)))
    torch.manual_seed(0)
    for parameter in run.network.parameters():
        torch.nn.init.normal_(parameter, std=(2 / max(1, parameter[0].numel())) ** 0.5)
    finer.network.load_state_dict(run.network.state_dict())
    x = torch.randn(1, 3, int(net.receptive_field) + 40, int(net.receptive_field) + 40).double()
    (a,), (b,) = ([m.cells for m in maps.values()] for maps in (stitched(run, x, 4), finer.maps(x)))
    rows = 40 // (int(net.stride) // 4) + 1  # the places whose field lies in the picture
    inside = a[..., 3 : 3 + rows, 3 : 3 + rows], b[..., :rows, :rows]
    assert (inside[0] - inside[1]).abs().max() < 1e-10 * b.abs().max()


def timed(way: Way, picture: Tensor) -> float:
    began = time.process_time()  # of one thread that waits for nothing
    with torch.inference_mode():
        way(picture)
    return time.process_time() - began


def row(name: str, spent: list[float], plain: float) -> dict[str, Any]:
    low, middle, high = (float(q) for q in np.quantile(spent, [0.25, 0.5, 0.75]))
    quartiles = [round(low, 3), round(high, 3)]
    times = round(middle / plain, 2)
    return {"way": name, "seconds": round(middle, 3), "quartiles": quartiles, "times_plain": times}


if __name__ == "__main__":
    main()
