"""Our own layout: images/, labels/ (palette PNG, 255 void), splits/*.txt, dataset.json.

Pictures and label maps may lie in tars in place of folders, ``shards/*.tar`` (see ``shards``).

``dataset.json`` holds ``classes`` (names), ``palette`` (one [r, g, b] each), ``ignore`` (255),
``values`` (``8-bit``, ``stored`` or ``gaps``, see ``pictures.reading``), ``source`` (where it came
from) and, where they are known, ``terms``, which models that are trained on it carry, and
``false_colour``, the numbers of three bands that views show as red, green and blue, and
``label_scale``, how many times finer than the pictures the label maps are, and ``variable``, what
pictures are called in MATLAB files that hold several arrays.
Where a picture is made of several files, or has several label maps, it names their folders, in the
order of the bands and of the heads; a head without ``classes`` has those of the whole::

    "inputs": {"colour": "images", "depth": "depth"},
    "heads": {"things": {"folder": "labels"},
              "geometry": {"folder": "geometric", "classes": [...], "palette": [...]}},
    "use": ["colour", "things"]

Labels may be numbers, of any file that ``values`` ``gaps`` reads: a count is ``step``, one that is
``void`` is not known, nor NaN, and ``planes`` name its bands, with their unit::

    "far": {"folder": "depth", "kind": "numbers", "planes": ["metres"], "step": 0.001, "void": 0}

``use`` leaves the others to those who ask for them (``DataSet.using``); without it all are used.
An input may be computed of another, which is depth (see ``data.depth``); it is used if asked for::

    "computed": {"hha": {"of": "depth", "unit": 0.001, "camera": "cameras.json"}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pixelwise.data.class_files import Classes, Raw, class_ids, parsed
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.depth import HhaInput, HhaOf, read_cameras
from pixelwise.data.formats.shards import FOLDER, in_shards
from pixelwise.data.listing import Listing, by_stem, pictures
from pixelwise.data.sample import IMAGE, LABELS, Item, LabelMap
from pixelwise.errors import DataError
from pixelwise.labels import VOID, colours_for
from pixelwise.machine.files import write_json
from pixelwise.nets.kinds import Kind, Positive
from pixelwise.pictures.reading import Values
from pixelwise.pictures.shards import archives_in
from pixelwise.settings import (
    Byte,
    Natural,
    Number,
    Plain,
    Text,
    Whole,
    as_dict,
    limits,
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


@settings(code="D034", others="ignore")
class Head:
    """Where the label maps of a head are, and what their numbers mean."""

    folder: Plain
    classes: Classes
    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    ignore: Raw = VOID
    kind: Literal["classes"] = "classes"

    def class_map(self) -> ClassMap:
        """With 255 as void."""
        names, ids = class_ids(self.classes, [self.ignore])
        return ClassMap(names, colours_for(len(names), self.palette), {VOID: VOID, **ids})


@settings(code="D034", others="ignore")
class NumberHead:
    """Where numbers are, and what they count."""

    folder: Plain
    planes: Annotated[tuple[Text, ...], limits(min_length=1)]
    step: Positive = 1.0
    void: Number | None = None

    def class_map(self) -> ClassMap:
        """With planes for classes."""
        kind = Kind("numbers", self.step, self.void)
        return ClassMap(self.planes, colours_for(len(self.planes)), kind=kind)


@settings(code="D034", others="ignore")
class Parts:
    """Of what a picture and its labels consist, in ``dataset.json``."""

    inputs: Mapping[Plain, Plain] = field(default_factory=lambda: INPUTS)
    heads: Mapping[Plain, Mapping[str, Any]] = field(default_factory=lambda: ONE_HEAD)
    """Name to the entries of a ``Head``; without ``classes`` it has those of the whole file."""
    use: tuple[str, ...] = ()
    values: Values = "8-bit"
    """Which numbers of the pictures are taken."""
    computed: Mapping[Plain, HhaOf] = field(default_factory=dict)
    """Inputs that are computed of others."""
    false_colour: tuple[Natural, ...] = ()
    label_scale: Annotated[Whole, limits(ge=1)] = 1
    variable: str = ""

    def __post_init__(self) -> None:
        inputs = {**self.inputs, **self.computed}
        twice = inputs.keys() & self.heads.keys()
        strange = [n for n in self.use if n not in {*inputs, *self.heads}]
        kinds = (("input", inputs), ("head", self.heads))
        absent = [
            (name, part)
            for name, made in self.computed.items()
            for part in (made.of, made.raw)
            if part and part not in self.inputs
        ]
        unused = [k for k, names in kinds if self.use and not names.keys() & set(self.use)]
        refuse(
            len(self.false_colour) not in (0, 3)
            and f"`false_colour` names {len(self.false_colour)} bands, expected three",
            *(f"`{name}` is an input and a head" for name in twice),
            *(f"`{n}` is an input and computed" for n in self.inputs.keys() & self.computed.keys()),
            *(f"`{name}` is computed of `{part}`, which is no input" for name, part in absent),
            *(f"`use` names `{name}`, which is neither" for name in strange),
            *(f"`use` names no {kind}" for kind in unused),
        )


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says: folders by input and by head, classes by head."""

    class_maps: Mapping[str, ClassMap]
    inputs: Mapping[str, str] = field(default_factory=lambda: INPUTS)
    heads: Mapping[str, str] = field(default_factory=lambda: HEADS)
    use: tuple[str, ...] = ()
    """Names of inputs and heads; none: all that are no computed ones."""
    values: Values = "8-bit"
    computed: Mapping[str, HhaOf] = field(default_factory=dict)
    false_colour: tuple[int, ...] = ()
    label_scale: int = 1
    variable: str = ""

    @property
    def used(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Inputs and heads, in their order."""
        heads = [n for n in self.heads if n in (self.use or self.heads)]
        inputs = [n for n in {**self.inputs, **self.computed} if n in (self.use or self.inputs)]
        return tuple(inputs), tuple(heads)

    @property
    def folders(self) -> dict[str, str]:
        """Where the files of each input lie, of computed ones those that they are computed of."""
        return {**self.inputs, **{n: self.inputs[made.of] for n, made in self.computed.items()}}

    @property
    def needed(self) -> set[str]:
        """The inputs of which each picture must have a file."""
        used = self.used[0]
        return {*used, *(m.raw for n, m in self.computed.items() if n in used and m.raw)}


def recognise(root: Path) -> bool:
    """There is a dataset.json beside images/ or shards/, or it names the folders itself."""
    path = root / NAME
    return path.is_file() and (
        (root / "images").is_dir()
        or b'"inputs"' in path.read_bytes()
        or bool(archives_in(root / FOLDER))
    )


def open_layout(listing: Listing) -> DataSet:
    """The data set; its splits are drawn where splits/ holds no list."""
    root = listing.root
    description = described(root / NAME)
    inputs, heads = description.used
    folders = description.folders
    images, labels = folders[inputs[0]], description.heads[heads[0]]
    listing.input, listing.head = inputs[0], heads[0]
    archives, evidence = archives_in(root / FOLDER), f"{NAME} beside {images}/ and {labels}/"
    if archives:
        needed = {*description.needed, *heads}
        items = in_shards(listing, archives, folders, description.heads, needed)
        evidence = f"{NAME} beside {len(archives)} tars in {FOLDER}/"
    else:
        items = _in_folders(listing, description)
    splits = listing.splits(root / "splits", items)
    maps = description.class_maps
    dataset = listing.dataset("canonical", evidence, maps[heads[0]], splits)
    computed = _computed(root, description, listing.problems)
    return replace(
        dataset,
        class_maps=maps,
        inputs=inputs,
        heads=heads,
        values=description.values,
        false_colour=description.false_colour,
        variable=description.variable,
        computed=computed,
        problems=listing.all_problems,
    ).with_label_scale(description.label_scale)


def _in_folders(listing: Listing, description: Description) -> dict[str, Item]:
    """The items by name, of pictures and label maps that lie in folders."""
    root, folders, heads = listing.root, description.folders, description.used[1]
    images, labels = folders[listing.input], description.heads[listing.head]
    items = listing.pairs(root / images, root / labels)
    for name, folder in folders.items():
        if folder == images:  # which has made the items
            found = [(item, item.image) for item in items.values()]
        else:
            needed = name in description.needed
            found = _further(listing, folder, images, items, needed=needed)
        for item, path in found:
            items[item.name] = replace(item, inputs={**item.inputs, name: path})
    for name, folder in description.heads.items():
        for item, path in _further(listing, folder, labels, items, needed=name in heads):
            items[item.name] = replace(item, labels={**item.labels, name: LabelMap(path)})
    return items


def _computed(
    root: Path, description: Description, problems: list[DataError]
) -> dict[str, HhaInput]:
    """How computed inputs are made; a file of cameras that cannot be read is a problem."""
    computed = {}
    for name, source in description.computed.items():
        try:
            own = read_cameras(root / source.camera) if isinstance(source.camera, str) else {}
        except DataError as error:
            if name in description.used[0]:
                problems.append(error)
            own = {}
        computed[name] = HhaInput(source, own)
    return computed


def further_folders(root: Path) -> set[str]:
    """Folders that a ``dataset.json`` names beside the pictures; of a malformed one none."""
    try:
        description = described(root / NAME)
    except DataError:
        return set()
    images = description.folders[description.used[0][0]]
    return {*description.inputs.values(), *description.heads.values()} - {images}


def _further(
    listing: Listing, folder: str, first: str, items: Mapping[str, Item], *, needed: bool
) -> list[tuple[Item, Path]]:
    """Each item's file in a further folder; what is needed and not there is a problem."""
    if folder == first:  # which has made the items
        return []
    place = listing.root / folder
    files = by_stem(pictures(place), listing.problems if needed else [])
    if needed:
        alone = [i for stem, i in items.items() if i.labels and stem not in files]
        listing.problems += [no_partner(i.image, f"file {place / i.name}.*") for i in alone]
    return [(item, files[stem]) for stem, item in items.items() if stem in files]


def described(path: Path) -> Description:
    """What a ``dataset.json`` says.

    Raises:
        DataError: D034 it is malformed, with what was expected.
    """
    return parsed(path, _description, FORM)


def _description(content: bytes) -> Description:
    data = parse_json(content)
    parts = read(Parts, data)
    heads: dict[str, Head | NumberHead] = {}
    for name, entry in parts.heads.items():
        place = f"head `{name}`" if parts.heads != ONE_HEAD else ""
        own: type[Head | NumberHead] = NumberHead if entry.get("kind") == "numbers" else Head
        whole = entry if "classes" in entry else {**data, **entry}
        heads[name] = read(own, whole, place=place)
    maps = {name: head.class_map() for name, head in heads.items()}
    folders = {name: head.folder for name, head in heads.items()}
    told = parts.values, parts.computed, parts.false_colour, parts.label_scale, parts.variable
    return Description(maps, parts.inputs, folders, parts.use, *told)


def terms_of(root: Path) -> str:
    """Under which terms a data set may be used, where its ``dataset.json`` says it in ``terms``."""
    path = root / NAME
    data = parsed(path, parse_json, FORM) if path.is_file() else {}
    terms = data.get("terms", "") if isinstance(data, dict) else ""
    return terms if isinstance(terms, str) else ""


def write_description(out: Path, description: Description, source: str, terms: str = "") -> None:
    """``dataset.json``; what is as usual is left out."""
    own = {head: _class_lines(class_map) for head, class_map in description.class_maps.items()}
    first = description.used[1][0]
    lines: dict[str, Any] = own.pop(first)
    if description.inputs != INPUTS:
        lines["inputs"] = dict(description.inputs)
    if description.heads != HEADS:
        folders = description.heads.items()
        lines["heads"] = {h: {"folder": folder} | own.get(h, {}) for h, folder in folders}
    if description.computed:
        lines["computed"] = {name: as_dict(made) for name, made in description.computed.items()}
    if description.use:
        lines["use"] = list(description.use)
    if description.values != "8-bit":
        lines["values"] = description.values
    if description.false_colour:
        lines["false_colour"] = list(description.false_colour)
    if description.variable:
        lines["variable"] = description.variable
    if description.label_scale > 1:
        lines["label_scale"] = description.label_scale
    write_json(out / NAME, lines | {"source": source} | ({"terms": terms} if terms else {}))


def _class_lines(class_map: ClassMap) -> dict[str, Any]:
    if class_map.kind.measured:
        told = {name: getattr(class_map.kind, name) for name in ("kind", "step", "void")}
        return {**told, "planes": list(class_map.classes)}
    palette = [list(map(int, colour)) for colour in class_map.palette]
    return {"classes": list(class_map.classes), "palette": palette, "ignore": VOID}
