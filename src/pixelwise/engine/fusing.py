"""What a net's layers become when it is carried out for prediction: few computations, as data.

A convolution takes with it what follows and touches each of its numbers once: batch normalisation
(into the weights), a sum with a map that is already there, a ReLU, a 2x2 pool; and a fixed factor
before it. A crop, a dropout and a part of a concatenation are places in another map's memory.
``Network`` is the reference: both give the same scores up to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from pixelwise.engine.numbers import FLOAT32, Kind, Numbers
from pixelwise.engine.plan import CutUpsampling, coarse_scores, steps
from pixelwise.nets.joining import Concat, Crop, Sum
from pixelwise.nets.layers import BatchNorm, Conv, Dropout, Input, Relu, Scale
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool, Unpool
from pixelwise.nets.record import Layer


@dataclass(frozen=True)
class UnpoolByMaxima(Layer):
    """An unpooling that finds the maxima once more in what was pooled: a plan keeps no indices.

    It reads the values, the pooling's map, and the map that was pooled.
    """

    pool: MaxPool

    @property
    def kind(self) -> str:
        """What the table calls it."""
        return "Unpool"


@dataclass(frozen=True)
class Op:
    """One computation: a layer, and the layers that are folded into it."""

    layer: Layer
    name: str
    """The map that it gives: the last folded layer's."""
    inputs: tuple[str, ...]
    """The maps that ``layer`` reads; of some it takes the size alone, as the record says."""
    factor: str = ""
    """The layer of a fixed factor on the input."""
    norm: str = ""
    """The batch normalisation after a convolution."""
    added: str = ""
    """A map that is added before the ReLU."""
    ceiling: float | None = None
    """Where the ReLU is cut, infinity if nowhere; None: there is no ReLU."""
    pool: MaxPool | None = None

    @property
    def numbers_read(self) -> tuple[str, ...]:
        """The maps whose numbers it reads."""
        taken = dict(zip(self.layer.inputs, self.inputs, strict=True))
        read = (taken[name] for name in self.layer.reads)
        return (*read, *((self.added,) if self.added else ()))

    @property
    def folded(self) -> str:
        """What is folded in, in words."""
        relu = "" if self.ceiling is None else f"relu<{self.ceiling:g}".removesuffix("<inf")
        added, pool = self.added and f"+ {self.added}", "pool" if self.pool else ""
        parts = (self.factor and "factor", self.norm and "norm", added, relu, pool)
        return " ".join(part for part in parts if part)


class Place(NamedTuple):
    """Where a map lies that has no memory of its own: a part of another's."""

    source: str
    offset: int = 0
    """Row and column of the source on which its cell (0, 0) lies."""
    channel: int = 0
    """The source's channel in which it begins."""

    def within(self, outer: Place) -> Place:
        """The same place, of a source that lies in another map itself."""
        return Place(outer.source, self.offset + outer.offset, self.channel + outer.channel)


@dataclass(frozen=True)
class Plan:
    """The computations that lead to a net's scores before their last upsampling, in order."""

    net: Net
    ops: tuple[Op, ...]
    places: Mapping[str, Place]
    wanted: tuple[str, ...]
    """The maps that are asked for."""
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    """By map with memory, how its numbers are held, where that is not float32."""
    exact: frozenset[str] = frozenset()
    """Convolutions that compute in float32, whatever their maps hold."""

    @cached_property
    def writers(self) -> dict[str, list[str]]:
        """The computations that write each map with memory; a concatenation has several."""
        found: dict[str, list[str]] = {}
        for op in self.ops:
            found.setdefault(self.place(op.name).source, []).append(op.name)
        return found

    def place(self, name: str) -> Place:
        """The map with memory in which ``name`` lies; itself, if it has some."""
        found = Place(name)
        while found.source in self.places:
            found = found.within(self.places[found.source])
        return found

    def held(self, name: str) -> Numbers:
        """How the numbers of a map are held."""
        return self.numbers.get(self.place(name).source, FLOAT32)

    def computes_in(self, op: Op) -> Kind:
        """The kind of number in which a convolution multiplies."""
        return "float32" if op.name in self.exact else self.held(op.inputs[0]).kind


def plan(net: Net) -> Plan:
    """The plan of a net."""
    wanted = tuple(dict.fromkeys(coarse_scores(net).values()))
    writer = _Writer(net, wanted)
    for layer in writer.layers:
        writer.take(layer)
    return Plan(net, tuple(writer.ops), writer.places, wanted)


