"""One set of label maps, many "mIoU"s: the rules that tools follow, each by its own name.

The same masks can score 65 and 96 by rules that are all called mean IoU. What differs is what a
class counts that is absent from the truth, whether counts are added over the set before the
division, and whether classes weigh the same. Every rule here is a function of integer counts per
image, so all of them come from one evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.errors import UsageError, unknown_name

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tallies:
    """What all rules need of (N, K, K) counts, in (N, K): all else cancels."""

    hits: Ints
    """Pixels of a class named rightly, per image."""
    truth: Ints
    """Pixels of a class in the truth, per image."""
    guess: Ints
    """Pixels given to a class, per image."""

    def total(self) -> tuple[Ints, Ints, Ints]:
        """Hits, truth and guess over the whole set, each (K,)."""
        return self.hits.sum(0), self.truth.sum(0), self.guess.sum(0)


@dataclass(frozen=True)
class Protocol:
    """A rule: counts per image in, one number out, NaN where the rule itself has no answer."""

    name: str
    meaning: str
    source: str
    rule: Callable[[Tallies], float]


@dataclass(frozen=True)
class ProtocolRow:
    """A rule's answer for one set; ``reason`` tells why ``value`` is None."""

    name: str
    value: float | None
    reason: str
    meaning: str
    source: str


def protocol_scores(per_image: npt.ArrayLike) -> dict[str, float | None]:
    """Every rule's score, by name; None where the rule divides by nothing.

    Args:
        per_image: (N, K, K) whole numbers; rows are truth, columns are guesses.
    """
    return {row.name: row.value for row in protocol_rows(per_image)}


def protocol_rows(
    per_image: npt.ArrayLike, names: Sequence[str] = ("all",)
) -> tuple[ProtocolRow, ...]:
    """The chosen rules' answers with meaning, source and the reason for each None.

    Args:
        per_image: (N, K, K) whole numbers; rows are truth, columns are guesses.
        names: keys of ``PROTOCOLS``, or ``all``.
    """
    tally = tallies(per_image)
    return tuple(_answer(PROTOCOLS[name], tally) for name in choose(names))


def choose(names: Sequence[str]) -> tuple[str, ...]:
    """Known protocol names in the order of ``PROTOCOLS``; ``all`` stands for every one."""
    known = [*PROTOCOLS, "all"]
    for name in names:
        if name not in known:
            raise unknown_name("protocol", name, known)
    return tuple(name for name in PROTOCOLS if "all" in names or name in names)


def tallies(per_image: npt.ArrayLike) -> Tallies:
    """Hits, truth and guess per image and class of (N, K, K) counts, as int64."""
    counts = np.asarray(per_image)
    if counts.ndim != 3 or counts.shape[1] != counts.shape[2] or counts.dtype.kind not in "iu":
        raise UsageError(
            "U002",
            f"counts per image are (N, K, K) whole numbers, not {counts.dtype} {counts.shape}",
            "for one count over the whole set use counts[None]",
        )
    hits = np.diagonal(counts, axis1=1, axis2=2).astype(np.int64)
    return Tallies(hits, counts.sum(2, dtype=np.int64), counts.sum(1, dtype=np.int64))


def _answer(protocol: Protocol, tally: Tallies) -> ProtocolRow:
    value = protocol.rule(tally)
    known = math.isfinite(value)
    reason = "" if known else _why_nothing(protocol, tally)
    return ProtocolRow(
        protocol.name, value if known else None, reason, protocol.meaning, protocol.source
    )


def _why_nothing(protocol: Protocol, tally: Tallies) -> str:
    _, truth, guess = tally.total()
    if not truth.sum():
        return "no pixel of the truth counts"
    if protocol.name == "foreground":
        return "no class but the background occurs"
    never = np.flatnonzero(truth + guess == 0)
    listed = ", ".join(str(i) for i in never[:10]) + (", ..." if never.size > 10 else "")
    return f"the rule takes the plain mean, and 0/0 of class {listed} (absent, never predicted)"


def _iu(hits: Ints, truth: Ints, guess: Ints, nothing: float) -> Floats:
    """Intersection over union; ``nothing`` stands for 0/0, a class neither there nor predicted."""
    union = truth + guess - hits
    iu: Floats = np.divide(hits, union, out=np.full(union.shape, nothing), where=union > 0)
    return iu


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


def _paper(tally: Tallies) -> float:
    hits, truth, guess = tally.total()
    return _mean(_iu(hits, truth, guess, math.nan)[truth > 0])


def _occurring(tally: Tallies) -> float:
    hits, truth, guess = tally.total()
    return _mean(_iu(hits, truth, guess, math.nan)[truth + guess > 0])


def _foreground(tally: Tallies) -> float:
    hits, truth, guess = (part[1:] for part in tally.total())
    return _mean(_iu(hits, truth, guess, math.nan)[truth + guess > 0])


def _plain_mean(tally: Tallies) -> float:
    return _mean(_iu(*tally.total(), nothing=math.nan))


def _absent_is_zero(tally: Tallies) -> float:
    return _mean(_iu(*tally.total(), nothing=0.0))


