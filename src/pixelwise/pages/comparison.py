"""The page that sets several systems side by side: scores, differences, classes, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.data.dataset import DataSet
from pixelwise.evaluation.comparison import Comparison, Together, best_of
from pixelwise.labels import three_bands
from pixelwise.pages.gallery import SWATCH, data_url, paint, thumbnail
from pixelwise.pages.markup import percent, render
from pixelwise.pictures import images

Labels = npt.NDArray[Any]
Guess = Callable[[str, str], Labels]
"""The label map of (system, picture)."""

EACH = 4  # pictures of each kind on the page: about 1.5 MB of it with three systems
TITLES = ("Worst pictures", "Best pictures", "Where the systems part most")


class Strip(NamedTuple):
    """A picture, what each system made of it, and the truth."""

    image: Together
    words: tuple[str, ...]
    pictures: tuple[npt.NDArray[np.uint8], ...]
    """(H, W, 3), in the order of ``words``."""


def strips(
    comparison: Comparison, dataset: DataSet, split: str, guess: Guess, each: int = EACH
) -> dict[str, list[Strip]]:
    """The panels of the worst, the best and the most disputed pictures, by title."""
    items = {item.name: item for item in dataset.items(split)}

    def strip(image: Together) -> Strip:
        sample = dataset.read(items[image.name])
        maps = [guess(system, image.name) for system in comparison.names] + [sample.labels]
        painted = (paint(labels, dataset.palette) for labels in maps)
        words = [
            f"{n} {percent(iu)}" for n, iu in zip(comparison.names, image.mean_ius, strict=True)
        ]
        picture = three_bands(sample.image, dataset.false_colour)
        return Strip(image, ("picture", *words, "truth"), (picture, *painted))

    ends = comparison.ends(each)
    return {t: [strip(i) for i in rows] for t, rows in zip(TITLES, ends, strict=True) if rows}


def page(
    comparison: Comparison,
    panels: Mapping[str, Sequence[Strip]],
    dataset: DataSet,
    split: str,
) -> str:
    """The page as text; it needs no network and runs no script."""
    evaluations = comparison.evaluations
    rows = zip(*(e.per_class for e in evaluations), dataset.palette, strict=True)
    classes = []
    for *cells, colour in rows:
        ius = [cell.iu for cell in cells]
        if cells[0].truth_pixels:  # the truth is the same for all
            classes.append((cells[0], colour, ius, best_of(ius)))
    return render(
        "comparison.html",
        title=f"{len(comparison.names)} systems on {dataset.root.resolve().name}, {split}",
        images=len(evaluations[0].names),
        systems=list(zip(comparison.names, evaluations, strict=True)),
        alone=evaluations[0].majority.sentence(),
        differences=comparison.differences,
        classes=classes,
        absent=[row.name for row in evaluations[0].per_class if not row.truth_pixels],
        names=comparison.names,
        panels={t: [_shown(strip) for strip in strips] for t, strips in panels.items()},
        legend=(dataset.classes, dataset.palette, SWATCH),
    )


def _shown(strip: Strip) -> tuple[str, list[tuple[str, str]], list[tuple[str, str]]]:
    """Name, remarks and thumbnails as the macro ``row`` takes them."""
    size = thumbnail(strip.pictures[0].shape[:2])
    sources = []
    for i, (word, picture) in enumerate(zip(strip.words, strip.pictures, strict=True)):
        small = images.resize(picture, size, method="nearest" if i else "bilinear")
        # JPEG would blur the borders of classes, PNG makes photos several times larger.
        sources.append((word, data_url(small, "PNG" if i else "JPEG")))
    remark = (
        f"mean IU {percent(strip.image.mean)}, from worst to best {percent(strip.image.spread)}"
    )
    return strip.image.name, [("", remark)], sources
