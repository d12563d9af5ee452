"""What a prediction looks like to a client."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import UsageError
from pixelwise.nets.kinds import Kind
from pixelwise.predict.prediction import Prediction
from pixelwise.serving.answers import FORMATS, answer, needs_probabilities, rle

LABELS = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
SHARES = np.array([[[0.9, 0.2, 0.1], [0.8, 0.6, 0.4]], [[0.1, 0.8, 0.9], [0.2, 0.4, 0.6]]])
CLASSES, PALETTE = ("sky", "<b>ground</b>"), ((0, 0, 255), (0, 128, 0))
PREDICTION = Prediction(
    np.zeros((2, 3, 3), np.uint8), LABELS, CLASSES, PALETTE, SHARES.astype(np.float32)
)
WISH = {"format": "json", "masks": "rle", "class": "", "probabilities": False}


def told(**wish: object) -> object:
    kind, content = answer(PREDICTION, WISH | wish)
    assert kind == "application/json"
    return json.loads(content)


def picture(content: str | bytes) -> np.ndarray:
    data = base64.b64decode(content) if isinstance(content, str) else content
    return np.asarray(Image.open(io.BytesIO(data)))


def test_run_lengths_go_down_the_columns_and_begin_outside() -> None:
    assert rle(LABELS == 1) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert rle(LABELS == 0) == {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}
    assert rle(np.zeros((2, 2), bool))["counts"] == [4]
    assert rle(np.ones((2, 2), bool))["counts"] == [0, 4]


def test_run_lengths_are_undone_by_painting_them() -> None:
    mask = np.random.default_rng(0).random((13, 7)) < 0.5
    counts = rle(mask)["counts"]
    painted = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    assert (mask == painted.reshape(7, 13).T).all()


def test_json_has_the_classes_that_occur_and_their_areas() -> None:
    whole = told(probabilities=True)
    assert whole["size"] == [2, 3]  # type: ignore[index]
    sky, ground = whole["classes"]  # type: ignore[index]
    assert (ground["label"], ground["pixels"], ground["share"]) == ("<b>ground</b>", 3, 0.5)
    assert ground["rle"] == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert sky["colour"] == [0, 0, 255]
    assert whole["mean_probabilities"]["sky"] == 0.5  # type: ignore[index]


def test_a_png_keeps_class_numbers_and_shows_colours() -> None:
    kind, content = answer(PREDICTION, WISH | {"format": "png"})
    image = Image.open(io.BytesIO(content))
    assert (kind, image.mode) == ("image/png", "P")
    assert (np.asarray(image) == LABELS).all()
    assert image.convert("RGB").getpixel((2, 0)) == (0, 128, 0)
    assert (picture(told(masks="png")["labels_png"]) == LABELS).all()  # type: ignore[index]


def test_heat_is_of_a_class_by_name_or_number_or_of_the_largest() -> None:
    ground = picture(answer(PREDICTION, WISH | {"format": "heat", "class": "1"})[1])
    assert ground[0].tolist() == [26, 204, 230]  # 255 times 0.1, 0.8, 0.9, rounded
    first = picture(answer(PREDICTION, WISH | {"format": "heat"})[1])
    assert first[0].tolist() == [230, 51, 26]  # of equal areas the first
    best = picture(answer(PREDICTION, WISH | {"format": "confidence"})[1])
    assert best.tolist() == [[230, 204, 230], [204, 153, 153]]


def test_hugging_face_has_a_mask_and_the_mean_score_in_it() -> None:
    sky, ground = told(format="huggingface")  # type: ignore[misc]
    assert set(sky) == {"label", "score", "mask"}
    assert ground["score"] == pytest.approx((0.8 + 0.9 + 0.6) / 3, abs=1e-6)
    assert (picture(ground["mask"]) == 255 * (LABELS == 1)).all()


def test_npz_holds_arrays_and_nothing_that_is_executed() -> None:
    kind, content = answer(PREDICTION, WISH | {"format": "npz", "probabilities": True})
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert (arrays["labels"] == LABELS).all()
        assert arrays["classes"].tolist() == list(CLASSES)
        assert arrays["probabilities"].shape == (2, 2, 3)
    assert kind == "application/zip"


def test_probabilities_are_made_for_those_that_show_them() -> None:
    made = {f for f in FORMATS if needs_probabilities(WISH | {"format": f})}
    assert made == {"confidence", "heat", "huggingface"}
    assert needs_probabilities(WISH | {"probabilities": True})


def test_numbers_are_answered_as_arrays_and_not_as_classes() -> None:
    depth = np.full((2, 3, 1), 2.5, np.float32)
    image, kind = np.zeros((2, 3, 3), np.uint8), Kind("numbers")
    far = Prediction(image, depth, ("metres",), ((0, 0, 0),), kind=kind)
    _, content = answer(far, WISH | {"format": "npz", "probabilities": True})
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert (arrays["numbers"] == depth).all()
    assert answer(far, WISH | {"format": "overlay"})[0] == "image/png"
    with pytest.raises(UsageError, match="gives numbers"):
        answer(far, WISH)
