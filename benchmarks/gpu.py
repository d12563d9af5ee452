"""A net on a GPU: labels of pictures and a training step, in float32 and bf16, by batch.

Each figure is a median over rounds, with the arithmetic it stands for and the share of the card's
ceiling where that is given: ``--ceilings 67,989`` (H100 SXM: TFLOP/s of float32 without tensor
cores, and of dense bf16 with them, NVIDIA's data sheet). The paper's own figure is 210 ms for
FCN-8s-VGG16's forward pass on a K40, 40 % of its 4.29 TFLOP/s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

import torch

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.losses.cross_entropy import cross_entropy
from pixelwise.machine.environment import float32_is_float32
from pixelwise.nets.catalog import spec
from pixelwise.nets.table import table

ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", default="fcn8s-vgg16,fcn8s-vgg16-tight,fcn8s-googlenet-tight")
    parser.add_argument("--size", default="500x500")
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--ceilings", default="", help="TFLOP/s of float32 and of bf16")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    ceilings = [float(c) for c in options.ceilings.split(",") if c] or [0.0, 0.0]
    rows = []
    for name in options.nets.split(","):
        macs = sum(row.macs for row in table(spec(name), height, width))
        for batch in map(int, options.batches.split(",")):
            for half, ceiling in zip((False, True), ceilings, strict=True):
                for what, seconds in figures(name, batch, height, width, half=half).items():
                    flops = 2 * macs * batch * (3 if what == "step" else 1) / seconds
                    precision = "bf16" if half else "fp32"
                    rows.append((name, what, batch, precision, seconds, flops / 1e12, ceiling))
    card = torch.cuda.get_device_properties(0).name
    if options.json:
        print(json.dumps({"card": card, "torch": torch.__version__, "rows": rows}))
        return
    print(f"{card}, torch {torch.__version__}, {options.size}")
    for net, what, batch, precision, seconds, tera, ceiling in rows:
        share = f"{100 * tera / ceiling:5.1f} %" if ceiling else ""
        ms = 1000 * seconds / batch
        print(
            f"{net:24} {what:8} batch {batch:3} {precision} {ms:8.2f} ms a picture "
            f"{tera:7.1f} TFLOP/s {share}"
        )


def figures(name: str, batch: int, height: int, width: int, *, half: bool) -> dict[str, float]:
    """Seconds of labelling a batch, and of forward, backward and update."""
    net = build(name)
    x = torch.randn(batch, 3, height, width).cuda()
    runner = TorchRunner(net, bf16=half, device=torch.device("cuda"))

    def labels() -> None:
        [scores] = runner.maps(x).values()
        scores.labels()

    found = {"labels": median(labels)}
    with suppress(ValueError):  # of batch norm, where it would see the mean of one picture
        found["step"] = median(step_of(net, x, half=half))
    return found


def step_of(net: Network, x: torch.Tensor, *, half: bool) -> Callable[[], None]:
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-12, momentum=0.9)
    truth = torch.randint(0, 21, (len(x), *x.shape[2:]), dtype=torch.uint8).cuda()

    def step() -> None:
        with float32_is_float32(x.device, repeatable=True):
            with torch.autocast("cuda", torch.bfloat16, enabled=half):
                scores = net(x)
            cross_entropy(scores, truth).sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def median(way: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS + 2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        way()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])  # the first choose kernels


if __name__ == "__main__":
    main()
