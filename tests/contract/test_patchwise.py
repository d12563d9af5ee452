"""Patch-wise training is loss sampling: the theorem of section 3.4, and footnote 2, in numbers.

Of an unpadded net the gradient of a whole picture is the sum of those of the patches, crops of one
receptive field with one label each; a part of the cells is a batch of those patches; shifts of up
to the stride reach every patch that the picture has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.data.sample import Sample
from pixelwise.data.transforms import Augmentation, apply
from pixelwise.engine.network import Network
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.unpadded import unpadded


def toy() -> Net:
    """A receptive field of 9 at stride 4, nothing padded; rounded up, a pool would add windows that
    reach beyond the picture."""
    net = Net()
    x = net.conv("conv1", net.data(2), 4, kernel=3, stride=2, relu="relu1")
    x = net.max_pool("pool1", x, ceil=False)
    net.top = net.conv("score", net.conv("conv2", x, 5, kernel=2, relu="relu2"), 3)
    assert (net.receptive_field, net.stride) == (9, 4)
    return net


def shaken(net: Net) -> Network:
    """Float64, random weights everywhere."""
    generator = torch.Generator().manual_seed(0)
    network = Network(net).double().eval()
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            draw = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(draw * math.sqrt(2 / fan))
    return network


def gradient(network: Network, terms: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Of the summed cross-entropy of all (picture, labels (h, w) of the cells, 255 void)."""
    network.zero_grad()
    for picture, labels in terms:
        scores = network(picture[None])
        F.cross_entropy(scores, labels[None], ignore_index=255, reduction="sum").backward()
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def patches(picture: Tensor, labels: Tensor, net: Net) -> list[tuple[Tensor, Tensor]]:
    """A crop of one receptive field, and one label, for each cell."""
    side, step = int(net.receptive_field), int(net.stride)
    return [
        (
            picture[:, step * i : step * i + side, step * j : step * j + side],
            labels[i : i + 1, j : j + 1],
        )
        for i in range(labels.shape[0])
        for j in range(labels.shape[1])
    ]


def drawn(net: Net, cells: tuple[int, int], bands: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    height, width = (int(net.receptive_field + net.stride * (n - 1)) for n in cells)
    picture = torch.randn(bands, height, width, generator=generator, dtype=torch.float64)
    return picture, torch.randint(0, classes, cells, generator=generator)


def difference(a: Tensor, b: Tensor) -> float:
    assert b.abs().max() > 1e-3
    return ((a - b).abs().max() / b.abs().max()).item()


NETS = {
    "toy": (toy, 2, 3, (4, 5)),
    "alexnet": (lambda: unpadded(spec("fcn32s-alexnet", classes=5, width=1 / 16)), 3, 5, (2, 3)),
    "vgg16": (lambda: unpadded(spec("fcn8s-vgg16", classes=5, width=1 / 16)), 3, 5, (1, 2)),
}


@pytest.mark.parametrize("name", NETS)
def test_the_gradient_of_a_picture_is_the_sum_of_its_patches(name: str) -> None:
    make, bands, classes, cells = NETS[name]
    network = shaken(make())
    picture, labels = drawn(network.net, cells, bands, classes)
    whole = gradient(network, [(picture, labels)])
    parts = patches(picture, labels, network.net)
    assert len(parts) == math.prod(cells)
    assert difference(whole, gradient(network, parts)) < 1e-10
    # and with a patch missing it is another
    assert difference(whole, gradient(network, parts[1:])) > 1e-3


def test_a_part_of_the_cells_is_a_batch_of_those_patches() -> None:
    network = shaken(toy())
    picture, labels = drawn(network.net, (6, 7), 2, 3)
    kept = torch.rand(labels.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    some = gradient(network, [(picture, labels.where(kept, 255))])
    flat = kept.flatten().tolist()
    chosen = [
        p for p, keep in zip(patches(picture, labels, network.net), flat, strict=True) if keep
    ]
    assert 0 < len(chosen) < len(flat)
    assert difference(some, gradient(network, chosen)) < 1e-10


def test_shifts_of_up_to_the_stride_recover_every_patch() -> None:
    """Footnote 2: the pictures shifted by 0 to 3 pixels hold each window of 9x9 exactly once."""
    network = shaken(toy())
    generator = torch.Generator().manual_seed(3)
    picture = torch.randn(2, 23, 21, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (23, 21), generator=generator)
    centres = labels[4 : 23 - 4, 4 : 21 - 4]  # of the 15x13 windows, nine long
    shifted = [
        (picture[:, down:, right:], centres[down::4, right::4])
        for down in range(4)
        for right in range(4)
    ]
    every = [
        (picture[:, i : i + 9, j : j + 9], centres[i : i + 1, j : j + 1])
        for i in range(15)
        for j in range(13)
    ]
    assert difference(gradient(network, shifted), gradient(network, every)) < 1e-10
    assert difference(gradient(network, shifted[1:]), gradient(network, every)) > 1e-3


def test_jitter_of_half_a_stride_reaches_every_place_of_the_grid() -> None:
    """augment.jitter=16 shifts by -16 to 16: all 32 x 32 residues, about equally often."""
    rows, columns = np.mgrid[0:96, 0:96]
    where = np.stack([rows, columns], axis=2).astype(np.uint8)
    sample = Sample("grid", where, {"labels": np.zeros((96, 96), np.uint8)})
    shifts = Counter()
    for i in range(4000):
        rng = np.random.default_rng(i)
        moved = apply(sample, Augmentation(mirror=False, jitter=16), rng).image
        shifts[tuple((moved[48, 48].astype(int) - 48) % 32)] += 1
    assert len(shifts) > 0.95 * 32 * 32
    for axis in (0, 1):
        counts = Counter()
        for shift, count in shifts.items():
            counts[shift[axis]] += count
        # 33 shifts for 32 residues: 16 and -16 are one
        assert counts.pop(16) / 4000 == pytest.approx(2 / 33, abs=0.02)
        assert len(counts) == 31
        assert min(counts.values()) > 4000 / 33 * 0.7
