"""Shards: tars in which the files of a sample stand under one name, as webdataset has them.

``000017.jpg`` and ``000017.png`` are a picture and its label map, and so are ``000017.jpg`` and
``000017.labels.png``. Splits are what the tars are called after (``train-000000.tar``, or a folder
``train/`` of them), lists in ``splits/``, or drawn. Nothing is unpacked (``pictures.shards``).
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.formats.folder import LABEL_FOLDERS, SPLITS, classes_of_folder
from pixelwise.data.listing import Listing
from pixelwise.data.sample import Item, LabelMap
from pixelwise.errors import DataError
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.recognise import SUFFIXES
from pixelwise.pictures.shards import (
    BLOCK,
    END,
    INDEX,
    Placed,
    archives_in,
    index_text,
    names_in,
    split,
)

FOLDER = "shards"
IMAGES, MAPS = "images", "labels"
"""Folders of the first input and head elsewhere; here what stands before the ending."""
WORDS = frozenset((*LABEL_FOLDERS, "seg", "segmentation", "target"))
"""What may stand before the ending of a label map, as in ``000017.seg.png``."""
FIRST = 64
"""Files at the beginning of a tar that are looked at to see what it is."""

Pieces = Sequence[tuple[str, str, bytes]]
"""The files of a sample: the folder where each would lie elsewhere, its suffix, its bytes."""


def recognise(root: Path) -> bool:
    """Tars of which the first begins with samples of a picture and its label map."""
    first = [archive for _, archive in islice(_archives(root), 1)]
    return any(map(label_maps, samples(first[0], FIRST).values())) if first else False


def open_layout(listing: Listing) -> DataSet:
    """The data set, its classes described beside the tars or concluded from the label maps."""
    tars: dict[str, list[Path]] = defaultdict(list)
    for name, archive in _archives(listing.root):
        tars[name].append(archive)
    parts = {name: in_shards(listing, archives) for name, archives in tars.items()}
    counts = Counter(chain(*parts.values()))
    if counts.total() > len(counts):  # each split may count from zero
        parts = {
            part: {n: replace(i, name=n) for i in items.values() if (n := f"{part}_{i.name}")}
            for part, items in parts.items()
        }
    splits = listing.parts([*parts.items()])
    evidence = f"{sum(map(len, tars.values()))} tars of samples"
    return listing.dataset("shards", evidence, classes_of_folder(listing, splits), splits)


def in_shards(
    listing: Listing,
    archives: Iterable[Path],
    inputs: Mapping[str, str] | None = None,
    heads: Mapping[str, str] | None = None,
    needed: Iterable[str] = (),
) -> dict[str, Item]:
    """The samples of tars by name; what is wrong is the listing's.

    Args:
        listing: of the data set.
        archives: its tars.
        inputs: name to what stands before the ending of its files. Those of the first may be what
            is left, as the label map of the first of ``heads`` may be one by ``label_maps``.
        heads: the same of the label maps.
        needed: names of which each sample with labels must have a file.
    """
    inputs, heads = inputs or {listing.input: IMAGES}, heads or {listing.head: MAPS}
    items: dict[str, Item] = {}
    for key, files in chain(*(samples(archive).items() for archive in archives)):
        images, maps = _parted(files, inputs, heads)
        name = key.replace("/", "_")
        if not images:
            listing.problems.append(no_partner(files[0], f"picture {key}.* in the same tar"))
            continue
        item = Item(name, images, {head: LabelMap(path) for head, path in maps.items()})
        if other := items.get(name):
            what = f"{other.image} and {item.image} share the name `{name}`"
            listing.problems.append(DataError("D030", what, "rename one of them"))
        items[name] = item
        if next(iter(heads)) not in maps:
            wanted = f"label map {key}.{heads[listing.head]}.png in the same tar"
            listing.bare[item.image] = no_partner(item.image, wanted)
            continue
        for gap in {*needed} - {*images, *maps}:
            wanted = f"file {key}.{(inputs | heads)[gap]}.* in the same tar"  # type: ignore[operator]
            listing.problems.append(no_partner(item.image, wanted))
    return items


def samples(
    archive: Path, first: int | None = None, links: list[str] | None = None
) -> dict[str, list[Path]]:
    """By the key of a sample its pictures in a tar (in its first files), label maps among them.

    ``links`` gets what is no file of its own.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for name in islice(names_in(archive, links), first):
        path = archive / name
        if path.suffix.lower() in SUFFIXES - {".mat"}:  # which other libraries read, from a file
            found[split(name)[0]].append(path)
    return found


def label_maps(files: Sequence[Path]) -> list[Path]:
    """Those of a sample's files that are label maps, by their names."""
    words = {path: _word(path) for path in files}
    bare = [path for path, word in words.items() if not word]
    drawn = [path for path in bare if path.suffix.lower() == ".png"]
    marked = [path for path, word in words.items() if word in WORDS]
    return (marked or drawn * (len(bare) == 2 and len(drawn) == 1)) if len(files) > 1 else []


def write_shards(folder: Path, made: Iterable[tuple[str, Pieces]], size: int) -> None:
    """Samples by key as tars ``000000.tar`` of ``size`` bytes and a sample at most, with indices.

    Raises:
        ResourceError: R001, R002 they cannot be written.
    """
    rest = iter(made)
    for number, first in enumerate(rest):  # each round takes the first sample of a tar
        placed: list[Placed] = []
        write = partial(_pack, made=chain([first], rest), size=size, placed=placed)
        atomic_write(folder / f"{number:06}{END}", write)
        atomic_write(folder / f"{number:06}{INDEX}", index_text(placed))


def _pack(f: BinaryIO, made: Iterator[tuple[str, Pieces]], size: int, placed: list[Placed]) -> None:
    with tarfile.TarFile(fileobj=f, mode="w") as tar:
        for key, pieces in made:
            for folder, suffix, data in pieces:
                info = tarfile.TarInfo(f"{key}{f'.{folder}' * (folder != IMAGES)}{suffix}")
                info.size = len(data)  # and all else as in any other tar of these samples
                tar.addfile(info, io.BytesIO(data))
                placed.append((info.name, tar.offset - -(-len(data) // BLOCK) * BLOCK, len(data)))
            if tar.offset >= size:
                return


def _word(path: Path) -> str:
    return split(path.name)[1].rpartition(".")[0].lower()


def _parted(
    files: Sequence[Path], inputs: Mapping[str, str], heads: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """A sample's files by input, and by head."""
    words = {_word(path): path for path in files}
    images, maps = (
        {name: words[word.lower()] for name, word in names.items() if word.lower() in words}
        for names in (inputs, heads)
    )
    drawn, known = label_maps(files), {*images.values(), *maps.values()}
    for path in (path for path in files if path not in known):
        part, names = (maps, heads) if path in drawn else (images, inputs)
        part.setdefault(next(iter(names)), path)
    return {name: images[name] for name in inputs if name in images}, maps  # bands have an order


def _archives(root: Path) -> Iterator[tuple[str, Path]]:
    """Tars in a folder, or in those that are called as splits, with the name of their split."""
    for folder in (root, *(f for f in sorted(root.iterdir()) if f.name.lower() in SPLITS)):
        for archive in archives_in(folder):
            words = re.split(r"[-_.]+", re.sub(r"[-_.]?\d+$", "", archive.stem.lower()))
            name = next((w for w in (words[-1], folder.name.lower()) if w in SPLITS), "")
            yield SPLITS.get(name, ""), archive
