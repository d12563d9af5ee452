"""Which cells see the picture, against what changes when the picture does."""

from __future__ import annotations

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.engine.fusing import plan
from pixelwise.engine.network import Network
from pixelwise.engine.spans import Span, axis, blank_length, from_blank
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net


def test_fcn8s_of_500_pixels_by_hand() -> None:
    made = plan(spec("fcn8s-vgg16"))
    found = axis(made, 500)
    # conv1_1 pads 100 and reaches 1: cells 98 and 601 - 1 are the first and last that see a pixel.
    assert found.computed["relu1_1"] == (98, 600)
    # conv1_2 sees 97..601 of 698; pool1 takes pairs from 96 on, so that 96..602 are convolved.
    assert found.computed["pool1"] == (48, 301)
    assert found.convolved["pool1"] == (96, 602)
    assert found.computed["pool3"] == (10, 78)
    assert found.computed["pool4"] == (3, 41)
    assert found.computed["pool5"] == (0, 22)
    assert found.sizes["pool3"] == 88
    # score_pool3c begins at 9 and is 70 long: of pool3 cell 9 is constant.
    assert found.stored["score_pool3"] == (9, 79)


def test_the_tight_geometry_has_nothing_to_skip() -> None:
    made = plan(spec("fcn8s-vgg16-tight"))
    found = axis(made, 500, whole=True)
    assert not any(found.constant(made, op.name) for op in made.ops)


def toy() -> Net:
    """Strides, uneven pads, pools of both roundings, a residual and a skip, on a wide border."""
    net = Net()
    x = net.conv("a", net.data(2), 3, kernel=3, pad=(17, 14), relu="ra")
    y = net.conv("b", x, 3, kernel=5, pad=2, stride=2, relu="rb")
    z = net.sum("s", y, net.conv("c", y, 3, kernel=3, pad=1))
    p = net.max_pool("p", z, 3, 2, 1, ceil=False)
    q = net.max_pool("q", net.conv("d", p, 4, kernel=2, pad=(1, 0), relu="rd"))
    net.conv("e", q, 2, kernel=3, pad=1)
    return net


@pytest.mark.parametrize("size", [(1, 1), (2, 23), (13, 40), (37, 18)])
def test_what_changes_with_the_picture_is_computed_and_little_else(size: tuple[int, int]) -> None:
    net = toy()
    torch.manual_seed(0)
    network = Network(net).double().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.uniform_(-1, 1)
    made = plan(net)
    rows, columns = (axis(made, n) for n in size)
    names = [op.name for op in made.ops]
    blank = network.activations(torch.zeros(1, 2, *size).double(), names)
    felt = {n: torch.zeros_like(m[0, 0], dtype=torch.bool) for n, m in blank.items()}
    for _ in range(20):
        seen = network.activations(100 * torch.randn(1, 2, *size).double(), names)
        for name in names:
            felt[name] |= (seen[name] != blank[name])[0].any(0)
    for name in names:
        y, x = felt[name].nonzero(as_tuple=True)
        for cells, along in ((y, rows), (x, columns)):
            span = along.computed[name]
            assert span.first <= int(cells.min())
            assert int(cells.max()) < span.end
            # With a pool the convolution is rounded to whole windows; nowhere is more computed.
            assert int(cells.min()) - span.first <= 1
            assert span.end - 1 - int(cells.max()) <= 1


@pytest.mark.parametrize("name", ["fcn8s-vgg16", "fcn32s-alexnet", "fcn4s-googlenet"])
def test_a_small_blank_picture_has_every_constant_of_a_large_one(name: str) -> None:
    network = build(name, width=1 / 16).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.uniform_(-1, 1) if p.dim() > 1 else p.uniform_(-0.1, 1)
    made = plan(network.net)
    height, width = 261, 178
    rows, columns = axis(made, height), axis(made, width)
    needed = [
        op.name
        for op in made.ops
        if rows.constant(made, op.name) or columns.constant(made, op.name)
    ]
    sizes = [blank_length(made, a, needed) for a in (rows, columns)]
    assert max(sizes) < 64
    small = [axis(made, n, whole=True) for n in sizes]
    blank = network.activations(torch.zeros(1, 3, *sizes).double(), needed)
    large = network.activations(torch.zeros(1, 3, height, width).double(), needed)
    for key in needed:
        picked = [
            from_blank(s, a, key, Span(0, a.sizes[key]))
            for s, a in zip(small, (rows, columns), strict=True)
        ]
        mapped = blank[key][0][:, picked[0]][:, :, picked[1]]
        for along, axis_of_map in ((rows, 1), (columns, 2)):
            span = along.computed[key]
            rest = [i for i in range(along.sizes[key]) if not span.first <= i < span.end]
            index = torch.tensor(rest, dtype=torch.long)
            a, b = (m.index_select(axis_of_map, index) for m in (mapped, large[key][0]))
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    assert needed


def test_blank_pictures_are_as_long_as_their_rims() -> None:
    made = plan(spec("fcn8s-vgg16"))
    needed = [op.name for op in made.ops if axis(made, 500).constant(made, op.name)]
    assert blank_length(made, axis(made, 500), needed) == 20  # 500 = 15 * 32 + 20
