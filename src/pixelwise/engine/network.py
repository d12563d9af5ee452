"""A spec carried out: ``Network`` is a torch module whose parameter names are the layer names.

Weights of Caffe nets therefore match by name, and surgery between stages needs no table. What each
kind of record becomes is said once, in ``make``; ``Network.forward`` is a walk over the records.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.plan import CutUpsampling, Step, records, steps
from pixelwise.engine.response_norm import neighbours, normalise
from pixelwise.engine.upsampling import Window, bilinear_kernel, phases, upsample
from pixelwise.errors import unknown_name
from pixelwise.nets import spec
from pixelwise.nets.net import Net


class Network(nn.Module):
    """Carries out a net.

    ``forward`` takes pictures (N, C, H, W), float and preprocessed, and returns what the net's last
    layer gives: scores (N, K, H, W) for a segmentation net. Maps are dropped after their last use.
    Upsampling that is cropped is computed by the crop's module (``steps.py``): a hook on
    ``upscore8`` sees nothing in a forward pass; ``activations`` gives its map.

    Args:
        net: the net as data.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self._steps = steps(net, net.outputs.values())
        for layer in records(net).values():
            if layer.inputs:
                self.add_module(layer.name, make(layer, net.given_channels(layer)))
        self.float()  # whatever the process's default is: checkpoints and exactness count on it

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, B, H, W) to the output of the only head, or of each head by its name."""
        outputs = self.net.outputs
        maps = self._run(self._steps, x, set(outputs.values()))
        named = {head: maps[layer] for head, layer in outputs.items()}
        return named if len(named) > 1 else maps[self.net.output]

    def activations(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The maps of the named layers; what does not lead to them is not computed.

        Raises:
            UsageError: no such layer; similar names are listed.
        """
        for name in names:
            if name not in self.net.layers:
                raise unknown_name("layer", name, tuple(self.net.layers))
        return self._run(steps(self.net, names), x, set(names))

    def _run(self, plan: Sequence[Step], x: Tensor, wanted: set[str]) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        for step in plan:
            name, inputs = step.layer.name, step.layer.inputs
            try:
                maps[name] = self._modules[name](*(maps[s] for s in inputs)) if inputs else x  # type: ignore[misc]
            except Exception as error:
                error.add_note(f"in layer {name} ({type(step.layer).__name__})")
                raise
            if name in wanted:
                found[name] = maps[name]
            for source in step.drops:
                del maps[source]
        return found


def filled(net: Net, tensors: Mapping[str, Tensor]) -> Network:
    """The net with these parameters as its own, in evaluation: nothing is drawn, nothing copied.

    Args:
        net: what to build.
        tensors: exactly its state dict.
    """
    with torch.device("meta"):
        module = Network(net)
    module.load_state_dict(dict(tensors), assign=True)
    with torch.device("cpu"):
        for name, layer in records(net).items():
            buffers = module.get_submodule(name).buffers() if layer.inputs else ()
            if any(b.is_meta for b in buffers):  # computed from the record, in no state dict
                module.add_module(name, make(layer, net.given_channels(layer)))
    return module.eval()


# -- what each kind of record becomes ----------------------------------------------------------
@singledispatch
def make(layer: spec.Layer, given: tuple[int, ...]) -> nn.Module:
    """The module for a record whose inputs have ``given`` channels."""
    raise TypeError(f"no module for {layer} on {given} channels")


@make.register
def _(layer: spec.Conv, given: tuple[int, ...]) -> nn.Module:
    conv = nn.Conv2d(
        given[0],
        layer.width,
        layer.kernel,
        layer.stride,
        layer.pad,
        layer.dilation,
        layer.groups,
        layer.bias,
    )
    match layer.init:
        case "zero":
            nn.init.zeros_(conv.weight)
        case "he":
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


@make.register
def _(layer: spec.Deconv, given: tuple[int, ...]) -> nn.Module:
    if layer.learned:
        return LearnedUpsampling(given[0], layer.kernel, layer.stride, layer.edge)
    return FixedUpsampling(layer.kernel, layer.stride, layer.edge)


@make.register
def _(layer: CutUpsampling, given: tuple[int, ...]) -> nn.Module:
    del given
    whole = layer.upsampling
    return FixedUpsampling(whole.kernel, whole.stride, whole.edge, layer.crop.offset)


