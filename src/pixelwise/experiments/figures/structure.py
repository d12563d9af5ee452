"""What the diagrams show of a net, read from its spec: trunk, levels, joins and their terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from pixelwise.nets.joining import Crop, Sum
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net
from pixelwise.nets.record import Layer

MOST_SLABS = 16  # of one row: VGG16's convolutions and its scores, as many as can be lettered


class Term(NamedTuple):
    """The layer that a map of a join is read from or scores, and how often it is enlarged."""

    source: str
    by: int = 1


@dataclass(frozen=True)
class Join:
    """A layer that adds something finer to what comes from the coarsest map."""

    layer: str
    kind: str
    """Of its record: Sum, Concat or Unpool."""
    terms: tuple[Term, ...]
    """Coarse to fine; of a sum of scores every score that is in it."""


@dataclass(frozen=True)
class Head:
    """The way from the coarsest map to an output."""

    output: str
    bottom: str
    joins: tuple[Join, ...]
    terms: tuple[Term, ...]
    """Of the coarsest map."""
    scored: bool
    """Whether the coarsest map is scores already: then each join ends in a prediction."""


def head(net: Net, output: str) -> Head:
    """Read one of a net's outputs."""
    layers = below(net, output)
    bottom = _bottom(net, layers)
    trunk, deep, joins = set(below(net, bottom)), {bottom}, []
    for name in layers:
        record = net.layers[name]
        coarse = [source for source in record.reads if source in deep]
        if name in trunk or not coarse:
            continue
        deep.add(name)
        if fine := [source for source in record.reads if source not in deep]:
            joins.append(Join(name, record.kind, _terms_of(net, record, coarse[0], fine[0])))
    scores = _linear(net, bottom)
    scored = all(net.layers[term.source].zero_start for term in scores)
    return Head(output, bottom, tuple(joins), _read_from(net, scores), scored)


def below(net: Net, layer: str) -> list[str]:
    """``layer`` and all that it is computed of, in the order of execution."""
    wanted = {layer}
    for name in reversed(net.layers):
        if name in wanted:
            wanted |= {_owner(source) for source in net.layers[name].reads}
    return [name for name in net.layers if name in wanted]


def chain(net: Net, start: str, end: str) -> list[str]:
    """The layers through which everything passes from ``start`` to ``end``."""
    between, last = [start], {start: 0}
    for name in below(net, end):
        sources = {_owner(source) for source in net.layers[name].reads} & last.keys()
        if sources:
            last |= dict.fromkeys(sources, len(between))
            last[name] = len(between)
            between.append(name)
    reach, through = 0, []
    for place, name in enumerate(between):
        if reach <= place:  # no edge from before it leads past it
            through.append(name)
        reach = max(reach, last[name])
    return through


def streams(net: Net, end: str) -> dict[str, list[str]]:
    """By input the chain to ``end``: of early fusion one, of late fusion one for each input."""
    roots = [name for name in below(net, end) if not net.layers[name].inputs]
    first = "data" if "data" in net.layers else roots[0]
    return {root: chain(net, root, end) for root in ([first] if first == "data" else roots)}


def slabs(net: Net, layers: Sequence[str]) -> list[str]:
    """Those of a chain that are drawn as maps: convolutions and joins, thinned if too many."""
    shown = [n for n in layers[1:] if net.layers[n].convolves or len(net.layers[n].reads) > 1]

    for told in (lambda n: (scale_of(net, n), net.channels[n]), lambda n: scale_of(net, n)):
        if len(shown) > MOST_SLABS:  # of neighbours that are alike the last one stays
            ends = set(shown[-2:])
            pairs = zip(shown, [*shown[1:], shown[-1]], strict=True)
            shown = [n for n, after in pairs if n in ends or told(n) != told(after)]
    return shown


def levels(net: Net, layers: Sequence[str], heads: Sequence[Head]) -> list[str]:
    """The input, one map for each further stride of a chain, and what the scores are made of.

    For a stride the map that a skip reads, else the first one.
    """
    parts = [part for h in heads for part in (h.terms, *(j.terms for j in h.joins))]
    read = {term.source for part in parts for term in part}
    shown: dict[Fraction, str] = {}
    for name in layers[1:]:
        scale, here = scale_of(net, name), named(net, name)
        if scale not in shown or (here in read and shown[scale] not in read):
            shown[scale] = here
    ends = {t.source for h in heads for t in h.terms if h.scored and t.source in layers}
    coarsest = max(shown)
    first = next(named(net, n) for n in layers[1:] if scale_of(net, n) == coarsest)
    end = [n for n in layers if n in ends]
    finer = [n for s, n in shown.items() if s != coarsest and (s > 1 or n in read)]
    return list(dict.fromkeys([layers[0], *finer, first, *end]))


def named(net: Net, layer: str) -> str:
    """The nearest layer, at or before this one, that is not pointwise: of ``relu5`` conv5."""
    record = net.layers[_owner(layer)]
    if getattr(record, "kernel", 0) or len(record.reads) != 1:
        return record.name
    return named(net, record.reads[0])


def scale_of(net: Net, layer: str) -> Fraction:
    """Pixels of the input between two cells."""
    return net.sights[layer].map.scale


def _bottom(net: Net, layers: Sequence[str]) -> str:
    """The map that is first brought to a finer grid; the last one where none is."""
    for name in layers:
        for source in net.layers[name].reads[:1]:
            if scale_of(net, source) > scale_of(net, name):
                return source
    return layers[-1]


def _terms_of(net: Net, record: Layer, coarse: str, fine: str) -> tuple[Term, ...]:
    if isinstance(record, Sum):
        return _read_from(net, _linear(net, record.name))
    scale, enlarged = scale_of(net, record.name), coarse
    while scale_of(net, enlarged) <= scale:
        enlarged = net.layers[enlarged].reads[0]
    by = round(scale_of(net, enlarged) / scale)
    return Term(named(net, enlarged), by), Term(named(net, fine))


def _linear(net: Net, layer: str) -> list[Term]:
    """What a map is a sum of, as far as sums, crops and upsampling lead."""
    record = net.layers[layer]
    if not isinstance(record, Sum | Crop | Upsample):
        return [Term(layer)]
    by = record.stride if isinstance(record, Upsample) else 1
    return [Term(t.source, t.by * by) for s in record.reads for t in _linear(net, s)]


def _read_from(net: Net, terms: Sequence[Term]) -> tuple[Term, ...]:
    """Scores by the layer that was scored."""
    scored = {t: net.layers[t.source] for t in terms}
    read = [(r.inputs[0] if r.zero_start else t.source, t.by) for t, r in scored.items()]
    return tuple(Term(named(net, source), by) for source, by in read)


def _owner(name: str) -> str:
    """The layer that gives a map: a pooling's indices are its own."""
    return name.removesuffix(".indices")
