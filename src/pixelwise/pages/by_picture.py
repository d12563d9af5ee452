"""The evaluated pictures of a run, the worst first: by mean IU, or by one confusion of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from pixelwise.errors import PixelwiseError, UsageError
from pixelwise.labels import VOID, three_bands
from pixelwise.metrics.confusion import confusion
from pixelwise.pages.gallery import (
    SWATCH,
    Panels,
    Shown,
    chosen,
    data_url,
    errors,
    mistakes,
    panels,
    thumbnail,
)
from pixelwise.pages.markup import percent, render
from pixelwise.pages.run import Run
from pixelwise.pictures import images

EACH = 12  # pictures on a page: about 1.5 MB
MOST = 5000  # label maps that one question may read: half a minute at 500x375
Counted = Mapping[str, Mapping[tuple[int, int], int]]
"""By picture the pixels of each confusion, (truth, guess), that it has."""
Pair = tuple[int | None, int | None]
"""Numbers of the true class and of the one it was taken for; None is any other."""
ANY: Pair = (None, None)
"""No confusion: pictures come by their mean IU."""


def counted(run: Run) -> Counted:
    """What is confused in each picture, from the label maps that the evaluation keeps.

    The scores of a run hold no counts by picture; truth and guess are compared anew.

    Raises:
        UsageError: U002 the run, or its data, lacks what that needs.
    """
    items, dataset, unread = _items(run), run.dataset, list[str]()
    assert dataset is not None
    head, found = dataset.heads[0], dict[str, dict[tuple[int, int], int]]()
    for name, item in islice(items.items(), MOST):
        try:
            truth = item.labels[head].read(dataset.class_maps[head])
            guess = images.read_labels(run.folder / run.guesses / f"{name}.png")
            counts = confusion(truth, guess, len(run.classes))
        except PixelwiseError as error:
            unread.append(str(error))
            continue
        np.fill_diagonal(counts, 0)
        found[name] = {(t, g): int(counts[t, g]) for t, g in np.argwhere(counts).tolist()}
    if unread:
        run.notes.append(f"{len(unread)} pictures are not counted, the first: {unread[0]}")
    return found


def page(
    run: Run, counts: Counted, pair: Pair = ANY, first: int = 0, *, name: str, link: str
) -> str:
    """The page as text, of ``EACH`` pictures.

    Args:
        run: as one of its heads sees it.
        counts: of ``counted``, where a confusion is wanted.
        pair: the confusion; pictures in which it never happened are left out.
        first: number of the page's first picture.
        name: of the run.
        link: to this page of the run, to which ``&truth=1&guess=2&first=12`` are added.

    Raises:
        UsageError: U002 no such class, or the run lacks what is shown.
    """
    for i in pair:
        if i is not None and i >= len(run.classes):
            raise UsageError("U002", f"class {i}, expected 0 to {len(run.classes) - 1}")
    pixels = {each: _pixels(own, pair) for each, own in counts.items()}
    rows = run.scores.get("per_image") or []
    worse, better = chosen(rows, len(rows))
    worst = [str(row["name"]) for row in (*worse, *reversed(better))]
    confused = sorted((n for n in pixels if pixels[n]), key=lambda n: -pixels[n])
    order = worst if pair == ANY else confused
    truth, guess = ("" if i is None else i for i in pair)
    turns = {"previous": max(0, first - EACH), "next": first + EACH}
    shown = list(_rows(run, order[first : first + EACH], pair, pixels))
    return render(
        "by_picture.html",
        title=f"{name}: pictures",
        name=name,
        head=run.head,
        names=run.classes,
        colours=run.colours,
        hatch=SWATCH,
        pair=pair,
        confused=pair != ANY,
        total=len(order),
        most=MOST if len(counts) == MOST else 0,
        first=first,
        turns={w: at for w, at in turns.items() if at != first and at < len(order)},
        link=f"{link}&truth={truth}&guess={guess}&first=",
        rows=shown,
        notes=run.notes,
    )


def _pixels(own: Mapping[tuple[int, int], int], pair: Pair) -> int:
    """How many of a picture's pixels are confused so."""
    truth, guess = pair
    return sum(n for (t, g), n in own.items() if truth in (None, t) and guess in (None, g))


def _items(run: Run) -> Mapping[str, Any]:
    """The data set's items by name; refused where a run has nothing to show."""
    if run.dataset is None or not (run.folder / run.guesses).is_dir():
        why = f"{run.guesses} is missing" if run.dataset else "; ".join(run.notes)
        hint = f"pixelwise evaluate RUN DATA --save RUN/{run.guesses}"
        raise UsageError("U002", f"pictures cannot be shown: {why}", hint)
    if run.dataset.class_map.kind.measured:
        raise UsageError("U002", "pictures are ordered by classes, and the head gives numbers")
    return {item.name: item for item in run.dataset.items(run.split)}


def _rows(
    run: Run, names: Sequence[str], pair: Pair, pixels: Mapping[str, int]
) -> Iterator[tuple[str, list[tuple[str, str]], Panels]]:
    """Name, remarks and panels of each picture that can be shown."""
    items, dataset = _items(run), run.dataset
    assert dataset is not None
    scores = {str(row["name"]): row for row in run.scores.get("per_image") or []}
    for name in names:
        try:
            sample = dataset.read(items[name])
            guess = images.read_labels(run.folder / run.guesses / f"{name}.png")
            seen = three_bands(sample.image, dataset.false_colour)
            shown, mean = Shown(seen, sample.labels, guess), scores[name]["mean_iu"]
        except (KeyError, PixelwiseError) as error:
            run.notes.append(f"{name} is not shown: {error}")
            continue
        remarks = [("", f"mean IU {percent(mean)}")]
        if pair != ANY:
            known = shown.truth != VOID if pair[0] is None else shown.truth == pair[0]
            share = percent(pixels[name] / max(1, int(known.sum())))
            of = "the picture" if pair[0] is None else f"{run.classes[pair[0]]} here"
            remarks.insert(0, ("", f"{pixels[name]:,} px, {share} of {of}"))
        remarks.append(("mistakes", mistakes(shown, run.classes)))
        made = panels(shown, run.colours)
        yield name, remarks, made if pair == ANY else [*made[:3], _confused(shown, pair)]


def _confused(shown: Shown, pair: Pair) -> tuple[str, str]:
    """The panel in which one confusion alone is red."""
    here = np.ones_like(shown.truth, bool)
    for i, labels in zip(pair, (shown.truth, shown.guess), strict=True):
        here &= True if i is None else labels == i
    only, size = np.where(here | (shown.truth == VOID), shown.truth, shown.guess), shown.truth.shape
    truth, guess = (
        images.resize(m, thumbnail(size), method="nearest") for m in (only, shown.guess)
    )
    small = images.resize(shown.image, thumbnail(size), method="bilinear")
    return "this confusion", data_url(errors(small, truth, guess), "JPEG")
