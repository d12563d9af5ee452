"""Our own layout: images/, labels/ (palette PNG, 255 void), splits/*.txt, dataset.json.

``dataset.json`` holds ``classes`` (names), ``palette`` (one [r, g, b] each), ``ignore`` (255) and
``source`` (where it came from).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.classes import numbered
from pixelwise.data.layouts import DataSet
from pixelwise.data.listing import listed_items, partners, raise_all, read_list, without_empty
from pixelwise.errors import DataError, UsageError
from pixelwise.files import atomic_write, write_json
from pixelwise.images import write_labels
from pixelwise.labels import VOID

NAME = "dataset.json"


def recognise(root: Path) -> bool:
    """There is a dataset.json beside images/."""
    return (root / NAME).is_file() and (root / "images").is_dir()


def open_layout(root: Path, seed: int) -> DataSet:
    """The data set; ``seed`` is not needed, the splits are given."""
    del seed
    told = _description(root / NAME)
    problems: list[DataError] = []
    items = {i.name: i for i in partners(root / "images", root / "labels", problems)}
    found = {
        path.stem: listed_items(read_list(path, problems), items, path, problems)
        for path in sorted((root / "splits").glob("*.txt"))
    }
    if not found:
        problems.append(DataError("D032", f"{root}: no list in splits/", "pixelwise data split"))
    given = without_empty(root, found, problems)
    raise_all(root, problems)
    class_map = numbered(told["classes"], told["palette"], void=(VOID, told["ignore"]))
    return DataSet(root, "canonical", f"{NAME} beside images/ and labels/", class_map, given)


def _description(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        names = [str(n) for n in told["classes"]]
        palette = [tuple(int(v) for v in c) for c in told.get("palette", [])]
        if not names or any(len(c) != 3 for c in palette):
            raise ValueError("no classes, or colours that are not [r, g, b]")
        return {"classes": names, "palette": palette, "ignore": int(told.get("ignore", VOID))}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "D034",
            f"{path}: not understood ({type(error).__name__}: {error})",
            'expected {"classes": [...], "palette": [[r, g, b], ...], "ignore": 255}',
        ) from error


def write_description(out: Path, classes: Any, palette: Any, source: str) -> None:
    """``dataset.json``."""
    told = {
        "classes": list(classes),
        "palette": [list(map(int, c)) for c in palette],
        "ignore": VOID,
        "source": source,
    }
    write_json(out / NAME, told)


def write_splits(out: Path, splits: Mapping[str, Any]) -> None:
    """``splits/<name>.txt``, one name a line."""
    for name, names in splits.items():
        atomic_write(out / "splits" / f"{name}.txt", "".join(f"{n}\n" for n in names))


def convert(dataset: DataSet, out: Path, *, watch: Callable[[], object] = lambda: None) -> Path:
    """Write any data set in this layout; pictures are copied as they are.

    Raises:
        UsageError: U003 the output folder is not empty.
        DataError: a sample that cannot be read or does not fit.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError("U003", f"{out} is not empty", "choose a new folder")
    palette = np.asarray(dataset.palette, np.uint8)
    for item in dataset.all_items():
        labels = dataset.read(item).labels
        write_labels(out / "labels" / f"{item.name}.png", labels, palette)
        target = out / "images" / f"{item.name}{item.image.suffix.lower()}"

        def copy(f: Any, source: Path = item.image) -> None:
            with source.open("rb") as original:
                shutil.copyfileobj(original, f)

        atomic_write(target, copy)
        watch()
    write_splits(out, {s: [i.name for i in items] for s, items in dataset.splits.items()})
    write_description(out, dataset.classes, dataset.palette, f"{dataset.layout} {dataset.root}")
    return out
