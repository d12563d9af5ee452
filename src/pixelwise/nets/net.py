"""A net written down: layers in order, and all that follows from them.

``Net`` is the builder in which the functions of the catalogue write (``net.conv(...)``,
``net.pool(...)``), each method returning the new layer's name. What follows (channels, sizes,
sights, parameters) is kept beside it, and a net whose maps do not align refuses to be written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from pixelwise import geometry
from pixelwise.errors import UsageError
from pixelwise.geometry import Pad
from pixelwise.nets import layers
from pixelwise.nets.joining import Crop, Sum
from pixelwise.nets.kinds import CLASSES, Kind
from pixelwise.nets.layers import Edge, Init
from pixelwise.nets.pooling import MaxPool, Unpool
from pixelwise.nets.record import Layer, Sight


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
        auxiliaries: outputs that only training has, by name; ``nets.heads.auxiliary``.
        kinds: what each head gives, by the data's names of them; those that are not named, classes.
        stream: what is added to names at present (``scope``).
    """

    layers: dict[str, Layer] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    top: str = ""
    heads: dict[str, str] = field(default_factory=dict)
    auxiliaries: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    stream: str = ""

    # -- the vocabulary a net is written in ---------------------------------------------------
    def add(self, layer: Layer) -> str:
        """Append a record whose inputs exist; derives its channels and sight."""
        layer = replace(layer, name=layer.name + self.stream)
        if layer.name in self.layers:
            raise UsageError("U002", f"layer {layer.name} is already in the net")
        missing = [name for name in layer.inputs if name not in self.channels]
        if missing:
            raise UsageError(
                "U002", f"layer {layer.name} reads {missing}, which come later or never"
            )
        # Derived before anything is stored: a refused layer leaves no trace.
        sight = layer.sight(tuple(self.sights[name] for name in layer.inputs))
        channels = layer.channels(self.given_channels(layer))
        self.channels |= dict.fromkeys(layer.outputs, channels)
        self.sights |= dict.fromkeys(layer.outputs, sight)
        self.layers[layer.name] = layer
        return layer.name

    @contextmanager
    def scope(self, stream: str) -> Iterator[None]:
        """Inside, names of layers end in ``stream``, and ``input`` is the input of that name.

        So a trunk can stand twice in a net, with the released names of late fusion
        (``conv1_1color`` and ``conv1_1hha`` in nyud-fcn32s-color-hha).
        """
        outer, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = outer

    def rename(self, old: str, new: str) -> None:
        """Give a layer of one map another name, wherever it is named."""
        if new in self.channels:
            raise UsageError("U002", f"layer {new} is already in the net")

        def names(known: Iterable[str]) -> tuple[str, ...]:
            return tuple(new if name == old else name for name in known)

        layers = [replace(layer, inputs=names(layer.inputs)) for layer in self.layers.values()]
        self.layers = {
            name: replace(layer, name=name)
            for name, layer in zip(names(self.layers), layers, strict=True)
        }
        self.channels = dict(zip(names(self.channels), self.channels.values(), strict=True))
        self.sights = dict(zip(names(self.sights), self.sights.values(), strict=True))
        self.heads = dict(zip(self.heads, names(self.heads.values()), strict=True))
        (self.top,) = names([self.top])

    def given_channels(self, layer: Layer) -> tuple[int, ...]:
        """Channels of a layer's inputs."""
        return tuple(self.channels[name] for name in layer.inputs)

    def data(self, bands: int, name: str = "data") -> str:
        """The picture; called again with another name, the bands that follow in the stack."""
        return self.add(layers.Input(name, (), bands))

    def conv(
        self,
        name: str,
        src: str,
        width: int,
        kernel: int = 1,
        stride: int = 1,
        pad: Pad = 0,
        groups: int = 1,
        *,
        dilation: int = 1,
        bias: bool = True,
        init: Init = "he",
        bn: str = "",
        eps: float = 1e-5,
        relu: str = "",
        cut: float = math.inf,
    ) -> str:
        """A convolution, then what is named of its batch normalisation and its ReLU."""
        bias = bias and not bn  # the normalisation subtracts it, and adds its own
        window = (kernel, stride, pad, groups, dilation)
        x = self.add(layers.Conv(name, (src,), width, *window, bias, init))
        if bn:
            x = self.add(layers.BatchNorm(bn, (x,), eps))
        return self.add(layers.Relu(relu, (x,), cut)) if relu else x

    def max_pool(
        self,
        name: str,
        src: str,
        kernel: int = 2,
        stride: int = 2,
        pad: Pad = 0,
        *,
        ceil: bool = True,
        indices: bool = False,
    ) -> str:
        """Max pooling."""
        return self.add(MaxPool(name, (src,), kernel, stride, pad, ceil, indices))

    def unpool(self, name: str, src: str, pool: str) -> str:
        """``src``, a map of the size of ``pool``'s, set among zeros where its maxima stood.

        A pool without indices is refused, and one whose windows overlap, so that two values could
        want one place (UsageError).
        """
        layer = self.layers.get(pool)
        if not isinstance(layer, MaxPool) or not layer.indices or layer.kernel > layer.stride:
            raise UsageError(
                "U002",
                f"{name}: {pool} is no max pooling with indices whose windows are apart",
                "net.max_pool(..., indices=True), its kernel no longer than its stride",
            )
        sources = (src, layer.outputs[1], layer.inputs[0])
        return self.add(Unpool(name, sources, layer.kernel, layer.stride, layer.pad))

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
                return self.add(layers.Upsample(name, (src,), kernel, by, learned, edge))
        raise UsageError("U002", f"{name}: no bilinear kernel aligns {src} with {like}")

    def crop(self, name: str, src: str, *, like: str) -> str:
        """Cut ``src`` to the frame of ``like``; the offset is computed, never typed."""
        offset = geometry.crop_offset(self.sights[src].map, self.sights[like].map)
        return self.add(Crop(name, (src, like), offset))

    def sum(self, name: str, *sources: str, coefficients: Sequence[float] = ()) -> str:
        """Elementwise sum, each map times its coefficient where there are any."""
        return self.add(Sum(name, sources, tuple(coefficients)))

    # -- what follows -------------------------------------------------------------------------
    @property
    def inputs(self) -> dict[str, int]:
        """Name of each input to its bands; in this order they lie in the stacked picture."""
        return {name: self.channels[name] for name, r in self.layers.items() if not r.inputs}

    @property
    def input(self) -> str:
        """Name of the first input, or of the map that has all their bands (``data``).

        Within a scope of an input's name it is that one.
        """
        if self.stream in self.layers:
            return self.stream
        return "data" if "data" in self.layers else next(iter(self.layers))

    @property
    def outputs(self) -> dict[str, str]:
        """Name of each head to its layer; a net that declares none has its last layer alone."""
        last = next(reversed(self.layers))
        return self.heads or {last: last}

    @property
    def in_training(self) -> Net:
        """The same layers with the auxiliaries among the heads."""
        return replace(self, heads={**self.outputs, **self.auxiliaries})

    @property
    def output(self) -> str:
        """The layer of the only head; several are refused (UsageError)."""
        if len(self.outputs) > 1:
            raise UsageError(
                "U002", f"the net has several heads: {', '.join(self.outputs)}", "name one of them"
            )
        return next(iter(self.outputs.values()))

    def kind(self, head: str) -> Kind:
        """What a head gives."""
        return self.kinds.get(head, CLASSES)

    def only_classes(self, what: str) -> None:
        """Refuse what is made of classes where a head gives numbers (UsageError)."""
        for head, kind in self.kinds.items():
            if kind.measured:
                problem = f"{what}: head `{head}` gives {kind.kind}, expected classes"
                raise UsageError("U002", problem, "--save labels,overlay,scores has the numbers")

    def name_heads(self, names: Sequence[str]) -> None:
        """Call the outputs what the data calls them, in order; several have their names already.

        Raises:
            UsageError: U002 another number of outputs, or other names.
        """
        mine, theirs = tuple(self.outputs), tuple(names)
        if len(mine) != len(theirs) or (len(mine) > 1 and mine != theirs):
            listed = "one head" if len(mine) == 1 else f"the heads {', '.join(mine)}"
            wanted = f"the net has {listed}, expected {', '.join(theirs)}"
            raise UsageError("U002", wanted, f"--set heads={','.join(mine)}")
        self.heads = dict(zip(theirs, self.outputs.values(), strict=True))

    def frame(self, height: int, width: int, head: str | None = None) -> Frame:
        """The part of a picture of ``height`` x ``width`` that a head's output covers.

        Losses and metrics compare the output with this part of the labels; valid convolutions
        leave a margin around it. None is the only head.

        Raises:
            UsageError: the output is coarse, lies between pixels, or reaches out of the picture;
                the picture is too small.
        """
        layer = self.output if head is None else self.outputs[head]
        seen = self.sights[layer].map
        frame = Frame(int(seen.shift), self.sizes(height)[layer], self.sizes(width)[layer])
        problem = ""
        if seen.scale != 1 or seen.shift.denominator != 1 or seen.shift < 0:
            problem = f"cells of {layer} lie at {seen} of the picture, expected each on a pixel"
        elif frame.offset + frame.height > height or frame.offset + frame.width > width:
            problem = f"{layer} ends beyond a picture of {height}x{width} ({frame})"
        if problem:
            raise UsageError("U002", problem, "crop the output to the frame of the input")
        return frame

    def sizes(self, length: int) -> dict[str, int]:
        """Length of every map along one axis for an input of ``length`` pixels.

        A layer whose output would be empty is refused by its name (UsageError).
        """
        lengths: dict[str, int] = {}
        for layer in self.layers.values():
            given = tuple(lengths[name] for name in layer.inputs)
            size = layer.size(given) if given else length
            if size < 1:
                raise UsageError(
                    "U002",
                    f"{layer.name} has no output for an input of {length} px",
                    "use a larger picture, or the geometry with padding",
                )
            lengths |= dict.fromkeys(layer.outputs, size)
        return lengths

    def crops(self) -> dict[str, int]:
        """Crop layer to offset."""
        return {n: r.offset for n, r in self.layers.items() if isinstance(r, Crop)}

    def parameter_shapes(self, *, stored: bool = False) -> dict[str, tuple[int, ...]]:
        """ "<layer>.<array>" to shape, for everything that can be trained.

        With ``stored`` also for what a weights file holds beside: running statistics, fixed scales.
        """
        return {
            f"{name}.{array}": shape
            for name, layer in self.layers.items()
            for rule in ((layer.parameters, layer.stored) if stored else (layer.parameters,))
            for array, shape in rule(self.given_channels(layer)).items()
        }

    def parameters(self, *, upsampling: bool = False) -> int:
        """Number of parameters; as the paper counts them, without the upsampling layers.

        With ``upsampling`` the kernels of the deconvolutions are counted as Caffe stores them
        (dense, classes x classes x k x k), whether they are fixed or learned.
        """
        return sum(
            layer.parameters_in_caffe(self.given_channels(layer))
            for layer in self.layers.values()
            if upsampling or not layer.upsamples
        )

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds of every layer for one picture."""
        rows, columns = self.sizes(height), self.sizes(width)
        return {
            name: layer.macs(self.given_channels(layer), rows[name] * columns[name])
            for name, layer in self.layers.items()
        }

    @property
    def stride(self) -> Fraction:
        """Input pixels between two cells of the coarsest map: FCN's top, a decoder's bottom."""
        return max(seen.map.scale for seen in self.sights.values())

    @property
    def receptive_field(self) -> float:
        """Input pixels that a cell of the top layer sees, along one axis."""
        return self.sights[self.top].field

    @property
    def depth(self) -> int:
        """Convolutions on the longest path to the top layer: the paper's count of layers."""
        depth: dict[str, int] = {}
        for layer in self.layers.values():
            below = max((depth[source] for source in layer.inputs), default=0)
            depth |= dict.fromkeys(layer.outputs, below + layer.convolves)
        return depth[self.top]
