"""A data set in memory: which pictures, which labels, which classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap
from pixelwise.data.sample import Item, Sample
from pixelwise.errors import DataError, hxw
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.pictures.reading import Picture, Values, decode, repeated, stack


@dataclass(frozen=True)
class DataSet:
    """Pictures with labels, in named splits."""

    root: Path
    layout: str
    """Which recogniser opened it."""
    evidence: str
    """Why it was taken for that."""
    class_map: ClassMap
    splits: Mapping[str, tuple[Item, ...]]
    notes: tuple[str, ...] = ()
    """What was decided on the way, one sentence each."""
    drawn: bool = False
    """The folder says nothing of splits; train and val were drawn."""
    problems: tuple[DataError, ...] = ()
    """What is wrong with the listing; ``splits`` hold what could be paired all the same."""
    values: Values = "8-bit"
    """Which numbers of its pictures are taken, see ``pictures.reading``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the labels."""
        return self.class_map.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """A colour for each class."""
        return self.class_map.palette

    def items(self, split: str) -> tuple[Item, ...]:
        """The items of a split.

        Raises:
            DataError: D032 no such split, or an empty one.
        """
        found = self.splits.get(split, ())
        if not found:
            known = ", ".join(f"{name} ({len(items)})" for name, items in self.splits.items())
            raise DataError(
                "D032",
                f"{self.root}: split `{split}` is empty or missing; there are: {known}",
                "name one that is there, or add pictures for it",
            )
        return found

    def read(self, item: Item) -> Sample:
        """Picture and labels of an item, checked against each other and the class list.

        Raises:
            DataError: unreadable files, D013 different sizes, D012 a value that names no class,
                D014 an EXIF turn that cannot be decided.
        """
        labels = self.class_map.read(item.labels)
        # Photos of one set may be grey or in colour; of several inputs each is what it is.
        values: Values = self.values if len(item.inputs) == 1 else "stored"
        inputs = []
        for path in item.inputs.values():
            picture = decode(file_bytes(path), path, values=values)
            image = as_labelled(picture, path, labels)
            if image.shape[:2] != labels.shape:
                raise DataError(
                    "D013",
                    f"{path} is {hxw(image.shape)}, its label map {item.labels} is "
                    f"{hxw(labels.shape)} (HxW); expected the same size",
                    "export the labels at the picture's size; they are never resized silently",
                )
            inputs.append(image)
        image = stack(inputs)
        return Sample(item.name, repeated(image) if values == "8-bit" else image, labels)

    def all_items(self) -> tuple[Item, ...]:
        """Every item once, by name."""
        unique = {item.name: item for items in self.splits.values() for item in items}
        return tuple(unique[name] for name in sorted(unique))

    @property
    def folders(self) -> frozenset[Path]:
        """Where its pictures and label maps lie, as resolved paths."""
        files = (p for i in self.all_items() for p in (i.image, i.labels))
        return frozenset(p.parent.resolve() for p in files)

    def fingerprint(self, *splits: str) -> str:
        """A short hash over what labels mean, and over the files of splits (all, or those named).

        Files count by name and size.

        Raises:
            DataError: D032 no such split, or an empty one.
        """
        stored = (self.values,) if self.values != "8-bit" else ()  # hashes of before stay
        values = sorted(self.class_map.values.items())
        meaning = self.classes, values, self.class_map.colours, *stored
        digest = hashlib.sha256(repr(meaning).encode("utf-8", "surrogatepass"))
        for split in sorted(set(splits) or self.splits):
            for item in self.items(split):
                sizes = item.image.stat().st_size, item.labels.stat().st_size
                digest.update(repr((split, item.name, sizes)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def as_labelled(picture: Picture, path: Path, labels: NDArray[Any]) -> NDArray[Any]:
    """A picture, turned as EXIF says or as it is stored: as its label map was drawn.

    A label map carries no EXIF. If just one of stored and shown size equals the map's, that
    decides; where both do (square pictures, half turns, mirrors) nothing can, and guessing would
    spoil labels.

    Args:
        picture: as it was decoded.
        path: of it, for the message.
        labels: (H, W).

    Raises:
        DataError: D014 the orientation is ambiguous.
    """
    stored, shown = picture.stored, picture.shown
    if picture.header.orientation == 1 or stored.shape[:2] != labels.shape:
        return shown
    if shown.shape == stored.shape:
        raise DataError(
            "D014",
            f"{path} has EXIF orientation {picture.header.orientation}, and its label map fits it "
            "turned and unturned",
            "turn the picture for good and remove the tag, e.g. with `mogrify -auto-orient`",
        )
    return stored
