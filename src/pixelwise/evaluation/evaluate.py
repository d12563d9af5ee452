"""From pairs of label maps to everything that is said about them, by one path.

A model's guesses and foreign label maps are scored by the same function. Integer counts per image
are kept, so that any protocol and any interval can be computed later without the masks.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, reduce
from html import escape
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError, UsageError
from pixelwise.metrics.bootstrap import Interval, bootstrap
from pixelwise.metrics.boundaries import Boundaries, boundaries
from pixelwise.metrics.confusion import Counts, confusion
from pixelwise.metrics.measured import MEASURES, SUMS, Measures
from pixelwise.metrics.protocols import PROTOCOLS, ProtocolRow, protocol_rows
from pixelwise.metrics.scores import (
    ClassRow,
    Majority,
    Scores,
    kappa,
    majority,
    mean_iu,
    per_class,
    scores,
    tallies,
)
from pixelwise.nets.kinds import CLASSES, Kind

_DRAWS = 1000  # bootstrap draws; the ends of the interval then move by about a tenth of its width
_LEVEL = 0.95


@dataclass(frozen=True)
class Pair:
    """Truth and guess of one image."""

    name: str
    truth: npt.NDArray[Any]
    """(H, W) whole numbers, 255 void; or (H, W, P) float32, NaN void."""
    guess: npt.NDArray[Any]
    """(H, W) whole numbers below K; or (H, W, P) float32."""


@dataclass(frozen=True)
class ImageRow:
    """One image's own scores; None where it has no pixel that counts."""

    name: str
    mean_iu: float | None
    """By the paper's rule, over the classes in this image's truth."""
    pixel_accuracy: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts of every image, and what is read off them."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    """Image names, in the order of ``image_counts``."""
    image_counts: npt.NDArray[Any]
    """(N, K, K) int32 (int64 for images of more than 2**31 pixels); rows truth, columns guess."""
    seconds_per_image: float | None = None
    """Mean time of prediction, when a model made the guesses."""
    trained_on: tuple[str, ...] | None = ()
    """Images among them that the model was trained on, as far as it says."""
    boundaries: Boundaries | None = None
    """Counts near edges, over the whole set."""
    heads: Mapping[str, Evaluation] = field(default_factory=dict)
    """Of a model with several heads each one's, by name; this one is the first's. Else empty."""
    kind: str = "classes"
    """Of what the head gives; of others than classes counts are (N, S) sums, for ``measures``."""

    def _repr_html_(self) -> str:
        """As notebooks show it: the four numbers, and each class's IU."""
        if self.measures:
            return escape(self.measures.sentence)
        four = {k.replace("_", " "): v for k, v in self.scores.as_dict().items()}
        rows = [*four.items(), *((row.name, row.iu) for row in self.per_class)]
        shown = (("n/a" if v is None else f"{100 * v:.1f} %") for _, v in rows)
        cells = zip((escape(name) for name, _ in rows), shown, strict=True)
        table = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in cells)
        return f"<table>{table}</table>"

    @cached_property
    def measures(self) -> Measures | None:
        """What is said of numbers and edges; None of classes."""
        rule = MEASURES.get(self.kind)
        return rule(self.image_counts.sum(0)) if rule else None

    @cached_property
    def counts(self) -> Counts:
        """(K, K) int64 over the whole set."""
        total: Counts = self.image_counts.sum(axis=0, dtype=np.int64)
        return total

    @cached_property
    def scores(self) -> Scores:
        """The paper's four numbers."""
        return scores(self.counts)

    @cached_property
    def kappa(self) -> float:
        """Cohen's, NaN where it cannot be said; hyperspectral papers give it beside the four."""
        return kappa(self.counts)

    @cached_property
    def majority(self) -> Majority:
        """What the largest class alone would get here."""
        return majority(self.counts, self.classes)

    @cached_property
    def per_class(self) -> tuple[ClassRow, ...]:
        """One row per class, with the reason for each gap."""
        return per_class(self.counts, self.classes)

    @cached_property
    def protocol_rows(self) -> tuple[ProtocolRow, ...]:
        """Every named protocol's answer."""
        return protocol_rows(self.image_counts)

    @cached_property
    def protocols(self) -> dict[str, float | None]:
        """Every named protocol's score, by name."""
        return {row.name: row.value for row in self.protocol_rows}

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """95 % bootstrap intervals over images, by statistic; empty without a counted pixel."""
        if not self.counts.any():
            return {}
        return {
            statistic: bootstrap(self.image_counts, statistic=statistic, draws=_DRAWS, level=_LEVEL)
            for statistic in ("mean_iu", "pixel_accuracy")
        }

    @cached_property
    def per_image(self) -> tuple[ImageRow, ...]:
        """Each image's own mean IU and pixel accuracy, in order."""
        tally = tallies(self.image_counts, per_image=True)
        sums = zip(mean_iu(tally), tally.hits.sum(1), tally.truth.sum(1), strict=True)
        return tuple(
            ImageRow(name, float(iu), float(hits / truth)) if truth else ImageRow(name, None, None)
            for name, (iu, hits, truth) in zip(self.names, sums, strict=True)
        )

    def as_dict(self, protocols: Collection[str] = tuple(PROTOCOLS)) -> dict[str, Any]:
        """Plain data for JSON: fractions and whole numbers, None for what cannot be said.

        Of several heads the first one's, and each one's under ``heads``; of the protocols those
        that are named.
        """
        several = {name: head.as_dict(protocols) for name, head in self.heads.items()}
        facts = {
            "images": len(self.names),
            "seconds_per_image": self.seconds_per_image,
            "trained_on": None if self.trained_on is None else list(self.trained_on),
            "classes": list(self.classes),
            **({"heads": several} if several else {}),
        }
        if own := self.measures:
            sums = zip(self.names, self.image_counts, strict=True)
            each = [{"name": name, **MEASURES[self.kind](one).as_dict()} for name, one in sums]
            return {"kind": self.kind, **own.as_dict(), **facts, "per_image": each}
        rows = [row for row in self.protocol_rows if row.name in protocols]
        return {
            **self.scores.as_dict(),
            "kappa": self.kappa if math.isfinite(self.kappa) else None,
            **(self.boundaries.as_dict() if self.boundaries else {}),
            "largest_class": self.majority.as_dict(),
            **facts,
            "per_class": [asdict(row) for row in self.per_class],
            "protocols": {row.name: row.value for row in rows},
            "protocol_reasons": {row.name: row.reason for row in rows if row.reason},
            "intervals": {
                "level": _LEVEL,
                "draws": _DRAWS,
                "over": "images",
                **{name: [i.low, i.high] for name, i in self.intervals.items()},
            },
            "confusion": self.counts.tolist(),
            "per_image": [asdict(row) for row in self.per_image],
        }


