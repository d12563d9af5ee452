"""PaddleSeg: train.txt and val.txt at the root, each line a picture and its label map.

Paths count from the root; columns stand apart by a space or a tab. Classes are those of
``classes.txt``, ``classes.json`` or PaddleSeg's ``labels.txt``, else concluded from the values.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.class_files import names_in
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import folder
from pixelwise.data.listing import Listing, lists_in, read_list
from pixelwise.data.outlined import beside
from pixelwise.data.sample import Item, LabelMap
from pixelwise.errors import DataError

NAMES = ("train", "val", "test", "trainval")
"""Lists that count; other text files at the root say something else."""


def recognise(root: Path) -> bool:
    """train.txt or another such list, whose first line names two files of the folder."""
    return any(_is_list(root, path) for path in _lists(root))


def open_layout(listing: Listing) -> DataSet:
    """The data set; a list without label maps can be predicted."""
    root = listing.root
    splits = {path.stem: _items(listing, path) for path in _lists(root)}
    lists = ", ".join(path.name for path in _lists(root))
    own = listing.stated or names_in(root / "labels.txt")
    classes = own or folder.classes_of_folder(listing, splits)
    return listing.dataset("paddle", f"{lists} with two columns", classes, splits)


def _lists(root: Path) -> list[Path]:
    return [path for path in lists_in(root) if path.stem in NAMES]


def _is_list(root: Path, path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as lines:
        pair = _columns(lines.readline().strip())
    return len(pair) == 2 and all((p := beside(root, root, n)) and p.is_file() for n in pair)


def _columns(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _items(listing: Listing, path: Path) -> tuple[Item, ...]:
    problems: list[DataError] = []
    items: dict[str, Item] = {}
    for line in read_list(path, problems):
        files = [beside(listing.root, listing.root, name) for name in _columns(line)]
        there = [file for file in files if file and file.is_file()]
        if len(there) < len(files) or len(files) > 2:
            what = f"{path}: `{line}`, expected a picture and a label map of {listing.root}"
            problems.append(DataError("D031", what, "correct the line, or add the files"))
            continue
        image = there[0]
        labels = {listing.head: LabelMap(there[1])} if len(there) > 1 else {}
        name = listing.name_of(image)
        items[name] = Item(name, {listing.input: image}, labels)
    if problems:
        listing.list_problems[path.stem] = problems
    return tuple(items.values())
