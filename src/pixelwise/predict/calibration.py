"""How sure a model is on a data set, and the temperature that fits it (Guo et al., ICML 2017)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Sample, content
from pixelwise.errors import first_few
from pixelwise.evaluation.on_dataset import check_classes
from pixelwise.folders import CALIBRATION
from pixelwise.labels import VOID
from pixelwise.machine.files import write_json
from pixelwise.metrics.confidence import Confidence, confidence, temperature
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores as scores_of
from pixelwise.predict.model import Model
from pixelwise.predict.on_data import heads_of

log = logging.getLogger(__name__)

SCORES = 2**25
"""That a temperature is fitted to, of pixels evenly taken of all: 256 MB in float64."""
Labels = NDArray[np.integer[Any]]


def judged(
    model: Model, dataset: DataSet, split: str, watch: Callable[[], object] = lambda: None
) -> dict[str, dict[str, Any]]:
    """By head ``Confidence.as_dict`` on a split, and the scores of what ``reject`` keeps.

    Of a model with a temperature also what it is without, as ``uncalibrated``. Pictures, labels and
    errors are those of ``Model.evaluate``.
    """
    view, net = model.predictor.view, model.predictor.net
    tables, counts = dict[str, list[Confidence]](), dict[str, NDArray[np.int64]]()
    for head, _, scores, labels, truth in _observed(model, dataset, split, watch):
        factor, right = view.temperature.get(head, 1.0), labels == truth
        both = [scores] if factor == 1 else [scores, scores * factor]
        sure = [each.softmax(0).amax(0).cpu().numpy() for each in both]
        new = [confidence(each, right) for each in sure]
        before = tables.get(head, [])
        tables[head] = [a + b for a, b in zip(before, new, strict=True)] if before else new
        kept = sure[0] >= view.sieve.reject
        own = confusion(truth[kept], labels[kept], net.channels[net.outputs[head]])
        counts[head] = counts.get(head, 0) + own
    found = {}
    for head, (first, *without) in tables.items():
        kept = counts[head].sum() / max(first.table[0].sum(), 1)
        of_kept = scores_of(counts[head]).as_dict() if kept else {}
        told = {"reject": view.sieve.reject, "coverage": float(kept), **of_kept}
        found[head] = {**first.as_dict(), "kept": told}
        found[head] |= {"uncalibrated": without[0].as_dict()} if without else {}
    return found


def calibrated(
    model: Model, dataset: DataSet, split: str, watch: Callable[[], object] = lambda: None
) -> Model:
    """The model with the temperatures that fit a split, on which it should not be trained."""
    old, count = model.predictor.view.temperature, len(dataset.items(split))
    parts, trained, seen = dict[str, list[Any]](), model.header.trained_on or (), set[str]()
    for head, sample, scores, _, truth in _observed(model, dataset, split, watch):
        seen |= {sample.name} if content(sample.image) in trained else set()
        room = max(1, SCORES // (count * len(scores)))
        some = slice(None, None, max(1, -(len(truth) // -room)))
        plain = scores[:, some].T * old.get(head, 1.0)
        parts.setdefault(head, []).append((plain.cpu().numpy(), truth[some]))
    if seen:
        text = "%d of the %d pictures in split %s were trained on: a net is surer of these (%s)"
        log.warning(text, len(seen), count, split, first_few(sorted(seen)))
    joined = {head: map(np.concatenate, zip(*own, strict=True)) for head, own in parts.items()}
    fitted = {head: temperature(*own) for head, own in joined.items()}
    return replace(model, predictor=model.predictor.shown({"temperature": fitted}))


def keep(run: Path, model: Model, heads: Mapping[str, Any], **splits: str) -> Path:
    """Write the temperatures beside the weights, with what ``judged`` says of them."""
    temperatures = dict(model.predictor.view.temperature)
    facts = {"temperature": temperatures, "model": model.header.sha256, **splits, "heads": heads}
    return write_json(run / CALIBRATION, facts)


def _observed(
    model: Model, dataset: DataSet, split: str, watch: Callable[[], object]
) -> Iterator[tuple[str, Sample, Tensor, Labels, Labels]]:
    """Scores (K, n), labels and truth (n,) of the pixels that count, by picture and head."""
    sieve, mine = replace(model.predictor.view.sieve, reject=0.0), heads_of(model, dataset)
    predictor, net = model.predictor.shown({"sieve": sieve}), model.predictor.net
    for theirs, head in mine.items():
        check_classes(model.heads[head].classes, dataset, theirs)
    for item in dataset.items(split):
        sample = dataset.read(item)
        made = predictor.by_head(sample.image, scores=True)
        for theirs, head in mine.items():
            if net.kind(head).measured:
                continue
            truth, own = sample.heads[theirs].ravel(), made[head]
            known = np.flatnonzero(truth != VOID)
            assert own.scores is not None
            scores = own.scores.flatten(1)[:, torch.from_numpy(known).to(own.scores.device)]
            yield head, sample, scores, own.labels.ravel()[known], truth[known]
        watch()
