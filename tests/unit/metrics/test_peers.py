"""The peers' own code beside ours on the same masks, wherever it can be imported."""

from __future__ import annotations

import numpy as np
import pytest
from masks import CLASSES, all_pairs, protocol_scores

from pixelwise.metrics.confusion import confusion
from smp import smp_module

PAIRS = all_pairs()
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own warnings are theirs


@pytest.fixture(scope="module")
def ours() -> dict[str, float | None]:
    return protocol_scores([confusion(truth, guess, CLASSES) for truth, guess in PAIRS])


@pytest.mark.parametrize("reduction", ["macro", "micro", "macro-imagewise", "micro-imagewise"])
def test_equals_segmentation_models_pytorch(ours: dict[str, float | None], reduction: str) -> None:
    smp, torch = smp_module("metrics.functional"), pytest.importorskip("torch")
    truth = torch.from_numpy(np.stack([t for t, _ in PAIRS])).long()
    guess = torch.from_numpy(np.stack([g for _, g in PAIRS])).long()
    stats = smp.get_stats(guess, truth, mode="multiclass", num_classes=CLASSES, ignore_index=255)
    score = smp.iou_score(*(part.double() for part in stats), reduction=reduction)
    assert ours[f"smp-{reduction}"] == pytest.approx(float(score), abs=1e-12)


@pytest.mark.parametrize(
    ("average", "name"),
    [
        ("macro", "torchmetrics-macro"),
        ("micro", "torchgeo-micro"),
        ("weighted", "frequency-weighted"),
    ],
)
def test_equals_torchmetrics(ours: dict[str, float | None], average: str, name: str) -> None:
    classification = pytest.importorskip("torchmetrics.classification")
    torch = pytest.importorskip("torch")
    metric = classification.MulticlassJaccardIndex(CLASSES, average=average, ignore_index=255)
    for truth, guess in PAIRS:
        metric.update(torch.from_numpy(guess).long(), torch.from_numpy(truth).long())
    assert ours[name] == pytest.approx(float(metric.compute()), abs=1e-6)


def test_equals_scikit_learn(ours: dict[str, float | None]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth = np.concatenate([t[t != 255] for t, _ in PAIRS])
    guess = np.concatenate([g[t != 255] for t, g in PAIRS])
    counts = metrics.confusion_matrix(truth, guess, labels=range(CLASSES))
    assert np.array_equal(confusion(truth, guess, CLASSES), counts)
    jaccard = metrics.jaccard_score
    assert ours["score.py"] == pytest.approx(jaccard(truth, guess, average="macro"))
    present = np.unique(truth)
    assert ours["paper"] == pytest.approx(jaccard(truth, guess, labels=present, average="macro"))
    assert ours["smp-micro"] == pytest.approx(jaccard(truth, guess, average="micro"))
    assert ours["absent-is-zero"] == pytest.approx(
        jaccard(truth, guess, labels=range(CLASSES), average="macro", zero_division=0)
    )
    images = [(t[t != 255], g[t != 255]) for t, g in PAIRS]
    each = [jaccard(t, g, labels=np.unique(t), average="macro") for t, g in images]
    assert ours["per-image"] == pytest.approx(np.mean(each))
