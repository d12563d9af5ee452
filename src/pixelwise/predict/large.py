"""A picture that is not labelled in one piece: how it is cut, and its labels as they come.

Finished strips lie in files beside the records until all are there, so that a killed run goes on
behind the last one: what the next rows need of those above them is computed once more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.spans import Span
from pixelwise.engine.streaming import STRIP, Stream
from pixelwise.errors import UsageError
from pixelwise.machine.files import allocated, atomic_write
from pixelwise.nets.kinds import Kind
from pixelwise.pictures.large import LargePicture, let_go, write_png, write_tiff
from pixelwise.predict import saving
from pixelwise.predict.model import Model
from pixelwise.predict.prediction import Prediction
from pixelwise.weights.checkpoint import HeadClasses

EARTH = ".tif"
"""The end of a label map's name whose picture lies somewhere on the earth."""
OVERVIEW = 2048
"""Pixels of the longer side of a large picture's overlay."""


@dataclass(frozen=True)
class PartLabels:
    """The label maps of a picture, on the disk, as they are made."""

    folder: Path
    model: Model
    picture: LargePicture
    blocks: Sequence[Stream]
    """A stream for each block of columns; none: the picture whole."""

    @property
    def heads(self) -> dict[str, HeadClasses]:
        """By the names that a prediction has: of one head alone, none."""
        own = self.model.heads
        return own if len(own) > 1 else {"": next(iter(own.values()))}

    def kind(self, head: str) -> Kind:
        """What a head gives."""
        return self.model.predictor.net.kind(head or next(iter(self.model.heads)))

    def map(self, head: str) -> np.memmap[Any, Any]:
        """(H, W), of numbers (H, W, P); all its bytes are taken from the disk at once."""
        size: tuple[int, ...] = self.picture.size
        kind: np.dtype[Any] = np.dtype("u1" if len(self.model.classes) <= 255 else "u2")
        if self.kind(head).measured:
            size, kind = (*size, len(self.heads[head].classes)), np.dtype("f4")
        path = allocated(self.folder / f"{head}.labels", math.prod(size) * kind.itemsize)
        return np.memmap(path, kind, "r+", shape=size)

    def make(self, watch: Callable[[float], object]) -> None:
        """Label what is not labelled yet.

        ``watch`` gets the share of the picture that was done; what it raises ends the work.
        """
        model, runner, height = self.model, self.model.predictor.runner, self.picture.size[0]
        maps, area = [*map(self.map, self.heads)], math.prod(self.picture.size)
        journal = self.folder / "at"
        block, row = json.loads(journal.read_text()) if journal.is_file() else (0, 0)
        if not self.blocks:
            labelled = model.label(model.image(self.picture.part(slice(None), slice(None))))
            for whole, own in zip(maps, labelled.heads.values() or [labelled], strict=True):
                whole[:] = own.labels
        for i, stream in enumerate(self.blocks):
            left = Span((height if i < block else 0) if i != block else row, height)
            watch(left.first * stream.columns.length / area)
            assert isinstance(runner, PlannedRunner)
            strips = runner.streaming(replace(stream, rows=left)).labels(self._feed)
            for rows, labels in strips if left.length else ():
                for whole, (head, made) in zip(maps, labels.items(), strict=True):
                    part = model.predictor.of_strip(head, made)
                    whole[slice(*rows), slice(*stream.columns)] = part
                    whole.flush()
                    let_go(whole)
                let_go(self.picture.stored)
                atomic_write(journal, json.dumps([i, rows.end]))
                watch(rows.length * stream.columns.length / area)

    def _feed(self, rows: Span, columns: Span) -> Tensor:
        image = self.model.image(self.picture.part(slice(*rows), slice(*columns)))
        return torch.from_numpy(self.model.predictor.preprocess(image))

    def overview(self) -> Prediction:
        """Every n-th pixel and its labels, as many as an overlay shows."""
        some = (slice(None, None, -(max(self.picture.size) // -OVERVIEW)),) * 2
        image, heads = self.model.image(self.picture.part(*some)), {}
        for head, own in self.heads.items():
            told = self.map(head)[some].copy(), own.classes, own.palette
            kind, shown = self.kind(head), self.model.false_colour
            heads[head] = Prediction(image, *told, false_colour=shown, kind=kind)
        first = next(iter(heads.values()))
        return replace(first, heads=heads) if len(heads) > 1 else first

    def save(self, part: str, seen: Prediction, to: saving.Target) -> list[Path]:
        """As ``saving.write``; overlays are those of the ``overview``.

        Raises:
            ResourceError: the disk is full or not writable.
        """
        head, _, kind = part.rpartition("/")
        if kind == "overlay":
            return saving.write(part, seen, to)
        head_map = head or next(iter(self.heads))
        own, labels = seen.heads.get(head, seen), self.map(head_map)
        palette, text = np.asarray(own.palette, np.uint8), saving.label_text(own, to.header)
        place = saving.path(to.out / head, to.name, kind)
        if self.picture.tags:
            place = place.with_name(f"{place.stem}{EARTH}")
            return [write_tiff(place, labels, palette, text, self.picture.tags)]
        return [write_png(place, labels, palette, text, self.kind(head_map).step)]

    def areas(self) -> dict[str, dict[str, float]]:
        """By head the share of the picture that each class has, of those that occur."""
        shares: dict[str, dict[str, float]] = {}
        for head, own in self.heads.items():
            if self.kind(head).measured:
                shares[head] = {}
                continue
            counts, labels = np.zeros(len(own.classes), np.int64), self.map(head)
            for row in range(0, len(labels), STRIP):
                part = labels[row : row + STRIP].ravel()
                counts += np.bincount(part, minlength=len(counts))
                let_go(labels)
            named = zip(own.classes, counts.tolist(), strict=True)
            shares[head] = {name: count / labels.size for name, count in named if count}
        return shares


def refuse_other_kinds(parts: Sequence[str], path: Path) -> None:
    """U002 of outputs that a picture which is cut has not."""
    kinds = {part.rpartition("/")[2].partition(" ")[0] for part in parts} - {"labels", "overlay"}
    if kinds:
        what = f"{path} is labelled in parts, of which labels and overlay are saved, not "
        raise UsageError("U002", what + ", ".join(sorted(kinds)), "--save labels,overlay")
