"""Weights for the same net with strides lowered and filters longer (section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from pixelwise.nets.net import Net


def rarefied(tensors: Mapping[str, Tensor], net: Net) -> dict[str, Tensor]:
    """Tensors by name as ``net``, made by ``nets.lower_stride``, has them."""
    shapes = net.parameter_shapes()
    return {
        name: spread(t, shapes[name]) if spreads(tuple(t.shape), shapes.get(name, ())) else t
        for name, t in tensors.items()
    }


def spreads(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    """Whether filters k x k, k > 1, or fully connected ones, are wanted several times as long."""
    if len(want) != 4 or math.prod(have) % math.prod(want[:2]):
        return False
    area = math.prod(have) // math.prod(want[:2])
    kernel = math.isqrt(area)
    flat = len(have) == 2 or have[:2] == (1, 1)
    alike = have == (*want[:2], kernel, kernel) or (flat and have[-2] == want[0])
    return alike and area == kernel**2 and want[-1] > kernel > 1 and want[-1] % kernel == 0


def spread(filters: Tensor, shape: tuple[int, ...]) -> Tensor:
    """f'[i, j] = f[i/s, j/s] where s divides both, else 0 (paper, section 3.2)."""
    short = math.isqrt(filters.numel() // math.prod(shape[:2]))
    longer, step = filters.new_zeros(shape), shape[-1] // short
    longer[..., ::step, ::step] = filters.reshape(*shape[:2], short, short)
    return longer
