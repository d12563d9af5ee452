"""A classifier on every window of a picture, and once on the whole: seconds and memory.

    python benchmarks/windows.py [--nets alexnet,vgg16] [--batches 1,20] [--rounds 3]
        [--sample 20] [--json]

Patch-wise classification as before the paper, and its section 3.1. Windows of the side that the
classifier was trained on (227, 224), a hundred of them at stride 32, in a picture just so large
that one pass gives 10 x 10 cells too: the paper's grid. Of the windows ``--sample`` are run, and
their time is taken for all hundred. Random weights, one thread, no gradients.

Same answer first: without padding, on windows of the receptive field, one pass and windows must
agree. The published nets pad inside; how far their scores then are off from those of windows, in
deviations, is printed beside the times.

Seconds are the processor's for this process, which others on the machine hardly move. Memory is
what a process grows to while it runs one way once (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise.data.preprocess import CAFFE
from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.unpadded import unpadded
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.windows import window_scores
from pixelwise.workflows.bench.timing import cpu_times, interleaved, own_memory, surroundings, tell

WINDOWS = {"alexnet": 227, "vgg16": 224}
GRID, STRIDE = 10, 32
ONE_PASS = "one pass"


def growth_in_process(file: str, way: str, arguments: Sequence[str]) -> int:
    command = [sys.executable, file, "--memory-of", way, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def growth(way: Callable[[], object]) -> int:
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return 0
    reset.write_text("5")  # the peak is counted from now on
    before = own_memory("VmRSS")
    way()
    return own_memory("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", default=",".join(WINDOWS))
    parser.add_argument("--batches", default="1,20")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    batches = [int(n) for n in options.batches.split(",")]
    if options.memory_of:
        name, way = options.memory_of.split("/")
        with torch.inference_mode():
            print(growth(ways(name, batches, max(batches))[way]))
        return
    before = cpu_times()
    rows = [row for name in options.nets.split(",") for row in measure(name, batches, options)]
    facts = surroundings("windows", before)
    if options.json:
        json.dump({**facts, "rows": rows}, sys.stdout, indent=1)
        return
    tell(facts)
    print(f"{'net':8} {'way':14} {'s for 100':>10} {'one pass is':>12} {'MB':>6}  scores are off")
    for r in rows:
        ratio = f"{r['one_pass_is_times_faster']:.1f}x"
        differs = r.get("scores_differ_by_deviations", "")
        print(
            f"{r['net']:8} {r['way']:14} {r['seconds']:10.2f} {ratio:>12} {r['megabytes']:6}"
            f"  {differs}"
        )


def made(net: Net) -> Predictor:
    """With weights that depend on nothing but their layer's place."""
    network = Network(net).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            torch.nn.init.normal_(p, std=(2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1)
    return Predictor(TorchRunner(network), CAFFE)


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def ways(name: str, batches: list[int], sample: int) -> dict[str, Callable[[], Any]]:
    """One pass, and ``sample`` of the windows, so many at once."""
    predictor, window = made(spec(name)), WINDOWS[name]
    side = window + (GRID - 1) * STRIDE
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 3, side, side, generator=generator)
    maps = predictor.runner.maps
    assert maps(picture)[predictor.net.output].shape[2:] == (GRID, GRID)

    def slide(batch: int) -> None:
        corners = [(STRIDE * (i // GRID), STRIDE * (i % GRID)) for i in range(sample)]
        windows = [picture[:, :, y : y + window, x : x + window] for y, x in corners]
        for i in range(0, sample, batch):
            maps(torch.cat(windows[i : i + batch]))

    return {ONE_PASS: lambda: maps(picture)} | {
        f"windows by {batch}": lambda batch=batch: slide(batch) for batch in batches
    }


def measure(name: str, batches: list[int], options: argparse.Namespace) -> list[dict[str, Any]]:
    agree(name)
    every = ways(name, batches, options.sample)
    with torch.inference_mode():
        spent = interleaved(
            {way: lambda go=go: timed(go) for way, go in every.items()}, options.rounds
        )
    share = {way: 1.0 if way == ONE_PASS else GRID**2 / options.sample for way in spent}
    seconds = {way: float(np.median(times)) * share[way] for way, times in spent.items()}
    rows = [
        {
            "net": name,
            "way": way,
            "seconds": round(taken, 3),
            "one_pass_is_times_faster": round(taken / seconds[ONE_PASS], 2),
            "megabytes": round(memory(name, way, options) / 1e6),
        }
        for way, taken in seconds.items()
    ]
    rows[0]["scores_differ_by_deviations"] = round(difference(name), 3)
    return rows


def timed(way: Callable[[], Any]) -> float:
    began = time.process_time()
    way()
    return time.process_time() - began


def agree(name: str) -> None:
    """Without padding, on two windows of the receptive field: the same but for rounding."""
    predictor = made(unpadded(spec(name)))
    field = int(predictor.net.receptive_field)
    image = np.ascontiguousarray(noise(field + STRIDE)[:field])
    slid = window_scores(predictor, image, window=field)
    assert slid.windows.shape[1:] == (1, 2)
    assert slid.off.max() < 1e-4 * np.abs(slid.windows).max()


def difference(name: str) -> float:
    """Of the published net, on 2 x 2 windows: root mean square of the scores' differences (before
    the softmax), in deviations of the windows' scores."""
    predictor, window = made(spec(name)), WINDOWS[name]
    network, top = predictor.runner.network, predictor.net.top
    x = torch.randn(1, 3, window + STRIDE, window + STRIDE, generator=torch.Generator())
    corners = [(y, z) for y in (0, STRIDE) for z in (0, STRIDE)]
    parts = torch.cat([x[:, :, y : y + window, z : z + window] for y, z in corners])
    with torch.inference_mode():
        whole = network.activations(x, [top])[top][0, :, :2, :2].flatten(1)
        slid = network.activations(parts, [top])[top][:, :, 0, 0].T
    return ((whole - slid).square().mean().sqrt() / slid.std()).item()


def memory(name: str, way: str, options: argparse.Namespace) -> int:
    return growth_in_process(__file__, f"{name}/{way}", ["--batches", options.batches])


if __name__ == "__main__":
    main()