def _absent_is_one(tally: Tallies) -> float:
    return _mean(_iu(*tally.total(), nothing=1.0))


def _imagewise_absent_is_one(tally: Tallies) -> float:
    return _mean(_iu(tally.hits, tally.truth, tally.guess, nothing=1.0))


def _imagewise_micro(tally: Tallies) -> float:
    sums = (tally.hits.sum(1), tally.truth.sum(1), tally.guess.sum(1))
    return _mean(_iu(*sums, nothing=1.0))


def iu_per_image(tally: Tallies) -> Floats:
    """(N,) mean IU of each image over the classes in its own truth; NaN where all is void."""
    seen = tally.truth > 0
    iu = np.where(seen, _iu(tally.hits, tally.truth, tally.guess, nothing=0.0), 0.0)
    count = seen.sum(1)
    mean: Floats = np.divide(iu.sum(1), count, out=np.full(len(iu), np.nan), where=count > 0)
    return mean


def _per_image(tally: Tallies) -> float:
    scores = iu_per_image(tally)
    return _mean(scores[np.isfinite(scores)])


def _micro(tally: Tallies) -> float:
    hits, truth, guess = (int(part.sum()) for part in tally.total())
    return hits / (truth + guess - hits) if truth else math.nan


def _frequency_weighted(tally: Tallies) -> float:
    hits, truth, guess = tally.total()
    if not truth.sum():
        return math.nan
    return float((truth * _iu(hits, truth, guess, nothing=0.0)).sum() / truth.sum())


def _pixel_accuracy(tally: Tallies) -> float:
    hits, truth, _ = tally.total()
    return float(hits.sum() / truth.sum()) if truth.sum() else math.nan


_RULES = (
    Protocol(
        "paper",
        "mean IU over classes that occur in the truth; our mean_iu",
        "Long, Shelhamer, Darrell, arXiv 1411.4038v2, footnote 10",
        _paper,
    ),
    Protocol(
        "score.py",
        "mean IU over classes that occur in truth or guess; predicted but absent counts 0",
        "shelhamer/fcn.berkeleyvision.org score.py (nanmean); pytorch-fcn; mmsegmentation",
        _occurring,
    ),
    Protocol(
        "detectron2",
        "mean IU over classes that occur in the truth, as in the paper",
        "detectron2 SemSegEvaluator.evaluate, mIoU",
        _paper,
    ),
    Protocol(
        "torchvision",
        "plain mean IU over all K classes; not a number once a class never occurs",
        "torchvision references/segmentation/utils.py ConfusionMatrix, iu.mean()",
        _plain_mean,
    ),
    Protocol(
        "torchmetrics-macro",
        "mean IU over classes that occur in truth or guess",
        "torchmetrics MulticlassJaccardIndex(average='macro', ignore_index=255)",
        _occurring,
    ),
    Protocol(
        "torchgeo-micro",
        "hits over union, both added over classes; frequent classes rule",
        "TorchGeo SemanticSegmentationTask: torchmetrics JaccardIndex(average='micro')",
        _micro,
    ),
    Protocol(
        "smp-macro",
        "mean IU over all K classes; a class that never occurs counts 1",
        "segmentation_models_pytorch iou_score(reduction='macro'), zero_division=1",
        _absent_is_one,
    ),
    Protocol(
        "smp-micro",
        "hits over union, both added over classes",
        "segmentation_models_pytorch iou_score(reduction='micro')",
        _micro,
    ),
    Protocol(
        "smp-macro-imagewise",
        "mean over images and all K classes; a class absent from an image counts 1",
        "segmentation_models_pytorch iou_score(reduction='macro-imagewise'), zero_division=1",
        _imagewise_absent_is_one,
    ),
    Protocol(
        "smp-micro-imagewise",
        "hits over union per image, then the mean; an image of void counts 1",
        "segmentation_models_pytorch iou_score(reduction='micro-imagewise'), zero_division=1",
        _imagewise_micro,
    ),
    Protocol(
        "absent-is-zero",
        "mean IU over all K classes; a class that never occurs counts 0",
        "what np.nan_to_num(iu).mean() gives",
        _absent_is_zero,
    ),
    Protocol(
        "foreground",
        "score.py's rule without class 0, the background",
        "common for medical and VOC object classes (FCN PAMI 2017, masking table)",
        _foreground,
    ),
    Protocol(
        "per-image",
        "per image the mean IU over the classes in its truth, then the mean over images",
        "after Csurka et al., What is a good evaluation measure for semantic segmentation?, 2013",
        _per_image,
    ),
    Protocol(
        "frequency-weighted",
        "IU weighted by the class's share of the truth; our frequency_weighted_iu",
        "Long, Shelhamer, Darrell, CVPR 2015, section 5",
        _frequency_weighted,
    ),
    Protocol(
        "pixel-accuracy",
        "pixels named rightly of all that count; our pixel_accuracy",
        "Long, Shelhamer, Darrell, CVPR 2015, section 5",
        _pixel_accuracy,
    ),
)

PROTOCOLS: dict[str, Protocol] = {rule.name: rule for rule in _RULES}
