"""A data set in memory: which pictures, which labels, which classes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap
from pixelwise.data.depth import HhaInput
from pixelwise.data.measured import edges
from pixelwise.data.sample import IMAGE, LABELS, Derived, Item, LabelMap, Sample, Splits, content
from pixelwise.errors import DataError, raise_all, unknown_name
from pixelwise.labels import void_of
from pixelwise.nets.kinds import EDGE, EDGES
from pixelwise.pictures.bands import (
    InputKind,
    kind_of,
    refuse_other_kind,
    refuse_other_size,
    stack,
)
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.pictures.reading import Picture, Values, decode, repeated
from pixelwise.pictures.shards import archive_of, file_size


@dataclass(frozen=True)
class DataSet:
    """Pictures with labels, in named splits."""

    root: Path
    layout: str
    """Which recogniser opened it."""
    evidence: str
    """Why it was taken for that."""
    class_maps: Mapping[str, ClassMap]
    """By head, also of heads that are not read."""
    splits: Splits
    notes: tuple[str, ...] = ()
    """What was decided on the way, one sentence each."""
    drawn: bool = False
    """The folder says nothing of splits; train and val were drawn."""
    problems: tuple[DataError, ...] = ()
    """What is wrong with the folder; ``splits`` hold what could be paired all the same."""
    list_problems: Mapping[str, Sequence[DataError]] = field(default_factory=dict)
    """What is wrong with the list of a split, which concerns only those who use it."""
    inputs: tuple[str, ...] = (IMAGE,)
    """Those of the items' inputs that make a picture, in the order of its bands."""
    heads: tuple[str, ...] = (LABELS,)
    """Those of the items' label maps that are read; ``classes`` are those of the first."""
    values: Values = "8-bit"
    """Which numbers of its pictures are taken, see ``pictures.reading``."""
    false_colour: tuple[int, ...] = ()
    """Numbers of the bands that views show as red, green and blue; see ``labels.three_bands``."""
    label_scale: int = 1
    """How many times finer than its pictures its label maps are; they are read by majority."""
    variable: str = ""
    """Name of the picture in MATLAB files of several; empty: the only one there."""
    kinds: Mapping[str, InputKind] = field(default_factory=dict)
    """By input what a net was trained on, where that is known: others are refused."""

    computed: Mapping[str, HhaInput] = field(default_factory=dict)
    """Inputs whose files hold depth, of which HHA is made as they are read."""
    lists: Path | None = None
    """The folder in which lists of its splits are looked for; None: in none."""

    @cached_property
    def parted(self) -> frozenset[Path]:
        """Pictures of which several splits have label maps, and not the same."""
        known = {(item.image, item.files) for item in chain(*self.splits.values())}
        counts = Counter(image for image, _ in known)
        return frozenset(image for image, files in counts.items() if files > 1)

    def contents(self, item: Item, sample: Sample) -> str:
        """What weights remember of a sample: ``content``, of a part with that of its labels."""
        part = [*sample.heads.values()] * (item.image in self.parted)
        return "".join(map(content, (sample.image, *part)))

    def with_label_scale(self, scale: int) -> DataSet:
        """With label maps that are read as so many times finer; outlines are on their own grid."""

        def scaled(item: Item) -> Item:
            own = item.labels.items()
            maps = {h: replace(m, scale=scale) for h, m in own if isinstance(m, LabelMap)}
            return replace(item, labels={**item.labels, **maps})

        splits = {split: tuple(map(scaled, items)) for split, items in self.splits.items()}
        return replace(self, splits=splits, label_scale=scale)

    @property
    def class_map(self) -> ClassMap:
        """Of the first head."""
        return self.class_maps[self.heads[0]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the labels."""
        return self.class_map.classes

    @property
    def classes_by_head(self) -> dict[str, tuple[str, ...]]:
        """The names of each head that is read."""
        return {head: self.class_maps[head].classes for head in self.heads}

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """A colour for each class."""
        return self.class_map.palette

    def of_head(self, head: str) -> str:
        """For messages: `` (head `name`)`` where there are several, nothing where there is one."""
        return f" (head `{head}`)" if len(self.heads) > 1 else ""

    def items(self, split: str, *, labelled: bool = True) -> tuple[Item, ...]:
        """The items of a split; with ``labelled`` none without labels is among them.

        Raises:
            DataError: all of ``split_problems``.
        """
        raise_all(self.root, self.split_problems(split, labelled=labelled))
        return self.splits[split]

    def split_problems(self, split: str, *, labelled: bool = True) -> tuple[DataError, ...]:
        """Why a split cannot be used: D032 it is empty or missing, D031 a picture has no labels,
        D031 and D034 what is wrong with its list.
        """
        items = self.splits.get(split, ())
        listed = self.list_problems.get(split, ())
        if not items:
            return (*listed, self._missing(split))
        label = f"pixelwise predict MODEL DATA --split {split} -o OUT"
        bare = [
            DataError(
                "D031",
                f"{item.image} (split `{split}`) has no label map{self.of_head(head)}, expected "
                "one to train or evaluate on",
                f"add it; or label the pictures: {label}",
            )
            for item in items
            for head in self.heads
            if labelled and head not in item.labels
        ]
        return (*listed, *bare)

    def _missing(self, split: str) -> DataError:
        known = ", ".join(f"{name} ({len(items)})" for name, items in self.splits.items())
        what = f"{self.root}: split `{split}` is empty or missing; there are: {known}"
        return DataError("D032", what, "name one that is there, or add pictures for it")

    def using(self, *, inputs: Sequence[str] = (), heads: Sequence[str] = ()) -> DataSet:
        """The same data set with other inputs or heads of those that its items have.

        ``inputs`` are in the order of the bands; the first head's classes become ``classes``; what
        is empty stays as it was. ``edges`` are those of the first head, where none is called so.

        Raises:
            UsageError: U001 an unknown name.
            DataError: D031 pictures that lack an input.
        """
        if EDGES in heads and EDGES not in self.class_maps:
            return self._with_edges().using(inputs=inputs, heads=heads)
        items = self.all_items()
        for kind, asked, names in (
            ("input", inputs, self.known_inputs),
            ("head", heads, [*self.class_maps]),
        ):
            if unknown := [name for name in asked if name not in names]:
                raise unknown_name(f"{kind} of {self.root}", unknown[0], names)
        used = tuple(inputs) or self.inputs
        gaps = [(i.image, n) for i in items for n in used if n not in i.inputs]
        of = {n: f", which is computed of `{made.source.of}`" for n, made in self.computed.items()}
        wanted = [(p, f"picture for input `{n}`{of.get(n, '')}") for p, n in gaps]
        raise_all(self.root, [no_partner(path, what) for path, what in wanted])
        return replace(self, inputs=used, heads=tuple(heads) or self.heads)

    def _with_edges(self) -> DataSet:
        """With a further head that can be used: the edges of the first."""
        of, own = self.heads[0], self.class_map

        def one(item: Item) -> Item:
            made = {EDGES: Derived(item.labels[of], own, edges)} if of in item.labels else {}
            return replace(item, labels={**item.labels, **made})

        splits = {split: tuple(map(one, items)) for split, items in self.splits.items()}
        edge_map = ClassMap((EDGES,), ((255, 255, 255),), kind=EDGE)
        return replace(self, class_maps={**self.class_maps, EDGES: edge_map}, splits=splits)

    @property
    def known_inputs(self) -> list[str]:
        """Names of all inputs that its items have, used or not."""
        return sorted({name for item in self.all_items() for name in item.inputs})

    def read(self, item: Item) -> Sample:
        """Picture and labels of an item, checked against each other and the class lists.

        Raises:
            DataError: unreadable files, D013 different sizes, D012 a value that names no class,
                D014 an EXIF turn that cannot be decided.
        """
        heads = {name: item.labels[name].read(self.class_maps[name]) for name in self.heads}
        files = [item.labels[name].files[0] for name in self.heads]
        size = heads[self.heads[0]].shape[:2]
        image = self.image(item, size, f"its label map {files[0]}")
        for path, others in zip(files, heads.values(), strict=True):
            refuse_other_size(others.shape, path, size, files[0])
        if self.values == "gaps" and (gaps := np.isnan(image).any(axis=2)).any():
            heads = {head: own.copy() for head, own in heads.items()}
            for own in heads.values():
                own[gaps] = void_of(own)
        return Sample(item.name, image, heads)

    def image(
        self, item: Item, size: tuple[int, ...] | None = None, other: str = ""
    ) -> NDArray[Any]:
        """The picture of an item: its inputs behind each other as bands, (H, W, B).

        Args:
            item: of this data set.
            size: (height, width) that it must have; by default that of the first input.
            other: what has this size.

        Raises:
            DataError: unreadable files, D013 different sizes, D014 as ``read``, D034 bands that
                are to be shown and are not there.
        """
        image = stack([*self._input_images(item, size, other).values()])
        if max(self.false_colour, default=0) >= image.shape[2]:
            what = f"{item.image} has {image.shape[2]} bands, and false_colour names "
            hint = "bands are counted from 0"
            raise DataError("D034", what + ", ".join(map(str, self.false_colour)), hint)
        return image

    def _input_images(
        self, item: Item, size: tuple[int, ...] | None = None, other: str = ""
    ) -> dict[str, NDArray[Any]]:
        """By input its part of the picture; arguments and errors as of ``image``."""
        # Photos of one set may be grey or in colour; of several inputs each is what it is, also
        # when it is used alone: depth of 16 bits brought to 8 has steps of a quarter of a metre.
        values = self.values
        if len(item.inputs) > 1 and values == "8-bit":
            values = "stored"
        alike = self.values == "8-bit" and len(self.inputs) == 1
        images: dict[str, NDArray[Any]] = {}
        for name in self.inputs:
            path, made = item.inputs[name], self.computed.get(name)
            form: Any = {"values": "stored" if made else values, "variable": self.variable}
            picture = decode(file_bytes(path), path, **form)
            image = as_labelled(picture, path, size) if size else picture.shown
            size, other = size or image.shape[:2], other or str(path)
            refuse_other_size(image.shape, path, size, other)
            if made:
                image = made.image(image, path, item.name, self._raw_depth(item, made))
            images[name] = repeated(image) if alike and image.dtype == "uint8" else image
            if name in self.kinds:
                refuse_other_kind(images[name], self.kinds[name], path)
            other = str(item.inputs[self.inputs[0]])  # further inputs are measured by the first
        return images

    def _raw_depth(self, item: Item, made: HhaInput) -> NDArray[Any] | None:
        if not made.source.raw:
            return None
        path = item.inputs[made.source.raw]
        return decode(file_bytes(path), path, values="stored").shown

    def kinds_of(self, item: Item) -> dict[str, InputKind]:
        """Of which kind each input of an item is; raises as ``image``."""
        return {name: kind_of(image) for name, image in self._input_images(item).items()}

    def all_items(self) -> tuple[Item, ...]:
        """Every item once, by name."""
        unique = {item.name: item for item in chain(*self.splits.values())}
        return tuple(unique[name] for name in sorted(unique))

    def namesakes(self) -> Iterator[tuple[Item, Item]]:
        """Items of one name and not of the same files, each with the first of its name."""
        known: dict[str, Item] = {}
        for item in chain(*self.splits.values()):
            first = known.setdefault(item.name, item)
            if first.files != item.files:
                yield first, item

    @property
    def folders(self) -> frozenset[Path]:
        """Where its pictures and label maps lie, as resolved paths."""
        paths = (path for item in self.all_items() for path in item.files)
        return frozenset((archive_of(p) or p).parent.resolve() for p in paths)

    def fingerprint(self, *splits: str) -> str:
        """A short hash over what labels mean, and over the files of splits (all, or those named).

        Files count by name and size, those of inputs and heads that are not read do not count.

        Raises:
            DataError: D032 no such split, or an empty one.
        """
        numbers = (self.values, self.label_scale)
        variable = (self.variable,) if self.variable else ()
        stored = numbers if numbers[1] > 1 else numbers[: self.values != "8-bit"]  # as before
        digest = hashlib.sha256()
        for class_map in (self.class_maps[name] for name in self.heads):
            values = sorted(class_map.values.items())
            others = () if class_map.others is None else (class_map.others,)
            kind = (class_map.kind,) if class_map.kind.measured else ()
            meaning = (
                class_map.classes,
                values,
                class_map.colours,
                *others,
                *stored,
                *kind,
                *variable,
            )
            digest.update(repr(meaning).encode("utf-8", "surrogatepass"))
        for made in (self.computed[name] for name in self.inputs if name in self.computed):
            digest.update(repr(made.facts).encode("utf-8", "surrogatepass"))
        for split in sorted(set(splits) or self.splits):
            if splits and not self.splits.get(split):
                raise self._missing(split)
            for item in self.splits[split]:
                images = [item.inputs[name] for name in self.inputs]
                labels = [p for n in self.heads if n in item.labels for p in item.labels[n].files]
                # By sizes, not by content: every start would have to read all of it.
                sizes = tuple(file_size(path) for path in (*images, *labels))
                digest.update(repr((split, item.name, sizes)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def no_partner(path: Path, wanted: str) -> DataError:
    """D031 of a file that stands alone."""
    what = f"{path} has no partner, expected a {wanted}"
    return DataError("D031", what, "add it, or move it away")


def as_labelled(picture: Picture, path: Path, size: tuple[int, ...]) -> NDArray[Any]:
    """A picture, turned as EXIF says or as it is stored: as its label map (H, W) was drawn.

    A label map carries no EXIF. If just one of stored and shown size equals the map's, that
    decides; where both do (square pictures, half turns, mirrors) nothing can, and guessing would
    spoil labels.

    Raises:
        DataError: D014 the orientation is ambiguous.
    """
    stored, shown = picture.stored, picture.shown
    if picture.header.orientation == 1 or stored.shape[:2] != tuple(size):
        return shown
    if shown.shape == stored.shape:
        raise DataError(
            "D014",
            f"{path} has EXIF orientation {picture.header.orientation}, and its label map fits it "
            "turned and unturned",
            "turn the picture for good and remove the tag, e.g. with `mogrify -auto-orient`",
        )
    return stored
