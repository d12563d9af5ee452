"""The worst and the best images side by side: image, truth, guess, errors."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pixelwise.data.measured import read_numbers
from pixelwise.errors import PixelwiseError
from pixelwise.labels import VOID, colour, ends_of, shown_numbers, three_bands
from pixelwise.metrics.confusion import confusion
from pixelwise.nets.kinds import EDGES
from pixelwise.pages.markup import percent, render
from pixelwise.pages.matrix import confusions
from pixelwise.pages.run import Run
from pixelwise.pictures import images

Rgb = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
Colours = Sequence[tuple[int, int, int]]
Panels = list[tuple[str, str]]  # word and picture as data URL
Remarks = Sequence[tuple[str, str]]  # a class of the page's style, and words
Row = tuple[str, Remarks, Panels]
RANK = {"classes": ("mean_iu", 1), "numbers": ("rmse", -1), EDGES: ("f", 1)}
"""By what images are ranked, and 1 where more of it is better."""

WIDEST = 480  # pixels of a thumbnail: sharp where four stand in a page of 1120, on dense screens
PANELS = ("image", "truth", "guess", "errors")
EACH = 4  # images at either end: about 1 MB of page

HATCH_GREYS = (235, 120)  # of void; no palette has stripes
STRIPE = 3  # pixels
HATCH = np.repeat(np.array(HATCH_GREYS, np.uint8)[:, None], 3, axis=1)
SWATCH = {"greys": [f"rgb({g} {g} {g})" for g in HATCH_GREYS], "width": STRIPE}
"""The hatch as a legend shows it."""
_WRONG = np.array((235, 38, 70))


class Shown(NamedTuple):
    """One image of the gallery as it is on disk."""

    image: Rgb
    truth: Labels
    """Class ids (H, W), or numbers (H, W, P), as is the guess."""
    guess: Labels


def gallery(run: Run) -> Markup | None:
    """The section of images; those that could not be shown are added to the run's notes."""
    dataset, guesses = run.dataset, run.folder / run.guesses
    if dataset is None or not run.scores:
        return None
    kind = str(run.scores.get("kind", "classes"))
    if not guesses.is_dir():
        run.notes.append(f"no images: {run.guesses} is missing")
        return None
    try:
        items = {item.name: item for item in dataset.items(run.split)}
    except PixelwiseError as error:
        run.notes.append(f"no images: {error}")
        return None

    def seen(row: Mapping[str, Any]) -> Row:
        item = items[row["name"]]
        sample, path = dataset.read(item), guesses / f"{item.name}.png"
        image, truth = three_bands(sample.image, dataset.false_colour), sample.labels
        if kind != "classes":
            guess = read_numbers(path, dataset.class_map.kind, dataset.classes)
            return item.name, *of_numbers(Shown(image, truth, guess), row, dataset.classes)
        shown = Shown(image, truth, images.read_labels(path))
        scores = (
            f"mean IU {percent(row['mean_iu'])}",
            f"pixel accuracy {percent(row['pixel_accuracy'])}",
        )
        words = *(("", score) for score in scores), ("mistakes", mistakes(shown, dataset.classes))
        return item.name, words, panels(shown, dataset.palette)

    def rows(scores: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
        for row in scores:
            try:
                yield seen(row)
            except KeyError:
                run.notes.append(f"{row['name']} is not in split {run.split} of the data any more")
            except PixelwiseError as error:
                run.notes.append(f"{row['name']} is not shown: {error}")

    worst, best = chosen(run.scores.get("per_image") or [], kind=kind)
    ends = [("Worst images", list(rows(worst))), ("Best images", list(rows(best)))]
    if not any(shown for _, shown in ends):
        return None
    return render(
        "gallery.html",
        ends=ends,
        kind=kind,
        names=run.classes,
        colours=run.colours,
        hatch=SWATCH,
        head=run.head,
    )


def chosen(
    rows: Sequence[Mapping[str, Any]], each: int = EACH, *, kind: str = "classes"
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The worst and the best by the ``RANK`` of a kind, none twice; those without one left out."""
    key, sign = RANK[kind]
    known = sorted((r for r in rows if r[key] is not None), key=lambda r: sign * float(r[key]))
    each = min(each, (len(known) + 1) // 2)
    worst, rest = known[:each], known[each:]
    return worst, rest[::-1][:each]


def paint(labels: Labels, palette: Colours) -> Rgb:
    """Label map in its classes' colours; void, and what names no class, is hatched.

    A plain colour would be some class's in one data set or another.
    """
    painted = colour(labels, np.array(palette, np.uint8).reshape(len(palette), 3))
    rows, columns = np.nonzero((labels == VOID) | (labels >= len(palette)))
    painted[rows, columns] = HATCH[(rows + columns) // STRIPE % 2]
    return painted


def errors(image: Rgb, truth: Labels, guess: Labels) -> Rgb:
    """The image in grey, wrong pixels red, void dark."""
    luma = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    grey = image.astype(np.float32) @ luma
    # Neither black nor white, so that red and dark stand out; a little shows through the red.
    shown = np.repeat((70 + 0.62 * grey)[..., None], 3, axis=2)
    wrong = (truth != VOID) & (truth != guess)
    shown[wrong] = 0.2 * shown[wrong] + 0.8 * _WRONG
    shown[truth == VOID] *= 0.45
    return shown.clip(0, 255).astype(np.uint8)


def mistakes(shown: Shown, names: Sequence[str]) -> str:
    """The largest confusions of one image in words."""
    counts = confusion(shown.truth, shown.guess, len(names))
    total = max(1, int(counts.sum()))
    largest = [c for c in confusions(counts, 3) if c.pixels / total >= 0.001]  # shown as 0.1 %
    words = [
        f"{names[c.truth]} taken for {names[c.guess]} ({percent(c.pixels / total)})"
        for c in largest
    ]
    return "; ".join(words) or "hardly a pixel wrong"


def panels(shown: Shown, palette: Colours) -> Panels:
    """Thumbnails of image, truth, guess and errors."""
    size = thumbnail(shown.image.shape[:2])
    truth = images.resize(shown.truth, size, method="nearest")
    guess = images.resize(shown.guess, size, method="nearest")
    small = images.resize(shown.image, size, method="bilinear")
    # JPEG would blur the borders of classes, PNG makes photos several times larger.
    drawn = (
        data_url(small, "JPEG"),
        data_url(paint(truth, palette), "PNG"),
        data_url(paint(guess, palette), "PNG"),
        data_url(errors(small, truth, guess), "JPEG"),
    )
    return list(zip(PANELS, drawn, strict=True))


def of_numbers(
    shown: Shown, scores: Mapping[str, Any], planes: Sequence[str]
) -> tuple[Remarks, Panels]:
    """Numbers on the scale of the truth, edges from 0 to 1, and how far they are apart."""
    edges = "f" in scores
    ends, off = ends_of(shown.truth), np.abs(shown.guess - shown.truth).mean(2, keepdims=True)
    # A few wild guesses must not press all else to blue.
    most = float(np.percentile(off[np.isfinite(off)], 98)) if np.isfinite(off).any() else 0.0
    if edges:
        ends, most = (0.0, 1.0), 1.0
        words = [f"{name} {percent(scores[name.lower()])}" for name in ("F", "precision", "recall")]
    else:
        unit = ", ".join(planes)
        words = [f"RMSE {scores['rmse']:.4g} {unit}", f"shown from {ends[0]:.3g} to {ends[1]:.3g}"]
        words.append(f"red errors: {most:.3g} {unit} and more")
    size = thumbnail(shown.image.shape[:2])
    drawn = [shown_numbers(m, e) for m, e in ((shown.truth, ends), (shown.guess, ends))]
    drawn = [shown.image, *drawn, shown_numbers(off, (0.0, most))]
    small = (data_url(images.resize(picture, size), "JPEG") for picture in drawn)
    return [("", w) for w in words], list(zip(PANELS, small, strict=True))


def thumbnail(size: tuple[int, ...]) -> tuple[int, int]:
    """The (height, width) at which an image of this size is shown; small ones stay as they are."""
    scale = min(1.0, WIDEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def data_url(image: Rgb, kind: Literal["PNG", "JPEG"]) -> str:
    """A picture as the source of an ``img``: pages load nothing."""
    data = base64.b64encode(images.encode(image, kind)).decode()
    return f"data:image/{kind.lower()};base64,{data}"
