"""Classes merged, renamed or left out by a map of their names, whatever the layout.

A map is a file of one object, in JSON or YAML, in one of two forms (or both)::

    {"pavement": "ground", "road": "ground", "fence": null}    class to what it becomes
    {"ground": ["road", "pavement"], "void": ["fence"]}        or what becomes of several

Classes that it does not name stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pixelwise.data.class_files import VOIDS, parsed
from pixelwise.data.classes import NEAREST, ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Derived, Item, LabelMap
from pixelwise.errors import UsageError, unknown_name
from pixelwise.labels import VOID
from pixelwise.settings import parse_json, refuse

FORM = '{"road": "ground", "fence": null} or {"ground": ["road", "pavement"], "void": ["fence"]}'


def read_map(path: Path) -> dict[str, str]:
    """Class to what it becomes, ``void`` for nothing, as a file says.

    Raises:
        DataError: D034 it is malformed.
    """
    return parsed(path, lambda content: _renames(path, content), FORM)


def _renames(path: Path, content: bytes) -> dict[str, str]:
    try:
        told: Any = parse_json(content) if path.suffix == ".json" else yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML ({str(error).splitlines()[0]})") from error
    refuse(not isinstance(told, dict) and "no object of names")
    pairs = [
        (old, key) if isinstance(new, list) else (key, VOIDS[2] if new is None else new)
        for key, new in told.items()
        for old in (new if isinstance(new, list) else [key])
    ]
    names = [str(old) for old, _ in pairs]
    refuse(*(f"`{n}` becomes two things" for n in dict.fromkeys(names) if names.count(n) > 1))
    refuse(*(f"`{o}` becomes {new!r}, no name" for o, new in pairs if not isinstance(new, str)))
    return {str(old): new.strip() for old, new in pairs}


def merged(dataset: DataSet, renames: Mapping[str, str]) -> DataSet:
    """The data set with the classes of its first head renamed; the same name makes them one.

    Raises:
        UsageError: U001 a class that the data has not, U002 none is left.
    """
    own, head = dataset.class_map, dataset.heads[0]
    for name in renames:
        if name not in own.classes:
            raise unknown_name(f"class of {dataset.root}", name, own.classes)
    if not renames:
        return dataset
    left = [None if renames.get(n, "").lower() in VOIDS else renames.get(n, n) for n in own.classes]
    names = tuple(dict.fromkeys(name for name in left if name is not None))
    if not names:
        raise UsageError("U002", f"{dataset.root}: the map leaves no class", f"as {FORM}")
    table = [VOID if name is None else names.index(name) for name in left]
    table += [VOID] * (VOID + 1 - len(table))
    class_map = ClassMap(
        names,
        tuple(own.palette[left.index(name)] for name in names),
        {value: table[i] for value, i in own.values.items()},
        {colour: table[i] for colour, i in own.colours.items()},
        own.others if own.others in (None, NEAREST) else table[own.others],
    )

    def of(item: Item) -> Item:
        source = item.labels.get(head)
        if source is None or isinstance(source, LabelMap):  # which the class map reads as merged
            return item
        made = Derived(source, own, np.array(table, np.uint8).__getitem__)
        return replace(item, labels={**item.labels, head: made})

    note = f"{len(own.classes)} classes made {len(names)}: {described_map(own.classes, left)}"
    return replace(
        dataset,
        class_maps={**dataset.class_maps, head: class_map},
        splits={split: tuple(map(of, items)) for split, items in dataset.splits.items()},
        notes=(*dataset.notes, note),
    )


def as_trained(dataset: DataSet, classes: Sequence[str], renames: Mapping[str, str]) -> DataSet:
    """The data set as a model of these classes was trained on it, or as it is: it may have been
    converted with the map.
    """
    own = set(dataset.classes)
    return merged(dataset, renames) if own != {*classes} and own.issuperset(renames) else dataset


def described_map(before: Sequence[str], after: Sequence[str | None]) -> str:
    """``ground is road + pavement, void is fence``, of what changed."""
    of: dict[str, list[str]] = {}
    for old, new in zip(before, after, strict=True):
        of.setdefault("void" if new is None else new, []).append(old)
    return ", ".join(f"{new} is {' + '.join(olds)}" for new, olds in of.items() if olds != [new])
