"""Several systems on the same pictures: scores, paired differences, and where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from pixelwise.errors import UsageError
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.metrics.bootstrap import Difference, paired

STATISTICS = ("mean_iu", "pixel_accuracy")


@dataclass(frozen=True)
class PairOfSystems:
    """How two systems differ in one score."""

    first: str
    second: str
    statistic: str
    difference: Difference


@dataclass(frozen=True)
class Together:
    """One image in all systems."""

    name: str
    mean_ius: tuple[float, ...]
    """The image's own mean IU in each system, in their order."""

    @property
    def mean(self) -> float:
        """Over the systems: low where the image is hard for all."""
        return sum(self.mean_ius) / len(self.mean_ius)

    @property
    def spread(self) -> float:
        """From the worst system to the best."""
        return max(self.mean_ius) - min(self.mean_ius)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Systems that labelled the same pictures, in the order in which they were given.

    Raises:
        UsageError: U002 other images, classes or truths in one than in another.
    """

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]

    def __post_init__(self) -> None:
        first = self.evaluations[0]
        for name, other in zip(self.names, self.evaluations, strict=True):
            if (other.names, other.classes) != (first.names, first.classes):
                message = f"{name} was scored on other images or classes than {self.names[0]}"
                raise UsageError("U002", message, "score all on one split of one data set")

    @cached_property
    def differences(self) -> tuple[PairOfSystems, ...]:
        """Every pair of systems, with a 95 % interval from the same redrawn sets of images."""
        if not self.evaluations[0].counts.any():
            return ()
        systems = zip(self.names, self.evaluations, strict=True)
        return tuple(
            PairOfSystems(a, b, s, paired(one.image_counts, other.image_counts, statistic=s))
            for (a, one), (b, other) in combinations(systems, 2)
            for s in STATISTICS
        )

    @cached_property
    def images(self) -> tuple[Together, ...]:
        """The images that have a score, hardest first: by their mean over the systems."""
        rows = zip(*(e.per_image for e in self.evaluations), strict=True)
        together = [
            Together(row[0].name, tuple(float(r.mean_iu) for r in row if r.mean_iu is not None))
            for row in rows
            if row[0].mean_iu is not None  # void all over: in every system alike
        ]
        return tuple(sorted(together, key=lambda image: (image.mean, image.name)))

    def ends(self, each: int) -> tuple[list[Together], list[Together], list[Together]]:
        """The worst, the best, and of the others those on which the systems part most."""
        each = min(each, (len(self.images) + 1) // 2)
        worst, rest = list(self.images[:each]), self.images[each:]
        best = list(rest[::-1][:each])
        shown = {image.name for image in (*worst, *best)}
        others = [i for i in self.images if i.name not in shown and i.spread > 0]
        return worst, best, sorted(others, key=lambda i: -i.spread)[:each]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, fractions; images are hardest first."""
        systems = zip(self.names, self.evaluations, strict=True)
        return {
            "images": len(self.evaluations[0].names),
            "classes": list(self.evaluations[0].classes),
            "largest_class": self.evaluations[0].majority.as_dict(),
            "systems": [{"name": name, **_facts(e)} for name, e in systems],
            "differences": [
                {"first": d.first, "second": d.second, "statistic": d.statistic}
                | asdict(d.difference)
                for d in self.differences
            ],
            "per_image": [
                {"name": i.name, "mean_iu": dict(zip(self.names, i.mean_ius, strict=True))}
                for i in self.images
            ],
        }


def _facts(evaluation: Evaluation) -> dict[str, Any]:
    intervals = {name: [i.low, i.high] for name, i in evaluation.intervals.items()}
    ius = {row.name: row.iu for row in evaluation.per_class}
    return {
        **evaluation.scores.as_dict(),
        "intervals": intervals,
        "per_class": ius,
        "seconds_per_image": evaluation.seconds_per_image,
    }


def named(names: Sequence[str]) -> tuple[str, ...]:
    """Names that tell systems apart: those that occur twice get a number."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if names.count(name) == 1 else f"{name} {seen[name]}")
    return tuple(unique)


def best_of(values: Sequence[float | None]) -> float:
    """The largest that is known, NaN if none is."""
    known = [v for v in values if v is not None]
    return max(known) if known else float(np.nan)
