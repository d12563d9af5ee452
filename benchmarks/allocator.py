"""What it is worth to keep freed memory (machine/memory.py): seconds, page faults, bytes.

    OMP_NUM_THREADS=1 python benchmarks/allocator.py [--rounds 3] [--json]

A setting of the allocator belongs to a process, so every figure comes from a process of its own,
with and without in turn: FCN-8s-VGG16 labels pictures of 375x500, and FCN-4s-GoogLeNet takes
training steps on four crops of 480x480 in bfloat16. One thread. Linux with glibc only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from pixelwise.engine.build import build
from pixelwise.losses.cross_entropy import cross_entropy
from pixelwise.machine.memory import freed_memory_kept
from pixelwise.workflows.bench.timing import cpu_times, interleaved, surroundings, tell

WAYS = ("as usual", "kept")
REPEATS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        job, way = options.one
        print(json.dumps(once(JOBS[job](), kept=way == "kept")))
        return
    before = cpu_times()
    rows = [row for job in JOBS for row in measure(job, options.rounds)]
    facts = surroundings("allocator", before)
    if options.json:
        json.dump({**facts, "rows": rows}, sys.stdout, indent=1)
        return
    tell(facts)
    print(f"{'job':14} {'way':9} {'s':>7} {'usual takes':>12} {'page faults':>12} {'MB':>6}")
    for r in rows:
        ratio = f"{r['usual_takes_times']:.2f}x"
        print(
            f"{r['job']:14} {r['way']:9} {r['seconds']:7.3f} {ratio:>12} "
            f"{r['page_faults']:12,} {r['megabytes']:6}"
        )


def labelling() -> Callable[[], None]:
    net = build("fcn8s-vgg16", classes=21).eval()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(1, 3, 375, 500).contiguous(memory_format=torch.channels_last)

    def label() -> None:
        with torch.inference_mode():
            net(x).argmax(1)

    return label


def training() -> Callable[[], None]:
    net = build("fcn4s-googlenet-tight", classes=11).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    x = torch.randn(4, 3, 480, 480).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 11, (4, 480, 480))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            scores = net(x)
        cross_entropy(scores, labels).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


JOBS = {"labelling": labelling, "training step": training}


def once(work: Callable[[], None], *, kept: bool) -> dict[str, float]:
    """Of one process: the median time and page faults of a repeat, and the largest size."""
    torch.set_num_threads(1)
    seconds, faults = [], []
    with freed_memory_kept() if kept else nullcontext():
        work()
        for _ in range(REPEATS):
            began, faulted = time.perf_counter(), used().ru_minflt
            work()
            seconds.append(time.perf_counter() - began)
            faults.append(used().ru_minflt - faulted)
    return {
        "seconds": float(np.median(seconds)),
        "page_faults": float(np.median(faults)),
        "kilobytes": used().ru_maxrss,
    }


def used() -> resource.struct_rusage:
    return resource.getrusage(resource.RUSAGE_SELF)


def measure(job: str, rounds: int) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}

    def process(way: str) -> float:
        command = [sys.executable, __file__, "--one", job, way]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[way].append(json.loads(told))
        return found[way][-1]["seconds"]

    spent = interleaved({way: lambda way=way: process(way) for way in WAYS}, rounds)
    usual = float(np.median(spent["as usual"]))
    return [
        {
            "job": job,
            "way": way,
            "seconds": round(float(np.median(spent[way])), 3),
            "usual_takes_times": round(usual / float(np.median(spent[way])), 3),
            "page_faults": int(np.median([one["page_faults"] for one in found[way]])),
            "megabytes": round(max(one["kilobytes"] for one in found[way]) / 1e3),
        }
        for way in WAYS
    ]


if __name__ == "__main__":
    main()
