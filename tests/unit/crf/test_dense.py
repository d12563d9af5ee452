from __future__ import annotations

import re

import numpy as np
import pytest

from brute_force import beliefs, picture
from pixelwise.crf.dense import believed, refine
from pixelwise.crf.parameters import PRESETS, DenseCrf
from pixelwise.errors import DataError, NumericalError, UsageError
from pixelwise.labels import VOID
from pixelwise.settings import as_dict, read

QUICK = DenseCrf(iterations=1)


def test_scores_before_softmax_give_what_their_probabilities_give() -> None:
    p, image = beliefs(3, 12, 16), picture(12, 16)
    shifted = np.log(p) + np.random.default_rng(0).normal(0, 5, (12, 16)).astype(np.float32)
    assert np.abs(refine(p.astype(np.float16), image, QUICK) - refine(p, image, QUICK)).max() < 0.01
    assert np.abs(refine(shifted, image, QUICK) - refine(p, image, QUICK)).max() < 1e-5


def test_a_photo_speaks_against_stray_labels() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1
    image = np.where(truth[..., None] == 1, [200, 40, 40], [40, 40, 200]).astype(np.uint8)
    guess = truth.copy()
    guess[::7, ::5] ^= 1  # 48 stray pixels
    for quality in ("fast", "exact", "0.01", "pydensecrf"):
        made = refine(believed(guess, 2), image, DenseCrf(quality=quality))
        assert np.array_equal(made.argmax(0), truth), quality


def test_beliefs_of_labels_by_hand() -> None:
    made = believed(np.array([[2, VOID]], np.uint8), 3, 0.8)
    assert made[:, 0, 0] == pytest.approx([0.1, 0.1, 0.8])
    assert made[:, 0, 1] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("scores", "image", "code", "text"),
    [
        (np.full((2, 4, 4), np.nan), np.zeros((4, 4, 3), np.uint8), "N003", "32 of the scores"),
        (np.zeros((2, 4, 4)), np.zeros((4, 5, 3), np.uint8), "D013", "4x4 but .* 4x5"),
        (np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), "D018", "expected (K, H, W)"),
        (np.zeros((2, 4, 4)), np.zeros(4, np.uint8), "D018", "and (H, W, B)"),
        (np.zeros((2, 4, 4)), np.full((4, 4), np.inf), "D015", "finite numbers"),
        (np.zeros((2, 4, 4)), np.full((4, 4), "a"), "D015", "finite numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    scores: np.ndarray, image: np.ndarray, code: str, text: str
) -> None:
    with pytest.raises(
        (DataError, NumericalError), match=text.replace("(", r"\(").replace(")", r"\)")
    ) as caught:
        refine(scores, image)
    assert caught.value.code == code


def test_labels_confidences_and_costs_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match=re.escape("no class: 7 (expected 0..2, or 255 for void)")):
        believed(np.array([[7, 0]], np.uint8), 3)
    for confidence in (1 / 3, 1.0):
        with pytest.raises(UsageError, match="expected more than 1/3"):
            believed(np.zeros((2, 2), np.uint8), 3, confidence)
    p, image = beliefs(3, 4, 4), picture(4, 4)
    with pytest.raises(UsageError, match=r"shape \(2, 2\), expected \(3, 3\)"):
        refine(p, image, compatibility=np.eye(2))


def test_parameters_are_read_by_name_and_refused_by_name() -> None:
    crf = PRESETS["deeplab"]
    assert read(DenseCrf, as_dict(crf)) == crf
    assert (crf.appearance, crf.appearance_xy, crf.appearance_rgb) == (4, 67, 3)
    assert DenseCrf(quality="0.02").tolerance == 0.02
    for wrong in ("best", "2", "0", "nan"):
        with pytest.raises(UsageError, match=r"quality is .* expected auto, fast, exact"):
            DenseCrf(quality=wrong)
    with pytest.raises(UsageError, match=r"smoothness_xy is 0, expected at least 0\.1"):
        DenseCrf(smoothness_xy=0)
