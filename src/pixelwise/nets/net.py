"""A net written down: layers in order, and all that follows from them.

``Net`` is the builder in which the functions of the catalogue write (``net.conv(...)``,
``net.pool(...)``), each method returning the new layer's name. What follows (channels, sizes,
sights, parameters) is kept beside it, and a net whose maps do not align refuses to be written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from pixelwise import geometry
from pixelwise.errors import UsageError
from pixelwise.nets import spec
from pixelwise.nets.spec import Edge, Init, Layer, Sight


class Frame(NamedTuple):
    """The part of a picture that an output covers, one cell a pixel."""

    offset: int
    """Row and column of the picture on which the output's cell (0, 0) lies: the margin."""
    height: int
    width: int


@dataclass
class Net:
    """Named layers with their channels and sights.

    Attributes:
        layers: name to record, in order of execution.
        channels: name to number of channels.
        sights: name to what a cell sees of the input.
        top: the layer whose stride and receptive field the paper's table gives: the last one
            before any upsampling (``score_fr``; the classifier of a classification net).
        heads: name of each output to its layer; empty for a net of one output, its last layer.
    """

    layers: dict[str, Layer] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    top: str = ""
    heads: dict[str, str] = field(default_factory=dict)

    # -- the vocabulary a net is written in ---------------------------------------------------
    def add(self, layer: Layer) -> str:
        """Append a record whose inputs exist; derives its channels and sight."""
        if layer.name in self.layers:
            raise UsageError("U002", f"layer {layer.name} is already in the net")
        missing = [name for name in layer.inputs if name not in self.layers]
        if missing:
            raise UsageError(
                "U002", f"layer {layer.name} reads {missing}, which come later or never"
            )
        given = tuple(self.sights[name] for name in layer.inputs)
        sight = layer.sight(given) if given else Sight()
        self.channels[layer.name] = layer.channels(self.given_channels(layer))
        self.sights[layer.name] = sight
        self.layers[layer.name] = layer
        return layer.name

    def given_channels(self, layer: Layer) -> tuple[int, ...]:
        """Channels of a layer's inputs."""
        return tuple(self.channels[name] for name in layer.inputs)

    def data(self, channels: int, name: str = "data") -> str:
        """The picture."""
        return self.add(spec.Input(name, (), channels))

    def conv(
        self,
        name: str,
        src: str,
        width: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        bias: bool = True,
        init: Init = "he",
    ) -> str:
        """A convolution without activation."""
        layer = spec.Conv(name, (src,), width, kernel, stride, pad, groups, 1, bias, init)
        return self.add(layer)

    def conv_relu(
        self,
        name: str,
        src: str,
        width: int,
        *,
        relu: str,
        kernel: int = 3,
        stride: int = 1,
        pad: int = 1,
        groups: int = 1,
    ) -> str:
        """A convolution and its ReLU; returns the ReLU's name."""
        x = self.conv(name, src, width, kernel=kernel, stride=stride, pad=pad, groups=groups)
        return self.add(spec.Relu(relu, (x,)))

    def max_pool(
        self,
        name: str,
        src: str,
        kernel: int = 2,
        stride: int = 2,
        pad: int = 0,
        *,
        ceil: bool = True,
    ) -> str:
        """Max pooling."""
        return self.add(spec.MaxPool(name, (src,), kernel, stride, pad, ceil))

    def score(self, name: str, src: str, classes: int) -> str:
        """A 1x1 scoring layer, zero at the start (paper, section 4.3)."""
        return self.conv(name, src, classes, init="zero")

    def upsample(
        self, name: str, src: str, by: int, *, like: str, learned: bool = False, edge: Edge = "fade"
    ) -> str:
        """Bilinear upsampling by ``by``, with the kernel that can be aligned with ``like``.

        The usual kernel is 2 * by; where the trunk's grid asks for the other parity (AlexNet,
        GoogLeNet, ResNet) it is 2 * by - 1 (fact sheet 1.6: parity is forced by alignment).
        """
        for kernel in (2 * by, 2 * by - 1):
            sight = self.sights[src].through_deconv(kernel, by, 0)
            offset = geometry.relative_offset(sight.map, self.sights[like].map)
            if offset.denominator == 1:
                return self.add(spec.Deconv(name, (src,), kernel, by, learned, edge))
        raise UsageError("U002", f"{name}: no bilinear kernel aligns {src} with {like}")

    def crop(self, name: str, src: str, *, like: str) -> str:
        """Cut ``src`` to the frame of ``like``; the offset is computed, never typed."""
        offset = geometry.crop_offset(self.sights[src].map, self.sights[like].map)
        return self.add(spec.Crop(name, (src, like), offset))

    def sum(self, name: str, *sources: str) -> str:
        """Elementwise sum."""
        return self.add(spec.Sum(name, sources))

    # -- what follows -------------------------------------------------------------------------
    @property
    def input(self) -> str:
        """Name of the first layer, the picture."""
        return next(iter(self.layers))

    @property
    def inputs(self) -> dict[str, int]:
        """Name of each input to its bands; in this order they lie in the stacked picture."""
        return {n: self.channels[n] for n, r in self.layers.items() if not r.inputs}

    @property
    def outputs(self) -> dict[str, str]:
        """Name of each head to its layer; a net that declares none has its last layer alone."""
        last = next(reversed(self.layers))
        return self.heads or {last: last}

    @property
    def output(self) -> str:
        """The layer of the only head.

        Raises:
            UsageError: there are several.
        """
        if len(self.outputs) > 1:
            raise UsageError(
                "U002", f"the net has several heads: {', '.join(self.outputs)}", "name one of them"
            )
        return next(iter(self.outputs.values()))

    def frame(self, height: int, width: int, head: str | None = None) -> Frame:
        """The part of a picture of ``height`` x ``width`` that a head's output covers.

        Valid convolutions leave a margin on all sides. Its width follows from where the output's
        first cell lies; losses and metrics compare the output with this part of the labels.

        Args:
            height: rows of the picture.
            width: its columns.
            head: one of ``outputs``; None for the only one.

        Raises:
            UsageError: the output is coarse, lies between pixels or beyond the picture, or the
                picture is too small.
        """
        layer = self.output if head is None else self.outputs[head]
        seen = self.sights[layer].map
        rows, columns = self.sizes(height)[layer], self.sizes(width)[layer]
        offset = seen.shift
        fits = offset >= 0 and offset + rows <= height and offset + columns <= width
        if seen.scale != 1 or offset.denominator != 1 or not fits:
            raise UsageError(
                "U002",
                f"{layer} gives {rows}x{columns} cells at {seen} of a picture of {height}x{width}, "
                "expected a window of its pixels",
                "crop the output to the frame of the input",
            )
        return Frame(int(offset), rows, columns)

    def sizes(self, length: int) -> dict[str, int]:
        """Length of every map along one axis for an input of ``length`` pixels.

        Raises:
            UsageError: a layer's output would be empty; names the layer.
        """
        found: dict[str, int] = {}
        for layer in self.layers.values():
            given = tuple(found[name] for name in layer.inputs)
            size = layer.size(given) if given else length
            if size < 1:
                raise UsageError(
                    "U002",
                    f"{layer.name} has no output for an input of {length} px",
                    "use a larger picture, or the geometry with padding",
                )
            found[layer.name] = size
        return found

    def crops(self) -> dict[str, int]:
        """Crop layer to offset."""
        return {n: r.offset for n, r in self.layers.items() if isinstance(r, spec.Crop)}

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """ "<layer>.<array>" to shape, for everything that can be trained."""
        return {
            f"{name}.{array}": shape
            for name, layer in self.layers.items()
            for array, shape in layer.parameters(self.given_channels(layer)).items()
        }

    def parameters(self, *, upsampling: bool = False) -> int:
        """Number of parameters; as the paper counts them, without the upsampling layers.

        With ``upsampling`` the kernels of the deconvolutions are counted as Caffe stores them
        (dense, classes x classes x k x k), whether they are fixed or learned.
        """
        total = 0
        for layer in self.layers.values():
            if isinstance(layer, spec.Deconv):
                k = self.channels[layer.name]
                total += k * k * layer.kernel**2 if upsampling else 0
            else:
                shapes = layer.parameters(self.given_channels(layer)).values()
                total += sum(math.prod(shape) for shape in shapes)
        return total

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds of every layer for one picture."""
        rows, columns = self.sizes(height), self.sizes(width)
        return {
            name: layer.macs(self.given_channels(layer), rows[name] * columns[name])
            for name, layer in self.layers.items()
        }

    @property
    def stride(self) -> Fraction:
        """Input pixels between two cells of the top layer."""
        return self.sights[self.top].map.scale

    @property
    def receptive_field(self) -> float:
        """Input pixels that a cell of the top layer sees, along one axis."""
        return self.sights[self.top].field

    @property
    def depth(self) -> int:
        """Convolutions on the longest path to the top layer: the paper's count of layers."""
        depth: dict[str, int] = {}
        for name, layer in self.layers.items():
            below = max((depth[source] for source in layer.inputs), default=0)
            depth[name] = below + isinstance(layer, spec.Conv)
        return depth[self.top]
