"""The kinds of output that ``predict`` saves: how each is named, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelwise import labels
from pixelwise.folders import OVERLAY
from pixelwise.machine.files import atomic_write
from pixelwise.pictures import images
from pixelwise.predict.prediction import Prediction
from pixelwise.weights.checkpoint import Header

HEAT = "heatmaps"
ENDS = {
    "labels": ".png",
    "overlay": OVERLAY,
    "scores": "_scores.npz",
    HEAT: "_heat",
}
"""What can be saved, and the end of its file name (heat maps: of their folder)."""
TOP = 3  # heat maps drawn when no class is named
_FIRST = f"first {TOP}"


def parts(
    kinds: Sequence[str], heat: Sequence[tuple[str, int]], heads: Sequence[str]
) -> tuple[str, ...]:
    """The kinds as records have them: each class's heat map is one, those of further heads begin
    with the head's name.

    Without classes (head and number) in ``heat`` the maps of the ``TOP`` largest of each picture
    are one together.
    """
    made = []
    for head in heads:
        front = "" if head == heads[0] else f"{head}/"
        maps = [f"{HEAT} {i}" for of, i in heat if of == head] if heat else [f"{HEAT} {_FIRST}"]
        own = [k for k in kinds if k != HEAT] + (maps if HEAT in kinds else [])
        made += [front + part for part in own]
    return tuple(made)


def needs_probabilities(wanted: Sequence[str]) -> bool:
    """Whether label maps alone are too little for these ``parts``."""
    return any(part.rpartition("/")[2].startswith(("scores", HEAT)) for part in wanted)


def path(out: Path, name: str, kind: str) -> Path:
    """The file (of heat maps the folder) of a picture's output; ``out`` is that of the head."""
    return out / f"{name}{ENDS[kind]}"


def write(part: str, out: Path, name: str, prediction: Prediction, header: Header) -> list[Path]:
    """Write one of ``parts``, whose files are returned; label maps name the model by its header.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    head, _, own = part.rpartition("/")
    kind, _, which = own.partition(" ")
    prediction = prediction.heads[head] if head else prediction
    target = path(out / head, name, kind)  # as ``folders.of_head`` has it
    match kind:
        case "labels":
            text = {"model": header.sha256, "net": header.net}
            palette = np.asarray(prediction.palette, np.uint8)
            return [images.write_labels(target, prediction.labels, palette, text=text)]
        case "overlay":
            return [images.write_image(target, prediction.overlay_array())]
        case "scores":
            assert prediction.probabilities is not None
            # Half the file; labels were taken of float32, so ties of the rounded ones do no harm.
            scores = prediction.probabilities.astype(np.float16)
            return [atomic_write(target, lambda f: np.savez_compressed(f, probabilities=scores))]
        case _:
            chosen = _largest(prediction) if which == _FIRST else [int(which)]
            return [_write_heat(target, prediction, i) for i in chosen]


def _largest(prediction: Prediction) -> list[int]:
    assert prediction.probabilities is not None
    order: list[int] = prediction.probabilities.mean(axis=(1, 2)).argsort()[::-1].tolist()
    return order[:TOP]


def _write_heat(folder: Path, prediction: Prediction, index: int) -> Path:
    """The class number in front keeps apart what letters do not."""
    letters = (c if c.isalnum() or c in "-_" else "_" for c in prediction.classes[index])
    name = "".join(letters)[:40] or "class"
    drawn = labels.heat_map(prediction.image, prediction.heat(index))
    return images.write_image(folder / f"{index}-{name}.png", drawn)