def evaluate(pairs: Iterable[Pair], classes: Sequence[str]) -> Evaluation:
    """Score label maps against the truth; nothing is dropped and nothing averaged per image.

    Args:
        pairs: truth and guess of each image, made one after the other; none is kept.
        classes: K class names.

    Raises:
        DataError: an image's sizes differ or its labels name no class; the message begins with
            the image's name.
    """
    return evaluate_heads(({"": pair} for pair in pairs), {"": classes})


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations by one model of parts of a set, in order, as that of the whole: to the last bit,
    but for the seconds.
    """
    first, edges = parts[0], [part.boundaries for part in parts if part.boundaries]
    seconds = sum((part.seconds_per_image or 0.0) * len(part.names) for part in parts)
    names = tuple(name for part in parts for name in part.names)
    seen = tuple(name for part in parts for name in part.trained_on or ())
    return replace(
        first,
        names=names,
        image_counts=np.concatenate([part.image_counts for part in parts]),
        seconds_per_image=None if first.seconds_per_image is None else seconds / len(names),
        trained_on=None if first.trained_on is None else seen,
        boundaries=reduce(operator.add, edges) if edges else None,
        heads={head: joined([part.heads[head] for part in parts]) for head in first.heads},
    )


def evaluate_heads(
    pairs: Iterable[Mapping[str, Pair]],
    classes: Mapping[str, Sequence[str]],
    kinds: Mapping[str, Kind] = MappingProxyType({}),
) -> Evaluation:
    """Score several label maps of each image at once; pairs, class names and kinds are by head.

    Raises:
        DataError: as ``evaluate``.
    """
    names: list[str] = []
    tables: dict[str, list[npt.NDArray[Any]]] = {head: [] for head in classes}
    named = {head: kinds.get(head, CLASSES).kind for head in classes}
    edges: dict[str, Boundaries] = {}
    for by_head in pairs:
        for head, pair in by_head.items():
            if sums := SUMS.get(named[head]):
                tables[head].append(sums(pair.truth, pair.guess))
                continue
            try:
                counts = confusion(pair.truth, pair.guess, len(classes[head]))
                near = boundaries(pair.truth, pair.guess, len(classes[head]))
            except DataError as error:
                raise DataError(error.code, f"{pair.name}: {error}", error.hint) from None
            # 500 images of 150 classes take 45 MB so, and twice as much as int64.
            small = counts.max(initial=0) < 2**31
            tables[head].append(counts.astype(np.int32) if small else counts)
            edges[head] = edges[head] + near if head in edges else near
        names.append(pair.name)
    if not names:
        raise UsageError("U002", "no image was given to score (expected one or more)")
    heads = {
        head: Evaluation(
            *(tuple(own), tuple(names), np.stack(tables[head])),
            boundaries=edges.get(head),
            kind=named[head],
        )
        for head, own in classes.items()
    }
    first = next(iter(heads.values()))
    return replace(first, heads=heads) if len(heads) > 1 else first
