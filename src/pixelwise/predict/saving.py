"""The kinds of output that ``predict`` saves: how each is named, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import labels
from pixelwise.errors import UsageError
from pixelwise.folders import OVERLAY
from pixelwise.machine.files import atomic_write
from pixelwise.pictures import images
from pixelwise.predict import exports
from pixelwise.predict.exports import CVAT, LABELME, Original
from pixelwise.predict.prediction import Prediction
from pixelwise.weights.checkpoint import HeadClasses, Header

HEAT = "heatmaps"
ENDS = {
    "labels": ".png",
    "overlay": OVERLAY,
    "scores": "_scores.npz",
    HEAT: "_heat",
    "polygons": ".geojson",
    LABELME: ".json",
    CVAT: ".png",
}
"""What can be saved of a picture, and the end of its file name (heat maps: of their folder)."""
AREAS, SHEET, COCO = "areas", "sheet", "coco"
OF_ALL = {AREAS: "areas.csv", SHEET: "sheet.jpg", COCO: "coco.json"}
"""What can be saved of all pictures together, made of their label maps."""
KINDS = (*ENDS, *OF_ALL)
OF_NUMBERS = ("labels", "overlay", "scores")
"""What can be saved of heads of numbers and edges."""
TOP = 3  # heat maps drawn when no class is named
_FIRST = f"first {TOP}"


@dataclass(frozen=True)
class Drawing:
    """How labels are shown, and what their areas are told in."""

    strength: float = 0.5
    """Of the colours over a picture, 0 to 1."""
    untinted: tuple[str, ...] = ()
    """Names of classes that are not coloured there."""
    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Of classes that have others than the model's."""
    damp: float = 0.0
    """Of videos the share of the frames before in the mean of probabilities."""
    pixel: tuple[float, str] | None = None
    """The side of a pixel and its unit, for areas."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            what = f"overlay strength {self.strength}, expected 0 to 1"
            raise UsageError("U002", what, "--strength 0.5")
        if not 0 <= self.damp < 1:
            what = f"damping {self.damp}, expected 0 or more and less than 1"
            raise UsageError("U002", what, "--damp 0.7")

    @property
    def facts(self) -> dict[str, Any]:
        """What outputs depend on, as JSON has it; nothing where all is as usual."""
        colours = {name: list(colour) for name, colour in self.colours.items()}
        strength = self.strength if self.strength != Drawing.strength else None
        tints = {"strength": strength, "untinted": [*self.untinted], "colours": colours}
        return {k: v for k, v in {**tints, "damp": self.damp or None}.items() if v or v == 0}

    def overlay(self, prediction: Prediction) -> labels.Image:
        """The picture under its colours, with a legend; see ``Prediction.overlay_array``."""
        return prediction.overlay_array(self.strength, self._plain(prediction.classes))

    def tinted(self, image: labels.Image, values: labels.Labels, own: HeadClasses) -> labels.Image:
        """A picture (H, W, 3) under the colours of its labels."""
        palette, plain = np.asarray(own.palette, np.uint8), self._plain(own.classes)
        return labels.overlay(image, values, palette, opacity=self.strength, untinted=plain)

    def _plain(self, classes: Sequence[str]) -> list[int]:
        return [i for i, name in enumerate(classes) if name in self.untinted]


@dataclass(frozen=True)
class Target:
    """Where the outputs of a picture go, and what they say beside its labels."""

    out: Path
    name: str
    header: Header
    drawing: Drawing = Drawing()
    original: Original = None


def parts(
    kinds: Sequence[str],
    heat: Sequence[tuple[str, int]],
    heads: Sequence[str],
    measured: Collection[str] = (),
) -> tuple[str, ...]:
    """The kinds as records have them: each class's heat map is one, those of further heads begin
    with the head's name; of ``measured`` heads they are ``OF_NUMBERS``.

    Without classes (head and number) in ``heat`` the maps of the ``TOP`` largest of each picture
    are one together.
    """
    made = []
    for head in heads:
        front = "" if head == heads[0] else f"{head}/"
        maps = [f"{HEAT} {i}" for of, i in heat if of == head] if heat else [f"{HEAT} {_FIRST}"]
        own = [k for k in kinds if k != HEAT] + (maps if HEAT in kinds else [])
        made += [front + p for p in own if head not in measured or p in OF_NUMBERS]
    return tuple(made)


def needs_probabilities(wanted: Sequence[str]) -> bool:
    """Whether label maps alone are too little for these ``parts``."""
    return any(part.rpartition("/")[2].startswith(("scores", HEAT)) for part in wanted)


def path(out: Path, name: str, kind: str) -> Path:
    """The file (of heat maps the folder) of a picture's output; ``out`` is that of the head."""
    if kind in (LABELME, CVAT):
        folder = out / (LABELME if kind == LABELME else f"{CVAT}/SegmentationClass")
        return folder / f"{exports.flat(name)}{ENDS[kind]}"
    return out / f"{name}{ENDS[kind]}"


def label_text(prediction: Prediction, header: Header) -> dict[str, str]:
    """What pictures of labels carry as text: the model, and what the numbers mean."""
    names = json.dumps(prediction.classes, ensure_ascii=False)
    return {"model": header.sha256, "net": header.net, "classes": names}


def write(part: str, prediction: Prediction, to: Target) -> list[Path]:
    """Write one of ``parts``, whose files are returned; pictures name the model and the classes.

    Raises:
        ResourceError: the disk is full or not writable.
    """
    head, _, own = part.rpartition("/")
    kind, _, which = own.partition(" ")
    prediction = prediction.heads[head] if head else prediction
    target = path(to.out / head, to.name, kind)  # as ``folders.of_head`` has it
    text = label_text(prediction, to.header)
    match kind:
        case "scores" if prediction.kind.measured:
            numbers = prediction.labels
            return [atomic_write(target, lambda f: np.savez_compressed(f, numbers=numbers))]
        case "labels":
            palette, step = np.asarray(prediction.palette, np.uint8), prediction.kind.step
            return [images.write_labels(target, prediction.labels, palette, text=text, step=step)]
        case "overlay":
            return [images.write_image(target, to.drawing.overlay(prediction), text=text)]
        case "scores":
            assert prediction.probabilities is not None
            # Half the file; labels were taken of float32, so ties of the rounded ones do no harm.
            scores = prediction.probabilities.astype(np.float16)
            return [atomic_write(target, lambda f: np.savez_compressed(f, probabilities=scores))]
        case "polygons":
            return [atomic_write(target, exports.geojson(prediction))]
        case "labelme":
            return exports.write_labelme(target, prediction, to.original)
        case "cvat":
            return exports.write_cvat(target, prediction, to.original)
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
    drawn = labels.heat_map(prediction.shown, prediction.heat(index))
    return images.write_image(folder / f"{index}-{name}.png", drawn)
