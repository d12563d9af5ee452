"""Ultralytics' semantic layout: images/ and masks/, and a YAML file with ``names``.

``masks_dir`` in it is the folder of the masks, ``label_mapping`` says which class a stored number
means; 255 is void. Only a file with ``names`` and ``masks_dir`` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pixelwise.data.class_files import Classes
from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import folder
from pixelwise.data.listing import Listing
from pixelwise.errors import DataError
from pixelwise.labels import VOID
from pixelwise.settings import Name, read, refuse, settings

MAX_BYTES = 2**20
"""A description is short; YAML can make much of little."""


@settings(code="D034", others="ignore")
class Description:
    """What the YAML file says."""

    names: Classes
    masks_dir: Name = "masks"
    label_mapping: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        refuse(sorted(self.names) != [*range(len(self.names))] and "`names` are not of 0, 1, ...")
        twice = len(set(self.names.values())) < len(self.names)
        refuse(twice and "`names` holds a name twice")

    def class_map(self) -> ClassMap:
        """Names in order; what ``label_mapping`` sends elsewhere is void."""
        names = [self.names[i] for i in range(len(self.names))]
        plain = numbered(names)
        if self.label_mapping is None:
            return plain
        known = {raw: i if i in self.names else VOID for raw, i in self.label_mapping.items()}
        return ClassMap(plain.classes, plain.palette, {VOID: VOID, **known})


def recognise(root: Path) -> bool:
    """A YAML file with ``names`` and ``masks_dir`` beside images/."""
    return _description(root) is not None and (root / "images").is_dir()


def open_layout(listing: Listing) -> DataSet:
    """The data set; splits are the folders in images/.

    Raises:
        DataError: D034 the YAML file is malformed.
    """
    root = listing.root
    path = _description(root)
    assert path
    own = read(Description, _content(path), place=path)
    pair = root / "images", root / own.masks_dir
    if not pair[1].is_dir():
        what = f"{path}: masks_dir is `{own.masks_dir}`, which is no folder of {root}"
        raise DataError("D034", what, "correct it, or add the folder")
    note = f"classes are those of {path.name}"
    at = f"{path.name} beside "
    return folder.open_with(listing, "ultralytics", own.class_map(), note, at, pair)


def _description(root: Path) -> Path | None:
    paths = sorted(p for end in ("yaml", "yml") for p in root.glob(f"*.{end}"))
    small = (p for p in paths if p.stat().st_size < MAX_BYTES)
    return next((p for p in small if {"names", "masks_dir"} <= _content(p).keys()), None)


def _content(path: Path) -> Mapping[str, Any]:
    """Nothing of a file that is no YAML: others may lie there."""
    try:
        data = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}
