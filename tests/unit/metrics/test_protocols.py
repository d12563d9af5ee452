from __future__ import annotations

import hashlib

import numpy as np
import pytest
from masks import CLASSES, all_pairs, protocol_scores

from pixelwise.errors import UsageError
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.protocols import PROTOCOLS, choose, protocol_rows
from pixelwise.metrics.scores import scores

# Two images, four classes; class 2 is absent but predicted on 2 px, class 3 never occurs.
#   image a: class 0 has 6 px (4 right, 2 given to class 2), class 1 has 2 px (both right)
#   image b: class 0 has 8 px (all right), class 1 has 4 px (1 right, 3 given to class 0)
A = [[4, 0, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
B = [[8, 0, 0, 0], [3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
# the set: class 0 hits 12, truth 14, guess 15: IU 12/17; class 1 hits 3, truth 6, guess 3: IU 1/2
IU0, IU1 = 12 / 17, 1 / 2
BY_HAND = {
    "paper": (IU0 + IU1) / 2,
    "score.py": (IU0 + IU1 + 0) / 3,
    "detectron2": (IU0 + IU1) / 2,
    "torchvision": None,
    "torchmetrics-macro": (IU0 + IU1 + 0) / 3,
    "torchgeo-micro": 15 / (17 + 6 + 2),
    "smp-macro": (IU0 + IU1 + 0 + 1) / 4,
    "smp-micro": 15 / 25,
    # a: 4/6, 2/2, 0/2, absent = 1; b: 8/11, 1/4, absent = 1, absent = 1
    "smp-macro-imagewise": (4 / 6 + 1 + 0 + 1 + 8 / 11 + 1 / 4 + 1 + 1) / 8,
    "smp-micro-imagewise": (6 / (6 + 2 + 2) + 9 / (11 + 4)) / 2,
    "absent-is-zero": (IU0 + IU1 + 0 + 0) / 4,
    "foreground": (IU1 + 0) / 2,
    "per-image": ((4 / 6 + 1) / 2 + (8 / 11 + 1 / 4) / 2) / 2,
    "frequency-weighted": (14 * IU0 + 6 * IU1) / 20,
    "pixel-accuracy": 15 / 20,
}

# The peers' own code on ``masks.py``, run once on 2026-11-21 with torch 2.13.0: torchmetrics 1.9.0,
# segmentation-models-pytorch 0.6.0 (metrics/functional.py, float64 counts), scikit-learn 1.9.1
# (per-image: jaccard_score macro over the classes of each image's truth; foreground and
# absent-is-zero: mean of jaccard_score per class), detectron2 027099d SemSegEvaluator.evaluate,
# torchvision 058f331 references/segmentation ConfusionMatrix, score.py's formulas.
# torchmetrics and torchvision divide in float32. test_peers.py runs what is importable again.
PEERS = {
    "paper": 0.6667666839559617,
    "score.py": 0.6334283497581636,
    "detectron2": 0.6667666839559617,
    "torchvision": None,
    "torchmetrics-macro": 0.6334283351898193,
    "torchgeo-micro": 0.7503384351730347,
    "smp-macro": 0.6508841426268225,
    "smp-micro": 0.750338405389424,
    "smp-macro-imagewise": 0.9470647385105588,
    "smp-micro-imagewise": 0.7576545512783245,
    "absent-is-zero": 0.6032650950077749,
    "foreground": 0.6232094294113383,
    "per-image": 0.7097936243620682,
    "frequency-weighted": 0.7604902156825376,
    "pixel-accuracy": 0.8573638138534531,
}
MASKS_SHA256 = "6c4870c710365ae21958bfe7ca09c262a28f016b6718f98242e2092b9f5954f9"


@pytest.fixture(scope="module")
def per_image() -> np.ndarray:
    return np.stack([confusion(truth, guess, CLASSES) for truth, guess in all_pairs()])


def test_every_protocol_by_hand() -> None:
    found = protocol_scores([A, B])
    assert list(found) == list(BY_HAND)
    for name, value in BY_HAND.items():
        assert found[name] == (None if value is None else pytest.approx(value)), name


def test_the_masks_are_those_the_peers_scored(per_image: np.ndarray) -> None:
    total = per_image.sum(0).astype("<i8")
    assert hashlib.sha256(total.tobytes()).hexdigest() == MASKS_SHA256


def test_every_protocol_equals_the_peers_own_code(per_image: np.ndarray) -> None:
    found = protocol_scores(per_image)
    assert list(found) == list(PEERS)
    for name, value in PEERS.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-6)), name


def test_one_set_of_masks_has_many_mean_ious(per_image: np.ndarray) -> None:
    found = protocol_scores(per_image)
    order = ["absent-is-zero", "foreground", "score.py", "smp-macro", "paper", "per-image"]
    order += ["torchgeo-micro", "frequency-weighted", "pixel-accuracy", "smp-macro-imagewise"]
    values = [found[name] for name in order]
    assert values == sorted(values)
    assert found["smp-macro-imagewise"] - found["absent-is-zero"] > 0.3


def test_paper_and_pixel_accuracy_are_the_four_numbers(per_image: np.ndarray) -> None:
    four, found = scores(per_image.sum(0)), protocol_scores(per_image)
    assert found["paper"] == pytest.approx(four.mean_iu, abs=1e-15)
    assert found["frequency-weighted"] == pytest.approx(four.frequency_weighted_iu, abs=1e-15)
    assert found["pixel-accuracy"] == pytest.approx(four.pixel_accuracy, abs=1e-15)


def test_when_every_class_occurs_the_macro_rules_agree() -> None:
    found = protocol_scores([[[3, 1], [1, 3]]])
    macro = ["paper", "score.py", "detectron2", "torchvision", "torchmetrics-macro", "smp-macro"]
    assert {found[name] for name in macro} == {3 / 5}


def test_torchvision_has_a_number_once_every_class_occurs() -> None:
    assert protocol_scores([[[1, 1], [0, 0]]])["torchvision"] == pytest.approx((1 / 2 + 0) / 2)


def test_nothing_comes_with_its_reason() -> None:
    reasons = {row.name: row.reason for row in protocol_rows([A, B])}
    assert reasons["torchvision"].endswith("0/0 of class 3 (absent, never predicted)")
    assert {name for name, reason in reasons.items() if reason} == {"torchvision"}
    background = {row.name: row.reason for row in protocol_rows([[[5, 0], [0, 0]]])}
    assert background["foreground"] == "no class but the background occurs"


def test_no_counted_pixel_gives_no_number_but_where_the_rule_says_one() -> None:
    found = protocol_scores(np.zeros((2, 3, 3), int))
    numbers = {name: value for name, value in found.items() if value is not None}
    assert numbers == {
        "smp-macro": 1.0,  # zero_division = 1: SMP's own answer to an empty set
        "smp-macro-imagewise": 1.0,
        "smp-micro-imagewise": 1.0,
        "absent-is-zero": 0.0,
    }


def test_void_image_is_left_out_of_the_per_image_mean() -> None:
    assert protocol_scores([[[1, 1], [0, 2]], np.zeros((2, 2), int)])["per-image"] == pytest.approx(
        (1 / 2 + 2 / 3) / 2
    )


def test_each_protocol_names_its_rule_and_source() -> None:
    for name, protocol in PROTOCOLS.items():
        assert len(protocol.meaning) > 20, name
        assert len(protocol.source) > 10


def test_choosing_keeps_the_order_and_refuses_the_unknown() -> None:
    assert choose(["score.py", "paper"]) == ("paper", "score.py")
    assert choose(["all"]) == tuple(PROTOCOLS)
    with pytest.raises(UsageError, match="did you mean `torchvision`"):
        choose(["torchvison"])


def test_counts_must_be_per_image() -> None:
    with pytest.raises(UsageError, match="counts per image are"):
        protocol_rows(A)
