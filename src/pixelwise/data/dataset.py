"""A data set in memory: which pictures, which labels, which classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.classes import ClassMap
from pixelwise.data.sample import Item, Sample
from pixelwise.errors import DataError, hxw
from pixelwise.pictures.imagefile import image_header
from pixelwise.pictures.images import Exif, read_image


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
        image = read_image(item.image, exif=exif_rule(item.image, labels.shape))
        if image.shape[:2] != labels.shape:
            raise DataError(
                "D013",
                f"{item.image} is {hxw(image.shape)}, its label map {item.labels} is "
                f"{hxw(labels.shape)} (HxW); expected the same size",
                "export the labels at the picture's size; they are never resized silently",
            )
        return Sample(item.name, image, labels)

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
        meaning = self.classes, sorted(self.class_map.values.items()), self.class_map.colours
        digest = hashlib.sha256(repr(meaning).encode("utf-8", "surrogatepass"))
        for split in sorted(set(splits) or self.splits):
            for item in self.items(split):
                sizes = item.image.stat().st_size, item.labels.stat().st_size
                digest.update(repr((split, item.name, sizes)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def exif_rule(path: Path, label_size: tuple[int, ...]) -> Exif:
    """Whether a picture with an EXIF turn is to be turned: as its label map was drawn.

    A label map carries no EXIF. If just one of stored and shown size equals the map's, that
    decides; where both do (square pictures, half turns, mirrors) nothing can, and guessing would
    spoil labels.

    Raises:
        DataError: D014 the orientation is ambiguous.
    """
    header = image_header(path)
    if header.orientation == 1:
        return "apply"
    stored, shown = (header.height, header.width), header.shown_size
    if stored == shown and tuple(label_size) == stored:
        raise DataError(
            "D014",
            f"{path} has EXIF orientation {header.orientation}, and its label map fits it turned "
            "and unturned",
            "turn the picture for good and remove the tag, e.g. with `mogrify -auto-orient`",
        )
    return "ignore" if tuple(label_size) == stored else "apply"
