"""Which terms of a loss are drawn, by cell and by pixel, against slower obvious ways."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from pixelwise.losses.sampling import nearest_cells, sampled
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net

VOID = 255


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, i]) for i in range(count)]


def test_cells_of_vgg16_lie_every_32_pixels_from_12_and_a_half() -> None:
    """fc6 is at x / 32 - 0.390625 of the picture (fact sheet 1.2), so cell i at 32 i + 12.5."""
    cells = nearest_cells(spec("fcn8s-vgg16", width=1 / 16), 500)
    assert cells.tolist() == [0] * 29 + [i for i in range(1, 15) for _ in range(32)] + [15] * 23


@pytest.mark.parametrize("name", ["fcn32s-alexnet", "fcn16s-googlenet-tight", "fcn4s-resnet18"])
@pytest.mark.parametrize("pixels", [1, 62, 70, 333])
def test_no_other_cell_is_nearer(name: str, pixels: int) -> None:
    net = spec(name, width=1 / 16)
    seen, count = net.sights[net.top].map, net.sizes(pixels)[net.top]
    centres = [seen.scale * i + seen.shift for i in range(count)]
    for pixel, cell in enumerate(nearest_cells(net, pixels)):
        assert abs(centres[cell] - pixel) == min(abs(c - Fraction(pixel)) for c in centres)


def test_pixels_of_one_cell_are_kept_or_left_out_together() -> None:
    net = spec("fcn8s-vgg16", width=1 / 16)
    labels = torch.ones((3, 100, 200), dtype=torch.uint8)
    some = sampled(labels, 0.5, generators(3), net=net, unit="cell")
    rows, columns = (nearest_cells(net, n) for n in (100, 200))
    seen = set()
    for i in range(3):
        for row in set(rows):
            for column in set(columns):
                cell = some[i][np.ix_(rows == row, columns == column)]
                assert len(cell.unique()) == 1
                seen.add((i, int(row), int(column), int(cell[0, 0])))
    assert len({value for *_, value in seen}) == 2
    assert not torch.equal(some[0], some[1])


@pytest.mark.parametrize(("unit", "draws"), [("cell", 64 * 6**2), ("pixel", 64 * 192**2)])
@pytest.mark.parametrize("keep", [0.25, 0.5])
def test_a_term_is_kept_with_its_probability(unit, draws: int, keep: float) -> None:
    """Within four standard deviations; 192 pixels are six of tiny's cells."""
    labels = torch.ones((64, 192, 192), dtype=torch.uint8)
    net = spec("fcn32s-tiny", width=1 / 16)
    some = sampled(labels, keep, generators(64), net=net, unit=unit)
    share = (some == 1).double().mean().item()
    assert abs(share - keep) < 4 * (keep * (1 - keep) / draws) ** 0.5


def test_pixels_are_drawn_one_by_one() -> None:
    net = spec("fcn32s-tiny", width=1 / 16)
    some = sampled(torch.ones((1, 64, 64)), 0.5, generators(1), net=net, unit="pixel")[0] == 1
    agree = (some[:, 1:] == some[:, :-1]).double().mean().item()
    assert abs(agree - 0.5) < 4 * (0.25 / (64 * 63)) ** 0.5


def test_void_stays_void_and_what_is_kept_stays_as_it_is() -> None:
    labels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    net = Net()
    net.top = net.conv("score", net.data(1), 2)
    some = sampled(labels, 0.5, generators(1), net=net, unit="cell")
    kept = some != VOID
    assert torch.equal(some[kept], labels[kept])
    assert some[0, 15, 15] == VOID
    assert 80 < int(kept.sum()) < 176
    assert torch.equal(sampled(labels, 1.0, generators(1), net=net, unit="pixel"), labels)