def leading_to(plan: Plan, wanted: Collection[str]) -> list[Op]:
    """The computations, in order, that some maps are made of; every input is among them."""
    needed = {plan.place(name).source for name in wanted}
    found: list[Op] = []
    for op in reversed(plan.ops):
        if isinstance(op.layer, Input) or plan.place(op.name).source in needed:
            needed.update(plan.place(name).source for name in op.numbers_read)
            found.append(op)
    return found[::-1]


def _without_indices(net: Net, layer: Layer) -> Layer:
    """A pooling that gives none, and an unpooling that needs none."""
    match layer:
        case MaxPool(indices=True):
            return replace(layer, indices=False)
        case Unpool():
            values, indices, pooled = layer.inputs
            pool = net.layers[indices.removesuffix(".indices")]
            assert isinstance(pool, MaxPool)
            return UnpoolByMaxima(layer.name, (values, pool.name, pooled), pool)
    return layer


class _Writer:
    """Goes through the layers once, in order; those that a convolution took are passed over."""

    def __init__(self, net: Net, wanted: tuple[str, ...]) -> None:
        self.net, self.wanted = net, wanted
        self.layers = [_without_indices(net, step.layer) for step in steps(net, wanted)]
        readers = Counter(source for layer in self.layers for source in layer.inputs)
        readers.update(wanted)
        self.sole = {
            source: layer
            for layer in self.layers
            for source in layer.inputs
            if readers[source] == 1 and source in layer.reads
        }
        self.readers = {
            name: [layer for layer in self.layers if name in layer.inputs] for name in net.channels
        }
        self.ops: list[Op] = []
        self.made: set[str] = set()
        self.taken: set[str] = set()
        self.factors: dict[str, str] = {}
        self.places: dict[str, Place] = {}

    def take(self, layer: Layer) -> None:
        if layer.name in self.taken:
            return
        match layer:
            case Dropout():
                self.places[layer.name] = Place(layer.inputs[0])
            case Crop() if self._only_added(layer.name):
                self.places[layer.name] = Place(layer.inputs[0], layer.offset)
            case Scale() if isinstance(self.sole.get(layer.name), Conv):
                self.factors[layer.name] = layer.inputs[0]  # its convolution will look it up
                return
            case Concat():
                self._concat(layer)
            case _:
                self._add(self._with_followers(Op(layer, layer.name, layer.inputs)))
        self.made.add(layer.name)

    def _add(self, op: Op) -> None:
        self.ops.append(op)
        self.made.add(op.name)

    def _only_added(self, name: str) -> bool:
        """Whether nobody looks beyond the map's own cells, where the source has others."""
        return all(isinstance(r, Sum | CutUpsampling) for r in self.readers[name])

    def _with_followers(self, op: Op) -> Op:
        if isinstance(op.layer, Conv):
            (source,) = op.inputs
            if source in self.factors:
                op = replace(op, inputs=(self.factors[source],), factor=source)
        elif not isinstance(op.layer, Sum):
            return op
        while (follower := self.sole.get(op.name)) and (longer := self._folded(op, follower)):
            self.taken.add(follower.name)
            op = replace(longer, name=follower.name)
        return op

    def _folded(self, op: Op, follower: Layer) -> Op | None:
        """The computation with its follower in it, or None if it cannot be."""
        if op.pool:
            return None
        match follower:
            case Relu() if op.ceiling is None:
                return replace(op, ceiling=follower.ceiling)
            case _ if not isinstance(op.layer, Conv):
                return None
            case BatchNorm() if not (op.norm or op.added) and op.ceiling is None:
                return replace(op, norm=follower.name)
            case Sum(coefficients=()) if len(follower.inputs) == 2 and op.ceiling is None:
                (other,) = (name for name in follower.inputs if name != op.name)
                return replace(op, added=other) if other in self.made and not op.added else None
            case MaxPool(kernel=2, stride=2, pad=0, dilation=1, indices=False):
                return replace(op, pool=follower)
        return None

    def _concat(self, layer: Concat) -> None:
        """Parts that nobody else reads are written where they are joined; else all are copied."""
        written = {op.name for op in self.ops}
        if not all(part in self.sole and part in written for part in layer.inputs):
            self._add(Op(layer, layer.name, layer.inputs))
            return
        channel = 0
        for part in layer.inputs:
            self.places[part] = Place(layer.name, channel=channel)
            channel += self.net.channels[part]
