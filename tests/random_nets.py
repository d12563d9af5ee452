"""Nets of random layers, for what must hold of any."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Lrn, Relu, Scale
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool


@st.composite
def nets(draw: st.DrawFn, *, unpooling: bool = True) -> Net:
    """Layers of all kinds in any order, on a picture with or without a wide border."""
    net, number = Net(), iter(range(99))
    first = draw(st.sampled_from([0, 1, 30]))
    x = net.conv("first", net.data(2), 4, kernel=3, pad=first, relu="relu_first")
    for _ in range(draw(st.integers(1, 6))):
        i = next(number)
        kinds = [window, pool, residual, joined, pointwise, *([unpooled] if unpooling else [])]
        x = draw(st.sampled_from(kinds))(net, x, i, draw)
    net.score("score", x, 3)
    return net


def window(net: Net, x: str, i: int, draw: st.DrawFn) -> str:
    kernel = draw(st.sampled_from([1, 2, 3, 5, 7]))
    pad = draw(st.one_of(st.integers(0, kernel), st.tuples(st.integers(0, 3), st.integers(0, 3))))
    groups = draw(st.sampled_from([1, 2, net.channels[x]]))
    groups = groups if net.channels[x] % groups == 0 else 1
    width = groups * draw(st.integers(1, 3))
    stride, bn = draw(st.integers(1, 2)), draw(st.sampled_from(["", f"bn{i}"]))
    x = net.conv(f"conv{i}", x, width, kernel=kernel, stride=stride, pad=pad, groups=groups, bn=bn)
    x = bn or x
    ceiling = draw(st.sampled_from([None, math.inf, 0.5]))
    return x if ceiling is None else net.add(Relu(f"relu{i}", (x,), ceiling))


def pool(net: Net, x: str, i: int, draw: st.DrawFn) -> str:
    kernel, ceil = draw(st.integers(2, 3)), draw(st.booleans())
    if draw(st.booleans()):
        pad = draw(st.integers(0, 2))
        return net.add(MaxPool(f"pool{i}", (x,), 3, 1, pad, ceil=False, dilation=2))
    return net.max_pool(f"pool{i}", x, kernel, 2, draw(st.integers(0, 1)), ceil=ceil)


def residual(net: Net, x: str, i: int, draw: st.DrawFn) -> str:
    y = net.conv(f"a{i}", x, 4, kernel=3, pad=1, bn=f"bna{i}", relu=f"ra{i}")
    y = net.conv(f"b{i}", y, net.channels[x], kernel=3, pad=1)
    factors = draw(st.sampled_from([(), (0.5, 2.0)]))
    return net.add(Relu(f"r{i}", (net.sum(f"sum{i}", x, y, coefficients=factors),)))


def joined(net: Net, x: str, i: int, draw: st.DrawFn) -> str:
    a = net.conv(f"one{i}", x, draw(st.integers(1, 4)), relu=f"rone{i}")
    b = net.conv(f"three{i}", x, 3, kernel=3, pad=1)
    c = net.max_pool(f"side{i}", x, 3, 1, 1)
    return net.add(Concat(f"joined{i}", (a, b, draw(st.sampled_from([c, x])))))


def pointwise(net: Net, x: str, i: int, draw: st.DrawFn) -> str:
    layer = draw(st.sampled_from([Lrn(f"lrn{i}", (x,)), Scale(f"scale{i}", (x,), 0.5)]))
    return net.add(layer)


def unpooled(net: Net, x: str, i: int, draw: st.DrawFn) -> str:
    kernel, stride, pad = draw(st.sampled_from([(2, 2, 0), (2, 2, 1), (3, 3, 1), (2, 3, 0)]))
    ceil = draw(st.booleans())
    small = net.max_pool(f"pool{i}", x, kernel, stride, pad, ceil=ceil, indices=True)
    relu = draw(st.sampled_from(["", f"ra{i}"]))
    y = net.conv(f"a{i}", small, net.channels[x], kernel=3, pad=1, relu=relu)
    return net.unpool(f"back{i}", y, small)