@make.register
def _(layer: spec.MaxPool, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.MaxPool2d(layer.kernel, layer.stride, layer.pad, ceil_mode=layer.ceil)


@make.register
def _(layer: spec.AvgPool, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.AvgPool2d(layer.kernel, layer.stride, ceil_mode=True)


@make.register
def _(layer: spec.GlobalAvgPool, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return nn.AdaptiveAvgPool2d(1)


@make.register
def _(layer: spec.Relu, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.ReLU() if math.isinf(layer.ceiling) else nn.Hardtanh(0.0, layer.ceiling)


@make.register
def _(layer: spec.Lrn, given: tuple[int, ...]) -> nn.Module:
    return AcrossChannelNorm(layer, given[0])


@make.register
def _(layer: spec.BatchNorm, given: tuple[int, ...]) -> nn.Module:
    return nn.BatchNorm2d(given[0], eps=layer.eps)


@make.register
def _(layer: spec.Dropout, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.Dropout(layer.p)


@make.register
def _(layer: spec.Scale, given: tuple[int, ...]) -> nn.Module:
    return FixedScale(given[0], layer.value)


@make.register
def _(layer: spec.Softmax, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return nn.Softmax(dim=1)


@make.register
def _(layer: spec.Crop, given: tuple[int, ...]) -> nn.Module:
    del given
    return CropLike(layer.offset)


@make.register
def _(layer: spec.Sum, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return SumMaps()


@make.register
def _(layer: spec.Concat, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return ConcatChannels()


# -- modules that torch does not have ----------------------------------------------------------
class FixedUpsampling(nn.Module):
    """A bilinear deconvolution that is never trained and stands in no state dict.

    Given a second map, it computes the window of that map's size that begins at ``offset``.
    """

    shares: Tensor

    def __init__(self, kernel: int, stride: int, edge: spec.Edge, offset: int = 0) -> None:
        super().__init__()
        self.kernel, self.edge, self.offset = kernel, edge, offset
        self.register_buffer("shares", phases(kernel, stride).float(), persistent=False)

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """(N, K, h, w) to (N, K, s(h-1)+k, s(w-1)+k) or the window.

        In the wider dtype of map and module: float32 unless the module itself was cast.
        """
        window = None if like is None else Window(self.offset, self.offset, *like.shape[-2:])
        return upsample(x, self.shares, self.kernel, self.edge, window)


class LearnedUpsampling(nn.Module):
    """A dense deconvolution that starts as the bilinear one, with the same treatment of the rim."""

    def __init__(self, channels: int, kernel: int, stride: int, edge: spec.Edge) -> None:
        super().__init__()
        self.stride, self.edge = stride, edge
        self.weight = nn.Parameter(bilinear_kernel(kernel, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, K, h, w) to (N, K, s(h-1)+k, s(w-1)+k)."""
        s = self.stride
        if self.edge == "fade":
            return F.conv_transpose2d(x, self.weight, stride=s)
        held = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(held, self.weight, stride=s)[..., s:-s, s:-s]


class FixedScale(nn.Module):
    """A factor per channel that is stored but not trained (Caffe's Scale with lr_mult 0)."""

    weight: Tensor

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), scaled."""
        return x * self.weight[:, None, None]


class AcrossChannelNorm(nn.Module):
    """Caffe's local response normalisation."""

    near: Tensor

    def __init__(self, layer: spec.Lrn, channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("near", neighbours(layer.window, channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), normalised over neighbouring channels."""
        return normalise(x, self.near, self.layer)


class CropLike(nn.Module):
    """The window of the first map from ``offset`` on, of the second map's size."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """(N, K, H, W) and (.., h, w) to (N, K, h, w); narrow, unlike a slice, never gives less."""
        h, w = like.shape[-2:]
        return x.narrow(-2, self.offset, h).narrow(-1, self.offset, w)


class SumMaps(nn.Module):
    """Elementwise sum."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps of one shape to their sum; a map of one cell is not spread over the others."""
        if any(x.shape != maps[0].shape for x in maps):
            raise RuntimeError(f"cannot add maps of shapes {[tuple(x.shape) for x in maps]}")
        total = maps[0]
        for x in maps[1:]:
            total = total + x
        return total


class ConcatChannels(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C_i, h, w) to (N, sum C_i, h, w)."""
        return torch.cat(maps, dim=1)
