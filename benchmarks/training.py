"""A training step of FCN-8s-VGG16 on one picture: written by hand, and ours.

    python benchmarks/training.py [--size 500x500] [--threads 1] [--rounds 3] [--only WAYS] [--json]

"By hand" is pytorch-fcn's step: NCHW in float32, dense deconvolutions whose kernels get gradients,
log-softmax masked by the labels and summed, SGD with momentum. Ours are the ``Stepper`` that
``pixelwise train`` runs: in float32, in bf16, and so with its ways to take less memory. All begin
with the same weights, and their first losses must agree. With one thread processor seconds are
told, which other work on the machine changes least; with more the clock's. Memory is the peak of a
process of its own after two steps (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.labels import VOID
from pixelwise.machine import memory
from pixelwise.training.recipe import Loss, Optim, Recipe
from pixelwise.training.step import Stepper
from pixelwise.workflows.bench.by_hand import by_hand, tent
from pixelwise.workflows.bench.timing import cpu_times, interleaved, own_memory, surroundings, tell

CLASSES, RATE = 21, 1e-10
WAYS: dict[str, dict[str, Any]] = {
    "by hand": {},
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "bf16, checkpoint": {"precision": "bf16", "checkpoint": True},
    "bf16, checkpoint, in backward": {
        "precision": "bf16",
        "checkpoint": True,
        "optim": Optim("sgd", lr=RATE, momentum=0.99, in_backward=True),
    },
}

Step = Callable[[], float]
"""A step; the loss before it, summed over pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="500x500")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        step = make(options.memory_of, options.size)
        # ``pixelwise train`` keeps what is freed, but for checkpoints; pytorch-fcn does not.
        kept = options.memory_of in ("fp32", "bf16")
        with memory.freed_memory_kept() if kept else nullcontext():
            step()
            step()
        print(own_memory())
        return
    before = cpu_times()
    rows = measure(options)
    facts = {**surroundings("training", before, threads=options.threads), "size": options.size}
    if options.json:
        json.dump({**facts, "rows": rows}, sys.stdout, indent=1)
        return
    tell(facts)
    print(
        f"{'way':32} {'s':>7} {'quartiles':>15} {'by hand takes':>14} {'MB':>7} {'of its MB':>10}"
    )
    for r in rows:
        spread, times = "{:.2f}..{:.2f}".format(*r["quartiles"]), f"{r['by_hand_takes']:.2f}x"
        print(
            f"{r['way']:32} {r['seconds']:7.2f} {spread:>15} {times:>14} {r['megabytes']:7} "
            f"{r['of_its_memory']:10.2f}"
        )


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    clock = time.process_time if options.threads == 1 else time.perf_counter
    ways = {name: make(name, options.size) for name in options.only.split(",")}

    def timed(step: Step) -> float:
        began = clock()
        step()
        return clock() - began

    with memory.freed_memory_kept():
        losses = {name: step() for name, step in ways.items()}
        first = next(iter(losses.values()))
        assert all(abs(loss - first) < 0.01 * first for loss in losses.values()), losses
        seconds = interleaved(
            {name: lambda step=step: timed(step) for name, step in ways.items()}, options.rounds
        )
    same = ["--size", options.size, "--threads", str(options.threads)]
    peaks = {name: 0 if options.no_memory else peak(name, same) for name in ways}
    usual, most = (of.get("by hand", np.nan) for of in (seconds, peaks))
    rows = []
    for name, spent in seconds.items():
        low, middle, high = (float(q) for q in np.quantile(spent, [0.25, 0.5, 0.75]))
        rows.append(
            {
                "way": name,
                "seconds": round(middle, 3),
                "quartiles": [round(low, 3), round(high, 3)],
                "by_hand_takes": round(float(np.median(usual)) / middle, 2),
                "megabytes": round(peaks[name] / 1e6),
                "of_its_memory": round(peaks[name] / max(most, 1), 2),
            }
        )
    return rows


def peak(name: str, arguments: list[str]) -> int:
    command = [sys.executable, __file__, "--memory-of", name, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make(name: str, size: str) -> Step:
    height, width = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    picture = torch.from_numpy(rng.normal(0, 60, (1, 3, height, width)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, CLASSES, (1, height, width), dtype=np.uint8))
    labels[:, :10] = VOID
    return pytorch_fcn(picture, labels) if name == "by hand" else ours(picture, labels, name)


@torch.no_grad()
def fill(network: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            torch.nn.init.normal_(parameter, std=0.1)


def pytorch_fcn(picture: Tensor, labels: Tensor) -> Step:
    network = build("fcn8s-vgg16", classes=CLASSES)
    fill(network)
    weights = {name: p.detach().requires_grad_() for name, p in network.named_parameters()}
    kernels = [tent(CLASSES, k).requires_grad_() for k in (4, 4, 16)]
    rest = {"momentum": 0.99, "weight_decay": 5e-4}
    biases = [p for name, p in weights.items() if name.endswith("bias")]
    others = [p for name, p in weights.items() if not name.endswith("bias")]
    optimizer = torch.optim.SGD(
        [{"params": others}, {"params": biases, "lr": 2 * RATE, "weight_decay": 0}], lr=RATE, **rest
    )
    truth = labels.long()

    def step() -> float:
        optimizer.zero_grad()
        scores = by_hand(picture, weights, kernels).log_softmax(1)
        known = truth != VOID
        flat = scores.transpose(1, 2).transpose(2, 3).contiguous()
        flat = flat[known[..., None].expand_as(flat)].view(-1, CLASSES)
        loss = F.nll_loss(flat, truth[known], reduction="sum")
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def ours(picture: Tensor, labels: Tensor, name: str) -> Step:
    network = build("fcn8s-vgg16", classes=CLASSES).eval()
    fill(network)
    sgd = Optim("sgd", lr=RATE, momentum=0.99)
    recipe = Recipe(batch=1, optim=sgd, loss=Loss("sum")).replace(**WAYS[name])
    precision = "bf16-mixed" if recipe.precision == "bf16" else "32-true"
    network.net.name_heads(["labels"])
    stepper = Stepper(Fabric(accelerator="cpu", precision=precision), network, recipe, {})
    for module in network.modules():  # its random zeros would make another loss
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    pixels = int((labels != VOID).sum())
    return lambda: stepper.run(0, [(picture, {"labels": labels})])["labels"] * pixels


if __name__ == "__main__":
    main()
