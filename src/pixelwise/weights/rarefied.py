"""Weights of a net for the same net with strides lowered and filters longer (section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pixelwise.nets.net import Net


def rarefied(tensors: Mapping[str, Tensor], net: Net) -> dict[str, Tensor]:
    """Tensors by name as ``net``, made by ``nets.lower_stride``, has them.

    A filter that became s times as long is f'[i, j] = f[i/s, j/s] where s divides both, else 0
    (paper, section 3.2); all else stays as it is.
    """
    shapes = net.parameter_shapes()
    return {name: _spread(tensor, shapes.get(name, ())) for name, tensor in tensors.items()}


def _spread(filters: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) != 4 or shape == filters.shape or shape[-1] % filters.shape[-1]:
        return filters
    step = shape[-1] // filters.shape[-1]
    longer = filters.new_zeros(shape)
    longer[..., ::step, ::step] = filters
    return longer
