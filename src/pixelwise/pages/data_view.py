"""The page on which a data set is looked at: classes, problems, pictures with their labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.inspect import Inspection, Seen
from pixelwise.data.sample import Item, Sample
from pixelwise.errors import PixelwiseError, UsageError, hxw
from pixelwise.labels import VOID, overlay, shown_numbers, three_bands
from pixelwise.machine.files import atomic_write
from pixelwise.pages.gallery import SWATCH, Panels, data_url, paint, thumbnail
from pixelwise.pages.markup import percent, render
from pixelwise.pictures import images

COUNT = 24
"""Pictures that are shown: with three panels each, of 480 pixels, about 3 MB of page."""
PROBLEMS, EACH = 20, 3
"""Problems and remarks that are shown with pictures, and pictures of a remark; the others are in
``data inspect --json``."""
MARK = b"Made by pixelwise"
"""In the foot of every page of ours."""


class Doubt(NamedTuple):
    """A problem or a remark, and the pictures that it is about."""

    word: str
    text: str
    panels: Panels


def write_view(inspection: Inspection, place: Path, *, count: int = COUNT) -> Path:
    """Write the page of an inspected data set; ``count`` pictures of it are shown.

    Raises:
        UsageError: U003 ``place`` is something else.
    """
    if place.is_dir() or (place.exists() and MARK not in place.read_bytes()):
        what = f"{place} is {'a folder' if place.is_dir() else 'no page of ours'}"
        raise UsageError("U003", what, "choose another -o, as view.html")
    return atomic_write(place, page(inspection, count=count))


def page(inspection: Inspection, *, count: int = COUNT) -> str:
    """The page as text; it needs no network and runs no script."""
    dataset = inspection.dataset
    chosen = sample(inspection, count)
    shown = [
        (split, len(inspection.seen[split]), [_row(inspection, view) for view in views])
        for split, views in chosen.items()
    ]
    return render(
        "data_view.html",
        title=dataset.root.resolve().name,
        dataset=dataset,
        pictures=len(dataset.all_items()),
        sizes=[f"{hxw(size)} ({n})" for size, n in inspection.sizes().most_common(3)],
        classes=_classes(inspection),
        splits=list(inspection.seen),
        problems=list(_doubts(inspection)),
        more=max(0, len(inspection.problems) + len(inspection.remarks) - PROBLEMS),
        shown=shown,
        count=sum(map(len, chosen.values())),
        legend=(dataset.classes, dataset.palette, SWATCH),
    )


def sample(inspection: Inspection, count: int) -> dict[str, list[Seen]]:
    """Which pictures are shown, by split: of each class one at least, the rarest first.

    Whatever order the files lie in, and the same each time.
    """
    head, k = inspection.dataset.heads[0], len(inspection.dataset.classes)
    views = {view.item.files: (s, view) for s, row in inspection.seen.items() for view in row}
    order = sorted(views, key=lambda f: hashlib.sha256(repr(f[0]).encode()).digest())
    present = {f: _present(views[f][1], head, k) for f in order}
    holders = np.sum([*present.values()], axis=0) if order else np.zeros(k)
    chosen: dict[tuple[Path, ...], None] = {}
    for one in np.argsort(holders, kind="stable").tolist():
        if not any(present[f][one] for f in chosen):
            chosen |= dict.fromkeys([f for f in order if present[f][one]][:1])
    chosen = dict.fromkeys([*dict.fromkeys((*chosen, *order))][:count])
    rows = {s: [views[f][1] for f in chosen if views[f][0] == s] for s in inspection.seen}
    return {split: row for split, row in rows.items() if row}


def _present(view: Seen, head: str, k: int) -> NDArray[np.bool_]:
    counts = view.counts.heads[head][:k] if view.counts else np.zeros(k)
    return np.asarray(counts, bool)


def _classes(inspection: Inspection) -> list[tuple[str, Any, float, dict[str, tuple[int, int]]]]:
    """Name, colour, share of all labelled pixels, and pixels and pictures by split."""
    dataset = inspection.dataset
    head, k = dataset.heads[0], len(dataset.classes)
    views = {view.item.files: view for view in chain(*inspection.seen.values())}
    once = np.sum([np.zeros(k), *(v.counts.heads[head][:k] for v in views.values() if v.counts)], 0)
    counts = inspection.counts(head).items()
    return [
        (
            name,
            dataset.palette[i],
            float(once[i] / max(1, once.sum())),
            {s: (int(c.pixels[i]), int(c.images_with[i])) for s, c in counts},
        )
        for i, name in enumerate(dataset.classes)
    ]


def _row(inspection: Inspection, view: Seen) -> tuple[str, list[tuple[str, str]], Panels]:
    """Name, remarks and panels, as the macro ``row`` takes them."""
    dataset = inspection.dataset
    labelled = view.item.labelled(dataset.heads)
    remarks = [("", view.item.image.name), ("", hxw(view.size))]
    try:
        if not labelled:
            remarks.append(("", "no label map"))
            return view.item.name, remarks, [("picture", _small(dataset, view.item))]
        sample = dataset.read(view.item)
    except PixelwiseError as error:  # it was there a moment ago
        return view.item.name, [*remarks, ("mistakes", str(error))], []
    assert view.counts  # it is labelled
    void = view.counts.heads[dataset.heads[0]][VOID] / math.prod(view.size)
    return (
        view.item.name,
        [*remarks, ("", f"{percent(void)} void")],
        panels(sample, dataset.palette, dataset.false_colour),
    )


def panels(
    sample: Sample, palette: Sequence[tuple[int, int, int]], shown: Sequence[int] = ()
) -> Panels:
    """Thumbnails of the picture, of the picture under its labels, and of the labels."""
    size = thumbnail(sample.labels.shape[:2])
    small = images.resize(three_bands(sample.image, shown), size, method="bilinear")
    labels = images.resize(sample.labels, size, method="nearest")
    if labels.ndim == 3:
        numbers = data_url(shown_numbers(labels), "PNG")
        return [("picture", data_url(small, "JPEG")), ("numbers", numbers)]
    under = overlay(small, labels, np.array(palette, np.uint8).reshape(len(palette), 3))
    # JPEG would blur the borders of classes, PNG makes photos several times larger.
    return [
        ("picture", data_url(small, "JPEG")),
        ("labels over it", data_url(under, "JPEG")),
        ("labels", data_url(paint(labels, palette), "PNG")),
    ]


def _doubts(inspection: Inspection) -> Iterator[Doubt]:
    """Problems, then remarks, with pictures of theirs that can be read."""
    items = inspection.dataset.all_items()
    by_name = {item.name: item for item in items}
    for problem in inspection.problems[:PROBLEMS]:
        # A problem names its files in its text, whoever told it.
        text = str(problem)
        own = [i for i in items if any(str(f) in text for f in i.files)]
        yield Doubt(problem.code, text, _pictures(inspection, own[:EACH]))
    for remark in inspection.remarks[: max(0, PROBLEMS - len(inspection.problems))]:
        own = [by_name[name] for name in remark.pictures[:EACH] if name in by_name]
        yield Doubt("warning", remark.text, _pictures(inspection, own))


def _pictures(inspection: Inspection, items: Sequence[Item]) -> Panels:
    """The pictures of some items; one that cannot be read is left out."""
    made: Panels = []
    for item in items:
        try:
            made.append((item.name, _small(inspection.dataset, item)))
        except PixelwiseError:
            continue
    return made


def _small(dataset: DataSet, item: Item) -> str:
    image = three_bands(dataset.image(item), dataset.false_colour)
    return data_url(images.resize(image, thumbnail(image.shape[:2]), method="bilinear"), "JPEG")
