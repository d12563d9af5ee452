"""Our own layout: images/, labels/ (palette PNG, 255 void), splits/*.txt, dataset.json.

``dataset.json`` holds ``classes`` (names), ``palette`` (one [r, g, b] each), ``ignore`` (255),
``values`` (``8-bit`` or ``stored``, see ``pictures.reading``) and ``source`` (where it came from).
Where a picture is made of several files, or has several label maps, it names their folders, in the
order of the bands and of the heads; a head without ``classes`` has those of the whole::

    "inputs": {"colour": "images", "depth": "depth"},
    "heads": {"things": {"folder": "labels"},
              "geometry": {"folder": "geometric", "classes": [...], "palette": [...]}},
    "use": ["colour", "things"]

``use`` leaves the others to those who ask for them (``DataSet.using``); without it all are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pixelwise.data.class_files import Classes, Raw, class_ids, parsed
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.listing import Listing, by_stem, pictures
from pixelwise.data.sample import IMAGE, LABELS, Item, LabelMap
from pixelwise.errors import DataError
from pixelwise.labels import VOID, colours_for
from pixelwise.machine.files import write_json
from pixelwise.pictures.reading import Values
from pixelwise.settings import (
    BeforeValidator,
    Byte,
    Contradiction,
    parse_json,
    read,
    refuse,
    settings,
)

NAME = "dataset.json"
FORM = '{"classes": ["road", ...], "palette": [[128, 64, 128], ...], "ignore": 255}'
INPUTS, HEADS = {IMAGE: "images"}, {LABELS: "labels"}
"""Name to folder, where ``dataset.json`` names none."""
ONE_HEAD = {LABELS: {"folder": HEADS[LABELS]}}


def _plain(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value):
        return value
    raise Contradiction(f"{value!r} is no plain name")


Plain = Annotated[str, BeforeValidator(_plain)]
"""Of an input or a head, or of its folder, which lies in the data set and not elsewhere."""


@settings(code="D034", others="ignore")
class Meaning:
    """What the numbers of a head's label maps mean."""

    classes: Classes
    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    ignore: Raw = VOID

    def class_map(self) -> ClassMap:
        """With 255 as void."""
        names, ids = class_ids(self.classes, [self.ignore])
        return ClassMap(names, colours_for(len(names), self.palette), {VOID: VOID, **ids})


@settings(code="D034", others="ignore")
class Place:
    """Where a head's label maps are."""

    folder: Plain


