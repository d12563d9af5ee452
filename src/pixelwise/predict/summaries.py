"""What is saved of all pictures of a folder together, from the label maps that lie there.

So it holds what was made earlier and what was corrected by hand; each file is made anew at the end
of a run that was not interrupted. Memory does not grow with the number of pictures, but for a line
of each.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise import labels
from pixelwise.data.runs import runs_of, text_of
from pixelwise.labels import VOID, Labels
from pixelwise.machine.files import atomic_write
from pixelwise.pictures import images
from pixelwise.predict import exports, saving
from pixelwise.predict.exports import CVAT, LABELME
from pixelwise.predict.model import Model
from pixelwise.predict.saving import AREAS, COCO, OF_ALL, SHEET, Drawing
from pixelwise.predict.sources import Job
from pixelwise.weights.checkpoint import HeadClasses

SHOWN, COLUMNS, SIDE = 48, 8, 240
"""Pictures of a contact sheet, evenly taken of all; a row of them; pixels of their longer side."""


@dataclass(frozen=True)
class Labelled:
    """The pictures of a folder that have label maps."""

    jobs: Sequence[Job]
    folders: Mapping[str, Path]
    """Where those of each head lie."""
    shard: str = ""
    """Behind the names of files of a part of them."""

    def maps(self, head: str) -> Iterator[tuple[Job, Labels]]:
        """Each picture and the label map of a head; of a video each frame."""
        folder = self.folders[head]
        for job in self.jobs:
            frames = sorted((folder / job.name).glob("*.png")) if job.video else []
            for path in frames:
                yield replace(job, called=f"{job.name}/{path.stem}"), images.read_labels(path)
            if not job.video:
                yield job, images.read_labels(saving.path(folder, job.name, "labels"))

    @property
    def pictures(self) -> Labelled:
        """Without videos."""
        return replace(self, jobs=[job for job in self.jobs if not job.video])

    def place(self, head: str, file: str) -> Path:
        """Where a file of all goes."""
        path = self.folders[head] / file
        return path.with_name(f"{path.stem}{self.shard}{path.suffix}")


def write(kinds: Sequence[str], of: Labelled, model: Model, drawn: Drawing) -> list[Path]:
    """The files of all that are asked for, which are returned; areas of all heads are in one.

    Raises:
        DataError: a label map that was changed by hand is none.
        ResourceError: the disk is full or not writable.
    """
    written = []
    net, first = model.predictor.net, next(iter(of.folders))
    heads = {h: own for h, own in model.heads.items() if not net.kind(h).measured}
    if AREAS in kinds:
        table = _areas(of, heads, drawn)
        written.append(atomic_write(of.place(first, OF_ALL[AREAS]), table))
    of = of.pictures
    for head, own in heads.items():
        if SHEET in kinds and of.jobs:
            sheet = _sheet(of, head, model, drawn)
            written.append(images.write_image(of.place(head, OF_ALL[SHEET]), sheet))
        if COCO in kinds:
            content = partial(_write_coco, of, head, own.classes)
            written.append(atomic_write(of.place(head, OF_ALL[COCO]), content))
        if LABELME in kinds:
            place = of.folders[head] / LABELME / "labels.txt"
            written.append(atomic_write(place, exports.label_list(own.classes)))
        if CVAT in kinds:
            folder = of.folders[head] / CVAT
            listed = "".join(f"{exports.flat(job.name)}\n" for job in of.jobs)
            place = of.place(head, f"{CVAT}/ImageSets/Segmentation/default.txt")
            written.append(atomic_write(place, listed))
            void = model.predictor.view.sieve.reject > 0
            text = exports.label_map(own.classes, own.palette, void=void)
            written.append(atomic_write(folder / "labelmap.txt", text))
    return written


def _areas(of: Labelled, heads: Mapping[str, HeadClasses], drawn: Drawing) -> str:
    """A line for each class that a picture has, as CSV; ``area`` in squares of the pixel's unit."""
    several, (side, unit) = len(heads) > 1, drawn.pixel or (0.0, "")
    columns = ["picture", "head", "class", "pixels", "share", f"area_{unit}2" if unit else "area"]
    used = [c for c in columns if (several or c != "head") and (side or not c.startswith("area"))]
    text = io.StringIO()
    rows = csv.DictWriter(text, used, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    for head, own in heads.items():
        for job, values in of.maps(head):
            for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                name = _class_name(int(value), own.classes)
                pixels, share = int(count), f"{count / values.size:.8g}"
                area = f"{pixels * side * side:.10g}"
                cells = [job.name, head, name, pixels, share, area]
                rows.writerow(dict(zip(columns, cells, strict=True)))
    return text.getvalue()


def _class_name(value: int, classes: Sequence[str]) -> str:
    """Corrected maps may have void, or values of the corrector's own."""
    if value < len(classes):
        return classes[value]
    return "void" if value == VOID else f"value {value}"


def _sheet(of: Labelled, head: str, model: Model, drawn: Drawing) -> labels.Image:
    """Small pictures under their labels in rows, with the legend of the classes that are seen."""
    own, count = model.heads[head], min(SHOWN, len(of.jobs))
    chosen = np.linspace(0, len(of.jobs) - 1, count).round().astype(int).tolist()
    cells, seen = [], set[int]()
    for job, values in replace(of, jobs=[of.jobs[i] for i in chosen]).maps(head):
        image = labels.three_bands(model.image(job.content(model.inputs)), model.false_colour)
        longest = max(values.shape)
        size = tuple(max(1, round(n * SIDE / longest)) for n in values.shape)
        small = images.resize(values, size, method="nearest")
        cells.append(drawn.tinted(images.resize(image, size), small, own))
        seen |= set(np.unique(small).tolist())
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    whole = [np.full((height, width, 3), 255, np.uint8) for _ in cells]
    for place, cell in zip(whole, cells, strict=True):
        place[: cell.shape[0], : cell.shape[1]] = cell
    names = [of.jobs[i].name for i in chosen]
    rows = [
        images.side_by_side(whole[i : i + COLUMNS], names[i : i + COLUMNS])
        for i in range(0, count, COLUMNS)
    ]
    widest = max(row.shape[1] for row in rows)
    filled = [
        np.pad(r, ((0, 0), (0, widest - r.shape[1]), (0, 0)), constant_values=255) for r in rows
    ]
    ids = sorted(i for i in seen if i < len(own.classes))
    palette = np.array(own.palette, np.uint8)[ids]
    return images.draw_legend(np.concatenate(filled), [own.classes[i] for i in ids], palette)


def _write_coco(of: Labelled, head: str, classes: Sequence[str], f: BinaryIO) -> None:
    """COCO JSON: the run lengths of each class of a picture; pictures as they lay in the source."""
    pictures, number, before = [], 0, b'{"annotations": ['
    for i, (job, values) in enumerate(of.maps(head), 1):
        suffix = job.source.suffix if job.place is None and not job.address else ".png"
        size = {"height": values.shape[0], "width": values.shape[1]}
        pictures.append({"id": i, "file_name": f"{job.name}{suffix}", **size})
        for value in np.unique(values[values < len(classes)]).tolist():
            number += 1
            told = {"id": number, "image_id": i, "category_id": value, **_masked(values == value)}
            f.write(before + b"\n" + json.dumps(told).encode())
            before = b","
    categories = [{"id": i, "name": name} for i, name in enumerate(classes)]
    rest = json.dumps({"images": pictures, "categories": categories}, ensure_ascii=False)
    f.write(
        (before if not number else b"") + b"\n], " + rest[1:].encode("utf-8", "backslashreplace")
    )


def _masked(mask: NDArray[np.bool_]) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    corner = [int(columns[0]), int(rows[0])]
    box = [*corner, int(columns[-1]) - corner[0] + 1, int(rows[-1]) - corner[1] + 1]
    counts = text_of(runs_of(mask))
    runs = {"size": list(mask.shape), "counts": counts}
    return {"segmentation": runs, "area": int(mask.sum()), "bbox": box, "iscrowd": 0}
