"""A training step through the layers that torch has no good form of: ours and torch's ways.

    OMP_NUM_THREADS=1 python benchmarks/layers.py [--rounds 9] [--json]

Fixed bilinear upsampling by 4 of 11 score maps, and local response normalisation of 192 channels,
both as they occur in FCN-4s-GoogLeNet on four crops of 480x480, and depthwise convolutions of
FCN-4s-EfficientNet-Lite0 in bf16: forward, then backward, channels last as in training, one thread.
Every way must give the same outputs and gradients first.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.depthwise import trained
from pixelwise.engine.response_norm import neighbours, normalise
from pixelwise.engine.upsampling import Window, bilinear_kernel, bilinear_ramp, phases, upsample
from pixelwise.nets.layers import Lrn
from pixelwise.workflows.bench.timing import cpu_times, interleaved, surroundings, tell

Way = Callable[[Tensor], Tensor]
BY, KERNEL, CLASSES, CELLS = 4, 8, 11, 122


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = cpu_times()
    groups = [
        measure("upsampling by 4, float32", upsamplings(), maps(CLASSES), options.rounds),
        measure("normalisation, float32", normalisations(), maps(192), options.rounds),
        measure("normalisation, bfloat16", normalisations(), maps(192).bfloat16(), options.rounds),
        *(depthwise(*shape, options.rounds) for shape in ((144, 5, 2, 124), (672, 5, 1, 30))),
    ]
    facts = surroundings("layers", before)
    if options.json:
        json.dump({**facts, "groups": groups}, sys.stdout, indent=1)
        return
    tell(facts)
    for group in groups:
        show(group)


def maps(channels: int) -> Tensor:
    x = 50 * torch.randn(4, channels, CELLS, CELLS).relu()
    return x.contiguous(memory_format=torch.channels_last)


def upsamplings() -> dict[str, Way]:
    """Beyond the rim the outermost cells repeat, as interpolation has it; the others are cut."""
    shares, dense = phases(KERNEL, BY).float(), bilinear_kernel(KERNEL, CLASSES)
    ramp, window = bilinear_ramp(KERNEL).float(), Window(2, 2, BY * CELLS, BY * CELLS)
    single = torch.outer(ramp, ramp).expand(CLASSES, 1, -1, -1).contiguous()

    def cut(x: Tensor, margin: int) -> Tensor:
        return x[..., margin:-margin, margin:-margin]

    def deconvolution(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
        held = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return cut(F.conv_transpose2d(held, kernel, stride=BY, groups=groups), 6)

    return {
        "pixelwise": lambda x: upsample(x, shares, KERNEL, "hold", window),
        "F.interpolate": lambda x: F.interpolate(x, scale_factor=BY, mode="bilinear"),
        "depthwise deconvolution": lambda x: deconvolution(x, single, CLASSES),
        "dense deconvolution": lambda x: deconvolution(x, dense, 1),
    }


def normalisations() -> dict[str, Way]:
    layer = Lrn("norm", ("x",))
    near = neighbours(layer.window, 192)

    def composed(x: Tensor) -> Tensor:
        total = F.conv2d(x.square(), near.to(x.dtype))
        return x / (total * (layer.alpha / layer.window) + layer.k) ** layer.beta

    def shifted(x: Tensor) -> Tensor:
        around = F.pad(x.square(), (0, 0, 0, 0, 2, 2))
        total = sum(around[:, i : i + 192] for i in range(5))
        return x / (total * (layer.alpha / layer.window) + layer.k) ** layer.beta

    return {
        "pixelwise": lambda x: normalise(x, near, layer),
        "as a convolution, by autograd": composed,
        "as shifted sums, by autograd": shifted,
        "F.local_response_norm, in float32": lambda x: F.local_response_norm(
            x.float(), layer.window, layer.alpha, layer.beta, layer.k
        ).to(x.dtype),  # torch has none in bfloat16
    }


def depthwise(channels: int, side: int, stride: int, cells: int, rounds: int) -> dict[str, Any]:
    """With the gradient of the filters, which is what takes the time."""
    conv = nn.Conv2d(channels, channels, side, stride, side // 2, groups=channels, bias=False)
    x = torch.randn(4, channels, cells, cells).to(torch.bfloat16, memory_format=torch.channels_last)
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    ways = {"pixelwise": half(partial(trained, conv)), "nn.Conv2d": half(conv)}
    name = f"depthwise {side}x{side} by {stride}, {channels} maps of {cells}x{cells}, bfloat16"
    return measure(name, ways, x, rounds, conv.weight)


def measure(
    name: str, ways: dict[str, Way], x: Tensor, rounds: int, *weights: Tensor
) -> dict[str, Any]:
    with torch.no_grad():
        towards = torch.randn_like(ways["pixelwise"](x))
    expected = [part.double() for part in step(ways["pixelwise"], x, towards, *weights)[1:]]
    tolerance = 0.03 if x.dtype == torch.bfloat16 else 1e-4
    for other, way in ways.items():
        for ours, theirs in zip(expected, step(way, x, towards, *weights)[1:], strict=True):
            far = (ours - theirs).abs().max().item()
            assert far < tolerance * ours.abs().max().item(), f"{other} differs by {far}"
    timed = {
        other: lambda way=way: step(way, x, towards, *weights)[0] for other, way in ways.items()
    }
    seconds = interleaved(timed, rounds)
    ours = float(np.median(seconds["pixelwise"]))
    return {"layer": name, "rows": [row(n, spent, ours) for n, spent in seconds.items()]}


def step(way: Way, x: Tensor, towards: Tensor, *weights: Tensor) -> tuple[Any, ...]:
    x = x.detach().requires_grad_()
    began = time.perf_counter()
    out = way(x)
    gradients = torch.autograd.grad(out, (x, *weights), towards)
    return time.perf_counter() - began, out.detach(), *gradients


def row(name: str, spent: list[float], ours: float) -> dict[str, Any]:
    low, middle, high = (float(q) for q in np.quantile(spent, [0.25, 0.5, 0.75]))
    return {
        "way": name,
        "milliseconds": round(1000 * middle, 1),
        "quartiles": [round(1000 * low, 1), round(1000 * high, 1)],
        "ours_is_times_faster": round(middle / ours, 2),
    }


def show(group: dict[str, Any]) -> None:
    print(f"\n{group['layer']}")
    print(f"{'way':34} {'ms':>8} {'quartiles':>17} {'ours is':>9}")
    for r in group["rows"]:
        spread = "{:.1f}..{:.1f}".format(*r["quartiles"])
        ratio = f"{r['ours_is_times_faster']:.2f}x"
        print(f"{r['way']:34} {r['milliseconds']:8.1f} {spread:>17} {ratio:>9}")


if __name__ == "__main__":
    main()