@settings(code="D034", others="ignore")
class Parts:
    """Of what a picture and its labels consist, in ``dataset.json``."""

    inputs: Mapping[Plain, Plain] = field(default_factory=lambda: INPUTS)
    heads: Mapping[Plain, Mapping[str, Any]] = field(default_factory=lambda: ONE_HEAD)
    """Name to a ``Place`` and, if it is not that of the whole, a ``Meaning``."""
    use: tuple[str, ...] = ()
    values: Values = "8-bit"
    """Which numbers of the pictures are taken."""

    def __post_init__(self) -> None:
        kinds = {"input": self.inputs.keys(), "head": self.heads.keys()}
        known = kinds["input"] | kinds["head"]
        refuse(
            *(f"`{name}` is an input and a head" for name in kinds["input"] & kinds["head"]),
            *(f"`use` names `{name}`, which is neither" for name in self.use if name not in known),
            *(
                f"`use` names no {kind}"
                for kind, names in kinds.items()
                if self.use and not names & set(self.use)
            ),
        )


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says: folders by input and by head, classes by head."""

    class_maps: Mapping[str, ClassMap]
    inputs: Mapping[str, str] = field(default_factory=lambda: INPUTS)
    heads: Mapping[str, str] = field(default_factory=lambda: HEADS)
    use: tuple[str, ...] = ()
    """Names of inputs and heads; none: all."""
    values: Values = "8-bit"

    @property
    def used(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Inputs and heads, in their order."""
        inputs, heads = ([n for n in f if n in (self.use or f)] for f in (self.inputs, self.heads))
        return tuple(inputs), tuple(heads)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the file; what is as usual is left out."""
        first = self.used[1][0]
        lines: dict[str, Any] = _class_lines(self.class_maps[first])
        if self.inputs != INPUTS:
            lines["inputs"] = dict(self.inputs)
        if self.heads != HEADS:
            own = {h: {} if h == first else _class_lines(m) for h, m in self.class_maps.items()}
            lines["heads"] = {h: {"folder": f, **own[h]} for h, f in self.heads.items()}
        if self.use:
            lines["use"] = list(self.use)
        return lines | ({"values": self.values} if self.values != "8-bit" else {})


def _class_lines(class_map: ClassMap) -> dict[str, Any]:
    palette = [list(map(int, colour)) for colour in class_map.palette]
    return {"classes": list(class_map.classes), "palette": palette, "ignore": VOID}


def recognise(root: Path) -> bool:
    """There is a dataset.json beside images/, or it names the folders itself."""
    path = root / NAME
    return path.is_file() and ((root / "images").is_dir() or b'"inputs"' in path.read_bytes())


def open_layout(root: Path) -> DataSet:
    """The data set; its splits are drawn where splits/ holds no list."""
    description = described(root / NAME)
    listing, (inputs, heads) = Listing(root), description.used
    images, labels = description.inputs[inputs[0]], description.heads[heads[0]]
    items = listing.pairs(root / images, root / labels)
    for stem, item in items.items():
        own = dict(zip(heads[:1], item.labels.values(), strict=False))  # none without labels
        items[stem] = replace(item, inputs={inputs[0]: item.image}, labels=own)
    for name, folder in description.inputs.items():
        for stem, path in _further(listing, folder, images, items, needed=name in inputs):
            item = items[stem]
            items[stem] = replace(item, inputs={**item.inputs, name: path})
    for name, folder in description.heads.items():
        for stem, path in _further(listing, folder, labels, items, needed=name in heads):
            item = items[stem]
            items[stem] = replace(item, labels={**item.labels, name: LabelMap(path)})
    splits = listing.splits(root / "splits", items)
    evidence = f"{NAME} beside {images}/ and {labels}/"
    made = listing.dataset("canonical", evidence, description.class_maps, splits)
    return replace(made, inputs=inputs, heads=heads, values=description.values)


def further_folders(root: Path) -> set[str]:
    """Folders that a ``dataset.json`` names beside the pictures; of a malformed one none."""
    try:
        description = described(root / NAME)
    except DataError:
        return set()
    images = description.inputs[description.used[0][0]]
    return {*description.inputs.values(), *description.heads.values()} - {images}


def _further(
    listing: Listing, folder: str, first: str, items: Mapping[str, Item], *, needed: bool
) -> list[tuple[str, Path]]:
    """Each item's file in a further folder; what is needed and not there is a problem."""
    if folder == first:  # which has made the items
        return []
    place = listing.root / folder
    files = by_stem(pictures(place), listing.problems if needed else [])
    if needed:
        alone = [i for stem, i in items.items() if i.labels and stem not in files]
        listing.problems += [no_partner(i.image, f"file {place / i.name}.*") for i in alone]
    return [(stem, files[stem]) for stem in items if stem in files]


def described(path: Path) -> Description:
    """What a ``dataset.json`` says.

    Raises:
        DataError: D034 it is malformed, with what was expected.
    """
    return parsed(path, _description, FORM)


def _description(content: bytes) -> Description:
    data = parse_json(content)
    parts = read(Parts, data)
    maps, folders = {}, {}
    for head, entry in parts.heads.items():
        place = f"head `{head}`" if parts.heads != ONE_HEAD else ""
        maps[head] = read(Meaning, entry if "classes" in entry else data, place=place).class_map()
        folders[head] = read(Place, entry, place=place).folder
    return Description(maps, parts.inputs, folders, parts.use, parts.values)


def write_description(out: Path, description: Description, source: str) -> None:
    """``dataset.json``."""
    write_json(out / NAME, description.as_dict() | {"source": source})
