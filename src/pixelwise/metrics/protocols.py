"""One set of label maps, many "mIoU"s: the rules that tools follow, each by its own name.

The same masks can score 65 and 96 by rules that are all called mean IoU. What differs is what a
class counts that is absent from the truth, whether counts are added over the set before the
division, and whether classes weigh the same. Every rule here is a function of integer counts per
image, so all of them come from one evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.errors import first_few, unknown_name
from pixelwise.metrics.scores import Floats, Tallies, iu, mean_iu, scores_of, tallies


class Protocol(NamedTuple):
    """A rule: (N, K) tallies in, one number out, NaN where the rule itself has no answer."""

    meaning: str
    source: str
    rule: Callable[[Tallies], float]


class ProtocolRow(NamedTuple):
    """A rule's answer for one set; ``reason`` tells why ``value`` is None."""

    name: str
    value: float | None
    reason: str


def protocol_rows(per_image: npt.ArrayLike) -> tuple[ProtocolRow, ...]:
    """Every rule's answer, None where it divides by nothing.

    Args:
        per_image: (N, K, K) whole numbers; rows are truth, columns are guesses.
    """
    tally = tallies(per_image, per_image=True)
    values = [(name, protocol.rule(tally)) for name, protocol in PROTOCOLS.items()]
    return tuple(
        ProtocolRow(name, value, "")
        if math.isfinite(value)
        else ProtocolRow(name, None, _why_nothing(name, tally.added()))
        for name, value in values
    )


def choose(names: Sequence[str]) -> tuple[str, ...]:
    """Known protocol names in the order of ``PROTOCOLS``; ``all`` stands for every one."""
    known = [*PROTOCOLS, "all"]
    for name in names:
        if name not in known:
            raise unknown_name("protocol", name, known)
    return tuple(name for name in PROTOCOLS if "all" in names or name in names)


def _why_nothing(name: str, total: Tallies) -> str:
    if not total.truth.sum():
        return "no pixel of the truth counts"
    if name == "foreground":
        return "no class but the background occurs"
    never = np.flatnonzero(total.truth + total.guess == 0)
    listed = first_few([str(i) for i in never], 10)
    return f"the rule takes the plain mean, and 0/0 of class {listed} (absent, never predicted)"


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


def _known_mean(values: Floats) -> float:
    return _mean(values[np.isfinite(values)])


def _paper(tally: Tallies) -> float:
    return scores_of(tally.added()).mean_iu


def _occurring(tally: Tallies) -> float:
    return _known_mean(iu(tally.added()))


def _micro(tally: Tallies) -> float:
    return _mean(iu(tally.added(None)))


PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(
        "mean IU over classes that occur in the truth; our mean_iu",
        "Long, Shelhamer, Darrell, arXiv 1411.4038v2, footnote 10",
        _paper,
    ),
    "score.py": Protocol(
        "mean IU over classes that occur in truth or guess; predicted but absent counts 0",
        "shelhamer/fcn.berkeleyvision.org score.py (nanmean); pytorch-fcn; mmsegmentation",
        _occurring,
    ),
    "detectron2": Protocol(
        "mean IU over classes that occur in the truth, as in the paper",
        "detectron2 SemSegEvaluator.evaluate, mIoU",
        _paper,
    ),
    "torchvision": Protocol(
        "plain mean IU over all K classes; not a number once a class never occurs",
        "torchvision references/segmentation/utils.py ConfusionMatrix, iu.mean()",
        lambda tally: _mean(iu(tally.added())),
    ),
    "torchmetrics-macro": Protocol(
        "mean IU over classes that occur in truth or guess",
        "torchmetrics MulticlassJaccardIndex(average='macro', ignore_index=255)",
        _occurring,
    ),
    "torchgeo-micro": Protocol(
        "hits over union, both added over classes; frequent classes rule",
        "TorchGeo SemanticSegmentationTask: torchmetrics JaccardIndex(average='micro')",
        _micro,
    ),
    "smp-macro": Protocol(
        "mean IU over all K classes; a class that never occurs counts 1",
        "segmentation_models_pytorch iou_score(reduction='macro'), zero_division=1",
        lambda tally: _mean(iu(tally.added(), nothing=1.0)),
    ),
    "smp-micro": Protocol(
        "hits over union, both added over classes",
        "segmentation_models_pytorch iou_score(reduction='micro')",
        _micro,
    ),
    "smp-macro-imagewise": Protocol(
        "mean over images and all K classes; a class absent from an image counts 1",
        "segmentation_models_pytorch iou_score(reduction='macro-imagewise'), zero_division=1",
        lambda tally: _mean(iu(tally, nothing=1.0)),
    ),
    "smp-micro-imagewise": Protocol(
        "hits over union per image, then the mean; an image of void counts 1",
        "segmentation_models_pytorch iou_score(reduction='micro-imagewise'), zero_division=1",
        lambda tally: _mean(iu(tally.added(1), nothing=1.0)),
    ),
    "absent-is-zero": Protocol(
        "mean IU over all K classes; a class that never occurs counts 0",
        "what np.nan_to_num(iu).mean() gives",
        lambda tally: _mean(iu(tally.added(), nothing=0.0)),
    ),
    "foreground": Protocol(
        "score.py's rule without class 0, the background",
        "common for medical and VOC object classes (FCN PAMI 2017, masking table)",
        lambda tally: _known_mean(iu(tally.added())[1:]),
    ),
    "per-image": Protocol(
        "per image the mean IU over the classes in its truth, then the mean over images",
        "after Csurka et al., What is a good evaluation measure for semantic segmentation?, 2013",
        lambda tally: _known_mean(mean_iu(tally)),
    ),
    "frequency-weighted": Protocol(
        "IU weighted by the class's share of the truth; our frequency_weighted_iu",
        "Long, Shelhamer, Darrell, CVPR 2015, section 5",
        lambda tally: scores_of(tally.added()).frequency_weighted_iu,
    ),
    "pixel-accuracy": Protocol(
        "pixels named rightly of all that count; our pixel_accuracy",
        "Long, Shelhamer, Darrell, CVPR 2015, section 5",
        lambda tally: scores_of(tally.added()).pixel_accuracy,
    ),
}
