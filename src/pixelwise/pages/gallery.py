"""The worst and the best images side by side: image, truth, guess, errors."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import PixelwiseError
from pixelwise.labels import VOID, colour, three_bands
from pixelwise.metrics.confusion import confusion
from pixelwise.pages.markup import Markup, percent, tag
from pixelwise.pages.matrix import confusions
from pixelwise.pages.tables import HATCH_GREYS, STRIPE
from pixelwise.pictures import images

if TYPE_CHECKING:
    from pixelwise.data.dataset import DataSet

Rgb = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
Colours = Sequence[tuple[int, int, int]]

WIDEST = 480  # pixels of a thumbnail
EACH = 4  # images at either end

HATCH = np.repeat(np.array(HATCH_GREYS, np.uint8)[:, None], 3, axis=1)
_WRONG = np.array((235, 38, 70))


@dataclass(frozen=True)
class Shown:
    """One image of the gallery as it is on disk."""

    name: str
    mean_iu: float
    pixel_accuracy: float
    image: Rgb
    truth: Labels
    guess: Labels


def gallery(
    scores: Mapping[str, Any], dataset: DataSet, split: str, guesses: Path
) -> tuple[Markup | None, list[str]]:
    """The section of images, and notes about those that could not be shown.

    Args:
        scores: of the evaluation; ``per_image`` orders the images.
        dataset: holds pictures, truth and colours.
        split: the one that was evaluated.
        guesses: folder of label maps, ``<name>.png``.
    """
    worst, best = chosen(scores.get("per_image") or [])
    items = {item.name: item for item in dataset.items(split)}
    notes: list[str] = []

    def rows(which: Sequence[Mapping[str, Any]]) -> list[Markup]:
        found = []
        for row in which:
            try:
                item = items[row["name"]]
                sample = dataset.read(item)
                guess = images.read_labels(guesses / f"{item.name}.png")
                shown = Shown(**row, image=sample.image, truth=sample.labels, guess=guess)
                found.append(_card(shown, dataset.classes, dataset.palette))
            except KeyError:
                notes.append(f"{row['name']} is not in split {split} of the data any more")
            except PixelwiseError as error:
                notes.append(f"{row['name']} is not shown: {error}")
        return found

    parts = [("Worst images", rows(worst)), ("Best images", rows(best))]
    shown = [tag("div", tag("h3", title), cards) for title, cards in parts if cards]
    return (tag("div", shown, class_="gallery") if shown else None), notes


def chosen(
    rows: Sequence[Mapping[str, Any]], each: int = EACH
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The worst and the best by mean IU, none twice; images without a score are left out."""
    known = sorted((r for r in rows if r["mean_iu"] is not None), key=lambda r: float(r["mean_iu"]))
    each = min(each, (len(known) + 1) // 2)
    worst, rest = known[:each], known[each:]
    return worst, rest[::-1][:each]


def paint(labels: Labels, palette: Colours) -> Rgb:
    """Label map in its classes' colours; void, and what names no class, is hatched.

    A plain colour would be some class's in one data set or another.
    """
    painted = colour(labels, np.array(palette, np.uint8).reshape(-1, 3))
    rows, columns = np.nonzero((labels == VOID) | (labels >= len(palette)))
    painted[rows, columns] = HATCH[(rows + columns) // STRIPE % 2]
    return painted


def errors(image: Rgb, truth: Labels, guess: Labels) -> Rgb:
    """The image in grey, wrong pixels red, void dark."""
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    shown = np.repeat((70 + 0.62 * grey)[..., None], 3, axis=2)
    wrong = (truth != VOID) & (truth != guess)
    shown[wrong] = 0.2 * shown[wrong] + 0.8 * _WRONG
    shown[truth == VOID] *= 0.45
    return shown.clip(0, 255).astype(np.uint8)


def said(shown: Shown, names: Sequence[str]) -> str:
    """The largest confusions of one image in words."""
    counts = confusion(shown.truth, shown.guess, len(names))
    total = max(1, int(counts.sum()))
    largest = [c for c in confusions(counts, 3) if c.pixels / total >= 0.001]
    told = [
        f"{names[c.truth]} taken for {names[c.guess]} ({percent(c.pixels / total)})"
        for c in largest
    ]
    return "; ".join(told) or "hardly a pixel wrong"


def _card(shown: Shown, names: Sequence[str], palette: Colours) -> Markup:
    image = three_bands(shown.image)
    size = _thumbnail_size(image.shape[0], image.shape[1])
    truth = images.resize(shown.truth, size, method="nearest")
    guess = images.resize(shown.guess, size, method="nearest")
    small = images.resize(image, size, method="bilinear")
    panels = [
        ("image", _jpeg(small)),
        ("truth", _png(paint(truth, palette))),
        ("guess", _png(paint(guess, palette))),
        ("errors", _jpeg(errors(small, truth, guess))),
    ]
    caption = tag(
        "figcaption",
        tag("b", shown.name),
        tag("span", f"mean IU {percent(shown.mean_iu)}"),
        tag("span", f"pixel accuracy {percent(shown.pixel_accuracy)}"),
        tag("span", said(shown, names), class_="said"),
    )
    return tag(
        "figure", caption, tag("div", [_panel(*p, shown.name) for p in panels]), class_="row"
    )


def _panel(word: str, source: str, name: str) -> Markup:
    picture = tag("img", src=source, alt=f"{word} of {name}", loading="lazy")
    return tag("div", picture, tag("span", word), class_="panel")


def _thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """(h, w) of at most ``WIDEST`` pixels on the longer side; small images stay as they are."""
    scale = min(1.0, WIDEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _jpeg(image: Rgb) -> str:
    return _inline("jpeg", images.encode(image, "JPEG"))


def _png(image: Rgb) -> str:
    return _inline("png", images.encode(image))


def _inline(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
