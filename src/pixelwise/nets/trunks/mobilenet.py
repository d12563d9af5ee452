"""MobileNetV2 (Sandler et al. 2018, table 2), with our own names and torchvision's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pixelwise.geometry import Pad
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# kernel, expansion, channels, repeats, stride of the first repeat
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (3, 6, 32, 3, 2),
    (3, 6, 64, 4, 2),
    (3, 6, 96, 3, 1),
    (3, 6, 160, 3, 2),
    (3, 6, 320, 1, 1),
)


def mobilenetv2(net: Net, width: float, geometry: Geometry) -> Trunk:
    """Up to the 1280-channel features; skips are the last blocks of their strides."""
    return inverted_residuals(net, width, geometry, STAGES, lambda *_: 1, top="conv18")


def inverted_residuals(
    net: Net,
    width: float,
    geometry: Geometry,
    stages: Iterable[tuple[int, int, int, int, int]],
    pad_of: Callable[[int, int, int], Pad],
    *,
    top: str,
    eps: float = 1e-5,
) -> Trunk:
    """A trunk of blocks that expand 1x1, filter per channel and project 1x1 linearly.

    A block is added to its input where that is alike. ``stages`` are as above, ``pad_of`` gives the
    padding of a window by its kernel, its stride and that of the map before it, ``top`` names the
    last convolution, ``eps`` is batch norm's.
    """

    def conv(
        name: str,
        src: str,
        channels: int,
        kernel: int = 1,
        step: int = 1,
        pad: Pad = 0,
        of: int = 1,
    ) -> str:
        norm, relu = f"{name}/bn", f"{name}/relu"
        window = (kernel, step, pad, of)
        return net.conv(name, src, channels, *window, bn=norm, eps=eps, relu=relu, cut=6.0)

    x = conv("conv1", net.input, scaled(32, width), 3, 2, pad_of(3, 2, 1))
    number, stride, last = 0, 2, {}
    for kernel, expansion, channels, repeats, first_stride in stages:
        for i in range(repeats):
            number += 1
            block, src, step = f"block{number}", x, first_stride if i == 0 else 1
            hidden, pad = expansion * net.channels[src], pad_of(kernel, step, stride)
            if expansion != 1:
                x = conv(f"{block}_expand", x, hidden)
            x = conv(f"{block}_dwise", x, hidden, kernel, step, pad, hidden)
            project = f"{block}_project"
            x = net.conv(project, x, scaled(channels, width), bn=f"{project}/bn", eps=eps)
            if step == 1 and net.channels[src] == net.channels[x]:
                x = net.sum(block, src, x)
            stride *= step
            last[stride] = Skip(block, x)
    x = conv(top, x, scaled(1280, width))
    if geometry == "published":
        x = net.add(GlobalAvgPool("pool", (x,)))
    return Trunk(x, last, tight=True)
