"""nnU-Net's raw data: imagesTr/CASE_0000.png, ..., labelsTr/CASE.png and dataset.json.

Each channel of a case is a file; of several each is an input of its own, under its name. One file
for all of them (RGB) is one input. imagesTs/ is the split test. Volumes are not read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from pixelwise.data.class_files import VOIDS, class_ids, parsed
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.listing import Listing, by_stem, pictures
from pixelwise.data.sample import Item, LabelMap
from pixelwise.errors import DataError
from pixelwise.labels import VOID, colours_for
from pixelwise.settings import parse_json, read, refuse, settings

NAME = "dataset.json"
CHANNEL = re.compile(r"(.+)_(\d{4})")
VOLUMES = (".nii", ".gz", ".nrrd", ".mha")
FORM = '{"channel_names": {"0": "T2"}, "labels": {"background": 0, "tumor": 1}, ...}'


@settings(code="D034", others="ignore")
class Description:
    """What dataset.json says; version 1 calls the channels ``modality``."""

    labels: Mapping[str, Any]
    channel_names: Mapping[int, str] = field(default_factory=dict)
    modality: Mapping[int, str] = field(default_factory=dict)
    regions_class_order: tuple[int, ...] = ()

    def class_map(self) -> ClassMap:
        """Name to number, or (version 1) number to name; of regions the numbers of their order."""
        named = dict(self.labels)
        if all(isinstance(name, str) for name in named.values()):
            named = {name: int(value) if value.isdigit() else -1 for value, name in named.items()}
        regions = [n for n, value in named.items() if value != 0 and n.lower() not in VOIDS]
        if any(isinstance(value, list) for value in named.values()):
            order = self.regions_class_order
            refuse(len(order) != len(regions) and "regions without one `regions_class_order` each")
            named |= dict(zip(regions, order, strict=True))
        odd = [f"`{n}`" for n, v in named.items() if type(v) is not int or not 0 <= v <= 65535]
        refuse(bool(odd) and f"the label of {', '.join(odd)} is no number from 0 to 65535")
        void = [value for name, value in named.items() if name.lower() in VOIDS]
        known = {v: n for n, v in sorted(named.items(), key=lambda p: p[1]) if v not in void}
        names, ids = class_ids(known, void)
        return ClassMap(names, colours_for(len(names)), {VOID: VOID, **ids})

    def channel(self, number: int) -> str:
        """Its name as an input, which may name a folder."""
        names = self.channel_names or self.modality
        plain = re.sub(r"[^\w.-]+", "_", names.get(number, "")).strip("_.-")
        twice = [*names.values()].count(names.get(number, "")) > 1
        return f"{plain}_{number}" if twice or not plain else plain


def recognise(root: Path) -> bool:
    """dataset.json beside imagesTr/ and labelsTr/."""
    return (root / NAME).is_file() and all((root / f).is_dir() for f in ("imagesTr", "labelsTr"))


def open_layout(listing: Listing) -> DataSet:
    """The data set; train and val are drawn from imagesTr/.

    Raises:
        DataError: D034 dataset.json is malformed, D015 the cases are volumes.
    """
    root = listing.root
    said = parsed(root / NAME, lambda content: read(Description, parse_json(content)), FORM)
    classes = parsed(root / NAME, lambda _: said.class_map(), FORM)
    volumes = [p for p in sorted((root / "labelsTr").iterdir()) if p.suffix in VOLUMES]
    if volumes:
        hint = "export its slices as PNG, each with its label map"
        raise DataError("D015", f"{volumes[0]}: a volume, expected pictures", hint)
    train, test = (_items(listing, said, part) for part in ("Tr", "Ts"))
    splits = dict(listing.splits(root / "splits", train))
    if test:
        splits["test"] = tuple(test.values())
    dataset = listing.dataset("nnunet", f"{NAME} beside imagesTr/ and labelsTr/", classes, splits)
    inputs = next((tuple(item.inputs) for item in train.values()), dataset.inputs)
    return replace(dataset, inputs=inputs)


def _items(listing: Listing, said: Description, part: str) -> dict[str, Item]:
    images, folder = listing.root / f"images{part}", listing.root / f"labels{part}"
    cases: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in pictures(images):
        if match := CHANNEL.fullmatch(path.stem):
            cases[match[1]][int(match[2])] = path
    numbers = sorted({number for files in cases.values() for number in files})
    maps = by_stem(pictures(folder), listing.problems)
    items = {}
    for case, files in cases.items():
        gaps = [n for n in numbers if n not in files]
        wanted = [(images / f"{case}_{n:04}.*", f"channel `{said.channel(n)}`") for n in gaps]
        if part == "Tr" and case not in maps:
            wanted.append((files[min(files)], f"label map {folder / case}.*"))
        listing.problems += [no_partner(path, what) for path, what in wanted]
        named = {said.channel(n): path for n, path in sorted(files.items())}
        inputs = named if len(numbers) > 1 else {listing.input: files[numbers[0]]}
        labels = {listing.head: LabelMap(maps[case])} if case in maps else {}
        if not gaps:
            items[case] = Item(case, inputs, labels)
    return items
