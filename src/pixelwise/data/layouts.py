"""A data set in memory: which pictures, which labels, which classes; and how one is recognised.

``open_dataset`` looks at what is in a folder, not at its name: the canonical layout
(``dataset.json``), CamVid in SegNet's form, PASCAL VOC's, and folders of pictures beside folders of
masks. It lists every problem of the listing at once; what is inside the files is checked when they
are read (``DataSet.read``), and all of it beforehand by ``data.inspect``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pixelwise.data.classes import ClassMap
from pixelwise.data.listing import raise_all
from pixelwise.data.sample import Item, Sample
from pixelwise.errors import DataError
from pixelwise.imagefile import image_header
from pixelwise.images import Exif, read_image

BY_SEED = "no lists of splits: train and val were split by seed {seed}"


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
    image_channels: int = field(default=3)
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
                "choose one of them, e.g. --split val or --set train_split=train",
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
                f"{item.image} is {image.shape[1]}x{image.shape[0]}, its label map {item.labels} "
                f"is {labels.shape[1]}x{labels.shape[0]}; expected the same size",
                "export the labels at the picture's size; they are never resized silently",
            )
        return Sample(item.name, image, labels)

    def all_items(self) -> tuple[Item, ...]:
        """Every item once, by name."""
        unique = {item.name: item for items in self.splits.values() for item in items}
        return tuple(unique[name] for name in sorted(unique))

    def fingerprint(self, *splits: str) -> str:
        """A short hash over what labels mean, and over the files of splits (all, or those named).

        Files count by name and size.
        """
        meaning = self.classes, sorted(self.class_map.values.items()), self.class_map.colours
        digest = hashlib.sha256(repr(meaning).encode("utf-8", "surrogatepass"))
        for split in sorted(set(splits) or self.splits):
            for item in self.splits[split]:
                sizes = item.image.stat().st_size, item.labels.stat().st_size
                digest.update(repr((split, item.name, sizes)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def _namesakes(dataset: DataSet) -> Iterator[DataError]:
    """Outputs and records are named after items: a name stands for one picture."""
    known: dict[str, Item] = {}
    for item in (item for items in dataset.splits.values() for item in items):
        other = known.setdefault(item.name, item)
        if other.image != item.image:
            yield DataError(
                "D030", f"{other.image} and {item.image} share the stem `{item.name}`", "rename one"
            )


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


def open_dataset(path: Path | str, *, seed: int = 0, strict: bool = True) -> DataSet:
    """The data set in a folder, by whatever layout it has.

    Args:
        path: the folder.
        seed: for the split of a folder that comes without one.
        strict: raise the problems of the listing; else they are in the data set's ``problems``,
            for ``inspect`` to tell with those inside the files.

    Raises:
        DataError: D010 no such folder, D011 no layout fits, D030, D031, D032, D034 problems of the
            listing; several at once as one D035.
    """
    from pixelwise.data import camvid, canonical, folder, voc

    root = Path(path)
    if not root.is_dir():
        raise DataError("D010", f"{root}: no such folder", "give the folder of a data set")
    for layout in (canonical, camvid, voc, folder):
        if layout.recognise(root):
            found: DataSet = layout.open_layout(root, seed)
            found = replace(found, problems=(*found.problems, *_namesakes(found)))
            if strict:
                raise_all(root, found.problems)
            return found
    inside = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
    raise DataError(
        "D011",
        f"{root}: no known layout (it holds: {inside})",
        "put pictures into images/ and label maps of the same names into labels/",
    )
