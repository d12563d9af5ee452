"""How a data folder is recognised: by what is in it, not by its name.

The canonical layout (``dataset.json``), CamVid in SegNet's form, PASCAL VOC's, and folders of
pictures beside folders of masks. Every problem of the listing is told at once; what is inside the
files is checked when they are read (``DataSet.read``), and all of it beforehand by
``data.inspect``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import camvid, canonical, folder, voc
from pixelwise.data.listing import raise_all
from pixelwise.data.sample import Item
from pixelwise.errors import DataError

LAYOUTS = (canonical, camvid, voc, folder)
"""In the order in which they are tried."""


def _namesakes(dataset: DataSet) -> Iterator[DataError]:
    """Outputs and records are named after items: a name stands for one picture."""
    known: dict[str, Item] = {}
    for item in (item for items in dataset.splits.values() for item in items):
        other = known.setdefault(item.name, item)
        if other.image != item.image:
            yield DataError(
                "D030", f"{other.image} and {item.image} share the stem `{item.name}`", "rename one"
            )


def open_dataset(path: Path | str, *, strict: bool = True) -> DataSet:
    """The data set in a folder, by whatever layout it has.

    Args:
        path: the folder.
        strict: raise the problems of the listing; else they are in the data set's ``problems``,
            for ``inspect`` to tell with those inside the files.

    Raises:
        DataError: D010 no such folder, or one that cannot be read, D011 no layout fits, D030, D031,
            D032, D034 problems of the listing; several at once as one D035.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError("D010", f"{root}: no such folder", "give the folder of a data set")
    try:
        layout = next((known for known in LAYOUTS if known.recognise(root)), None)
        if layout is None:
            raise _unknown(root)
        found: DataSet = layout.open_layout(root)
    except OSError as error:
        what = f"{error.filename or root}: cannot be read ({error.strerror or error})"
        raise DataError("D010", what, "check who may read it") from error
    found = replace(found, problems=(*found.problems, *_namesakes(found)))
    if strict:
        raise_all(root, found.problems)
    return found


def _unknown(root: Path) -> DataError:
    inside = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
    return DataError(
        "D011",
        f"{root}: no known layout (it holds: {inside})",
        "put pictures into images/ and label maps of the same names into labels/ "
        "(or into train/images/, train/labels/, val/images/, val/labels/)",
    )
