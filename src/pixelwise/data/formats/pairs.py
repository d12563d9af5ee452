"""Where a folder keeps its pictures and its label maps: side by side, together, and by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.listing import marked, pictures

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "photos", "jpegimages")
LABEL_FOLDERS = ("labels", "label", "masks", "mask", "annotations", "annotation", "ann_dir", "gt")
"""Names that count, in any case; of several the first in this order."""
SPLITS = {"train": "train", "val": "val", "test": "test"} | {
    "training": "train",
    "validation": "val",
    "valid": "val",
    "testing": "test",
}
"""Name of a folder, in any case, to that of the split."""

Pair = tuple[Path, Path]
"""A folder of pictures and the folder of their label maps; one folder may be both."""


@dataclass(frozen=True)
class Part:
    """A folder that stands for a split, and what it holds."""

    folder: Path
    images: Path | None
    labels: Path | None

    @property
    def pair(self) -> Pair | None:
        """Both folders, if both are there."""
        return (self.images, self.labels) if self.images and self.labels else None

    @property
    def split(self) -> str:
        """The split's name, in the usual spelling."""
        return SPLITS.get(self.folder.name.lower(), self.folder.name)


def part_in(root: Path) -> Part:
    """The folders in ``root`` by their names, else ``root`` itself if it mixes both kinds."""
    inside = {folder.name.lower(): folder for folder in reversed(subfolders(root))}
    images = next((inside[n] for n in IMAGE_FOLDERS if n in inside), None)
    labels = next((inside[n] for n in LABEL_FOLDERS if n in inside), None)
    if not (images or labels) and marked({path.stem for path in pictures(root)}):
        return Part(root, root, root)
    return Part(root, images, labels)


def outer_parts(root: Path) -> tuple[Part, ...]:
    """Folders named as splits, where one at least holds both pictures and label maps."""
    parts = tuple(part_in(f) for f in subfolders(root) if f.name.lower() in SPLITS)
    return parts if any(part.pair for part in parts) else ()


def inner_parts(pair: Pair) -> tuple[Part, ...]:
    """Folders among pictures and label maps, where no picture lies beside them."""
    if pair[0] == pair[1] or pictures(pair[0]):
        return ()
    left, right = ({f.name: f for f in subfolders(side)} for side in pair)
    parts = tuple(
        Part(left.get(n) or right[n], left.get(n), right.get(n))
        for n in sorted(left.keys() | right.keys())
    )
    return parts if any(part.pair for part in parts) else ()


def subfolders(root: Path) -> list[Path]:
    """Folders in a folder, by name; hidden ones are not looked at."""
    inside = (p for p in root.iterdir() if not p.name.startswith("."))
    return sorted(p for p in inside if p.is_dir())


def label_folders(names: Sequence[str]) -> set[str]:
    """Which of the folders at one place hold label maps: pictures must have a folder there too."""
    lower = {name: name.lower() for name in names}
    beside = set(lower.values())
    common = [n for n in names if lower[n] in LABEL_FOLDERS and beside & {*IMAGE_FOLDERS}]
    voc = [n for n in names if lower[n].startswith("segmentation") and "jpegimages" in beside]
    camvid = [n for n in names if n.endswith("annot") and n.removesuffix("annot") in names]
    return {*common, *voc, *camvid}
