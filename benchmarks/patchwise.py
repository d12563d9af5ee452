"""Patch-wise training and whole pictures: seconds forward and backward for a hundred terms.

    python benchmarks/patchwise.py [--net alexnet] [--batches 1,20] [--keep 0.25] [--rounds 3]
        [--sample 20] [--json]

The net is the trunk and its score layer with nothing padded. A patch is a crop of one receptive
field with one label (``patch_step`` is a trainer of such: an optimizer step on some of a picture's
patches); a picture just so large that it has 10 x 10 cells holds a hundred of them, and
``picture_step`` trains on any part of its cells at once. Of the patches ``--sample`` are run, and
their time is taken for all hundred. ``by 227`` are patches of the side that the classifier was
trained on, with its padding: the baseline of the paper's section 4.1, cheaper and not the same.

Same answer first: both steps must leave the same weights, on all cells and on a part of them.
The paper's figure 5 draws a share p of the terms from 1/p times the pictures; above
``break_even_share`` that is still cheaper than patches. Random weights, one thread. Seconds are the
processor's for this process, which others on the machine hardly move.
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
from torch.nn import functional as F

from pixelwise.engine.network import Network
from pixelwise.labels import VOID
from pixelwise.nets.catalog import FAMILIES, spec
from pixelwise.nets.net import Net
from pixelwise.nets.unpadded import unpadded
from pixelwise.workflows.bench.timing import cpu_times, interleaved, surroundings, tell

GRID, CLASSES = 10, 21
PUBLISHED = {"alexnet": 227, "vgg16": 224}
Step = tuple[float, float]
"""Seconds forward, and seconds backward."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="alexnet", choices=PUBLISHED)
    parser.add_argument("--batches", default="1,20")
    parser.add_argument("--keep", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    before = cpu_times()
    agree(options.net)
    rows = measure(options)
    facts = surroundings("patchwise", before)
    if options.json:
        json.dump({**facts, "net": options.net, "rows": rows}, sys.stdout, indent=1)
        return
    tell(facts)
    print(f"{options.net:26} {'terms':>5} {'forward s':>9} {'backward s':>10} per term, break even")
    for r in rows:
        times = f"{r['forward']:9.2f} {r['backward']:10.2f}"
        ratio = f"{r['picture_is_times_faster_backward']:.1f}x {r['break_even_share'] or ''}"
        print(f"{r['way']:26} {r['terms']:5} {times} {ratio}")


# -- the two trainers ------------------------------------------------------------------------------
def picture_step(net: Network, picture: Tensor, labels: Tensor, *, rate: float = 0.0) -> Step:
    """Plain SGD on the summed loss of a picture's cells, labels (rows, columns), 255 left out."""
    began = time.process_time()
    net.zero_grad()
    scores = net(picture[None])
    loss = F.cross_entropy(scores, labels[None], ignore_index=VOID, reduction="sum")
    forward = time.process_time()
    loss.backward()
    seconds = forward - began, time.process_time() - forward
    descend(net, rate)
    return seconds


def patch_step(
    net: Network,
    picture: Tensor,
    cells: list[tuple[int, int, int]],
    *,
    side: int,
    batch: int,
    rate: float = 0.0,
) -> Step:
    """The same step on patches: crops of ``side`` at cells (row, column), each with one label."""
    stride, spent = int(net.net.stride), np.zeros(2)
    net.zero_grad()
    for i in range(0, len(cells), batch):
        began = time.process_time()
        part = cells[i : i + batch]
        corners = [(stride * row, stride * column) for row, column, _ in part]
        crops = torch.stack([picture[:, y : y + side, x : x + side] for y, x in corners])
        scores = net(crops)
        assert scores.shape[2:] == (1, 1)
        truth = torch.tensor([label for *_, label in part])
        loss = F.cross_entropy(scores[:, :, 0, 0], truth, reduction="sum")
        forward = time.process_time()
        loss.backward()
        spent += forward - began, time.process_time() - forward
    descend(net, rate)
    return float(spent[0]), float(spent[1])


def descend(net: Network, rate: float) -> None:
    with torch.no_grad():
        for p in net.parameters() if rate else ():
            p -= rate * p.grad


# -- what is compared ------------------------------------------------------------------------------
def scored(trunk: str, *, width: float = 1.0, published: bool = False) -> Net:
    """The trunk and one score layer, without padding or with the classifier's."""
    if not published:
        return unpadded(spec(trunk, classes=CLASSES, width=width))
    net = Net()
    net.data(3)
    net.top = net.conv("score", FAMILIES[trunk].trunk(net, width, "published").top, CLASSES)
    return net


def made(net: Net) -> Network:
    network = Network(net).eval()  # without dropout, which would differ from step to step
    torch.manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            torch.nn.init.normal_(p, std=(2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1)
    return network


def drawn(side: int, grid: int, stride: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    length = side + (grid - 1) * stride
    picture = torch.randn(3, length, length, generator=generator)
    return picture, torch.randint(0, CLASSES, (grid, grid), generator=generator)


def listed(labels: Tensor) -> list[tuple[int, int, int]]:
    """Cells that count, and their labels."""
    return [(i, j, int(labels[i, j])) for i, j in (labels != VOID).nonzero().tolist()]


def agree(trunk: str) -> None:
    """Both trainers leave the same weights, in float64, of a narrow copy."""
    net = scored(trunk, width=1 / 16)
    side = int(net.receptive_field)
    picture, labels = (x.double() if x.is_floating_point() else x for x in drawn(side, 2, 32))
    for part in (labels, labels.where(torch.tensor([[True, False], [True, True]]), VOID)):
        one, other = made(net).double(), made(net).double()
        before = [p.detach().clone() for p in one.parameters()]
        picture_step(one, picture, part, rate=1e-3)
        patch_step(other, picture, listed(part), side=side, batch=2, rate=1e-3)
        moved = [p.detach() - start for p, start in zip(one.parameters(), before, strict=True)]
        assert max(float(m.abs().max()) for m in moved) > 1e-4
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert (a - b).detach().abs().max() < 1e-10


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    net = made(scored(options.net))
    side, stride = int(net.net.receptive_field), int(net.net.stride)
    picture, labels = drawn(side, GRID, stride)
    few = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < options.keep
    sampled = labels.where(few, VOID)
    narrow, small = made(scored(options.net, published=True)), PUBLISHED[options.net]
    some = listed(labels)[: options.sample]
    share = GRID**2 / len(some)
    ways: dict[str, tuple[Callable[[], Step], float, int]] = {
        "picture": (lambda: picture_step(net, picture, labels), 1.0, GRID**2),
        f"picture, {options.keep:g} of it": (
            lambda: picture_step(net, picture, sampled),
            1.0,
            int(few.sum()),
        ),
    }
    for batch in map(int, options.batches.split(",")):
        for name, network, length in (("patches of", net, side), ("by", narrow, small)):
            ways[f"{name} {length}, {batch} at once"] = (
                lambda network=network, length=length, batch=batch: patch_step(
                    network, picture, some, side=length, batch=batch
                ),
                share,
                GRID**2,
            )
    spent = interleaved({name: go for name, (go, *_) in ways.items()}, options.rounds)
    medians = {name: np.median(times, axis=0) * ways[name][1] for name, times in spent.items()}
    return [row(name, ways[name][2], medians[name], medians["picture"]) for name in ways]


def row(name: str, terms: int, seconds: np.ndarray, picture: np.ndarray) -> dict[str, Any]:
    """``seconds`` of the terms and ``picture`` of its hundred are (forward, backward)."""
    ratio = seconds[1] / terms / (picture[1] / GRID**2)
    patches = not name.startswith("picture")
    return {
        "way": name,
        "terms": terms,
        "forward": round(float(seconds[0]), 3),
        "backward": round(float(seconds[1]), 3),
        "picture_is_times_faster_backward": round(float(ratio), 2),
        "break_even_share": round(float(picture.sum() / seconds.sum()), 3) if patches else None,
    }


if __name__ == "__main__":
    main()
