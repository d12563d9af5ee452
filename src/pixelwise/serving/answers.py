"""Predictions as a service answers them: PNG, JSON, npz, and Hugging Face's list."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.pictures.images import encode, label_image
from pixelwise.predict.model import Model
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.sight import measured_field, stream_labels

PNG, JSON, NPZ = "image/png", "application/json", "application/zip"
OF_NUMBERS = ("npz", "overlay")
ROUNDED = 6  # digits of shares and scores


def rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's run lengths, uncompressed: down the columns, first those outside."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": counts if not flat[0] else [0, *counts]}


def answer(prediction: Prediction, wish: dict[str, Any]) -> tuple[str, bytes]:
    """Media type and bytes of what a request wants.

    Args:
        prediction: with probabilities where ``needs_probabilities`` says so.
        wish: ``format`` of ``FORMATS``, and ``masks``, rle or png, of JSON.

    Raises:
        UsageError: U002 a form of classes, of a head that gives numbers.
    """
    if prediction.kind.measured and wish["format"] not in OF_NUMBERS:
        what = f"the head gives {prediction.kind.kind}, which have no format {wish['format']}"
        raise UsageError("U002", what, f"format={', format='.join(OF_NUMBERS)}")
    return FORMATS[wish["format"]](prediction, wish)


def needs_probabilities(wish: dict[str, Any]) -> bool:
    """Whether an answer is made of more than labels."""
    return wish["format"] in ("confidence", "heat", "huggingface") or wish["probabilities"]


def _labels(prediction: Prediction, _: dict[str, Any]) -> tuple[str, bytes]:
    return PNG, encode(prediction.mask)


def _overlay(prediction: Prediction, _: dict[str, Any]) -> tuple[str, bytes]:
    return PNG, encode(prediction.overlay)


def _heat(prediction: Prediction, wish: dict[str, Any]) -> tuple[str, bytes]:
    largest = max(prediction.areas().items(), key=lambda area: area[1])[0]
    return PNG, _grey(prediction.heat(wish["class"] or prediction.classes.index(largest)))


def _confidence(prediction: Prediction, _: dict[str, Any]) -> tuple[str, bytes]:
    highest = [prediction.heat(i) for i in range(len(prediction.classes))]
    return PNG, _grey(np.maximum.reduce(highest))


def _grey(shares: NDArray[np.float32]) -> bytes:
    return encode((255 * shares + 0.5).astype(np.uint8))


def _json(prediction: Prediction, wish: dict[str, Any]) -> tuple[str, bytes]:
    present = np.unique(prediction.labels).tolist()
    classes = []
    for index in present:
        mask = prediction.labels == index
        facts: dict[str, Any] = {
            "id": index,
            "label": prediction.classes[index],
            "colour": list(prediction.palette[index]),
            "pixels": int(mask.sum()),
            "share": round(float(mask.mean()), ROUNDED),
        }
        if wish["masks"] == "rle":
            facts["rle"] = rle(mask)
        classes.append(facts)
    whole: dict[str, Any] = {"size": list(prediction.labels.shape), "classes": classes}
    if wish["masks"] == "png":
        whole["labels_png"] = base64.b64encode(encode(prediction.mask)).decode()
    if wish["probabilities"]:
        assert prediction.probabilities is not None
        means = prediction.probabilities.mean((1, 2), dtype=float)
        named = zip(prediction.classes, means.tolist(), strict=True)
        whole["confidence_png"] = base64.b64encode(_confidence(prediction, wish)[1]).decode()
        whole["mean_probabilities"] = {name: round(p, ROUNDED) for name, p in named}
    return JSON, json.dumps(whole).encode()


def _huggingface(prediction: Prediction, _: dict[str, Any]) -> tuple[str, bytes]:
    """The task ``image-segmentation``: label, score and a black and white mask of each class."""
    made = []
    for index in np.unique(prediction.labels).tolist():
        mask = prediction.labels == index
        score = round(float(prediction.heat(index)[mask].mean()), ROUNDED)
        png = base64.b64encode(encode(mask.astype(np.uint8) * 255)).decode()
        made.append({"label": prediction.classes[index], "score": score, "mask": png})
    return JSON, json.dumps(made).encode()


def _npz(prediction: Prediction, wish: dict[str, Any]) -> tuple[str, bytes]:
    name = "numbers" if prediction.kind.measured else "labels"
    arrays: dict[str, NDArray[Any]] = {name: prediction.labels}
    arrays["classes"] = np.array(prediction.classes)
    if wish["probabilities"] and prediction.probabilities is not None:
        arrays["probabilities"] = prediction.probabilities
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return NPZ, file.getvalue()


def _streams(model: Model, image: NDArray[Any], wish: dict[str, Any]) -> tuple[str, bytes]:
    palette = np.asarray(model.heads[wish["head"]].palette, np.uint8)
    made = stream_labels(model.predictor, image, wish["head"])
    told = [
        {
            "layer": name,
            "size": list(stream.labels.shape),
            "png": base64.b64encode(encode(label_image(stream.labels, palette))).decode(),
            "differing": {part: round(share, ROUNDED) for part, share in stream.differing.items()},
        }
        for name, stream in made.items()
    ]
    return JSON, json.dumps(told).encode()


def _field(model: Model, image: NDArray[Any], wish: dict[str, Any]) -> tuple[str, bytes]:
    x, _, y = wish["at"].partition(",")
    layer = wish["layer"] or model.predictor.net.top
    seen = measured_field(model.predictor, image, layer, (int(y), int(x)))
    return PNG, _grey(np.sqrt(seen))  # most of a field is far below its middle


SIGHTS: dict[str, Callable[[Model, NDArray[Any], dict[str, Any]], tuple[str, bytes]]] = {
    "streams": _streams,
    "field": _field,
}
"""What is answered of a net's layers instead of its labels."""
FORMATS: dict[str, Callable[[Prediction, dict[str, Any]], tuple[str, bytes]]] = {
    "json": _json,
    "png": _labels,
    "overlay": _overlay,
    "confidence": _confidence,
    "heat": _heat,
    "npz": _npz,
    "huggingface": _huggingface,
}
