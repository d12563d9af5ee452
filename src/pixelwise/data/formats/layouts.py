"""How a data folder is recognised: by what is in it, not by its name.

The canonical layout (``dataset.json``), those of labelling tools and published data sets, and
folders of pictures beside folders of masks. Every problem of the listing is told at once; what is
inside the files is checked when they are read (``DataSet.read``), and all of it beforehand by
``data.inspect``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

from pixelwise.data.class_files import Stated, described, stated
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import (
    ade20k,
    camvid,
    canonical,
    cityscapes,
    coco,
    cvat,
    datumaro,
    folder,
    labelme,
    nnunet,
    objects,
    paddle,
    sbd,
    shards,
    supervisely,
    ultralytics,
    voc,
)
from pixelwise.data.formats.folder import LABEL_FOLDERS, SPLITS, part_in
from pixelwise.data.listing import Listing
from pixelwise.data.prepare.archives import ENDS, is_archive
from pixelwise.data.unpacking import folder_of
from pixelwise.errors import DataError, first_few, raise_all
from pixelwise.pictures.shards import END, INDEX, archive_of

LAYOUTS = (
    *(canonical, nnunet, camvid, cvat, voc, cityscapes, coco, datumaro, supervisely, labelme),
    *(sbd, ade20k, ultralytics, paddle, objects, shards, folder),
)
"""In the order in which they are tried: what says most of itself first."""
TEXTS = (".txt", ".md", ".csv", ".html", ".pdf", ".py")
"""Endings of what is about a data set; the lists among it are read where a layout has them."""
DESCRIPTIONS = (".json", ".yaml", ".yml")
"""At the root these describe it, in a folder they are labels."""
DEPTH = 3
"""How many folders above its own a data set is found from; VOC's tar has two."""


def open_dataset(path: Path | str, *, strict: bool = True, values: str = "") -> DataSet:
    """The data set in a folder, by whatever layout it has.

    Args:
        path: the folder, or an archive of one, which is unpacked (see ``data.unpacking``).
        strict: raise the problems of the listing; else they are in the data set's ``problems``,
            for ``inspect`` to tell with those inside the files.
        values: what the numbers or colours in its label maps mean, whatever its files say of the
            first head: ``0=background,255=object``, see ``class_files.stated``.

    Raises:
        DataError: D010 no such folder, or one that cannot be read, D011 no layout fits, D030, D031,
            D032, D034 problems of the listing, D040 a damaged or unsafe archive; several at once as
            one D035.
        UsageError: U002 ``values`` cannot be meant.
    """
    said = stated(values)
    root = folder_of(Path(path))
    if not root.is_dir():
        what = "a file, expected" if root.is_file() else "no such folder, expected"
        hint = f"give its folder, or an archive ({' '.join(ENDS)})"
        raise DataError("D010", f"{root}: {what} a data set", hint)
    try:
        given, root = root, beginning(root)
        layout = next((known for known in LAYOUTS if known.recognise(root)), None)
        if layout is None:
            raise _unknown(given, Path(path))
        dataset: DataSet = layout.open_layout(Listing(root, stated=said.class_map))
        dataset = _as_stated(dataset, said)
        if root != given:
            note = f"the data begins in {root.relative_to(given)}/"
            dataset = replace(dataset, notes=(note, *dataset.notes))
        if given != Path(path):
            note = f"{path} is unpacked in {given}"
            dataset = replace(dataset, notes=(note, *dataset.notes))
    except OSError as error:
        what = f"{error.filename or root}: cannot be read ({error.strerror or error})"
        raise DataError("D010", what, "check who may read it") from error
    # Outputs and records are named after items, so a name must stand for one picture.
    twins = [
        DataError("D030", f"{a.image} and {b.image} share the stem `{a.name}`", "rename one")
        for a, b in dataset.namesakes()
        if a.image != b.image
    ]
    used = {archive_of(p) or p for item in dataset.all_items() for p in item.files}
    unused = _unused(given, used | {path.with_suffix(INDEX) for path in used if path.suffix == END})
    notes = (*dataset.notes, f"not used: {first_few(unused, 8)}") if unused else dataset.notes
    dataset = replace(dataset, notes=notes, problems=(*dataset.problems, *twins))
    if strict:
        raise_all(root, dataset.problems)
    return dataset


def _as_stated(dataset: DataSet, said: Stated) -> DataSet:
    head, own = dataset.heads[0], dataset.class_map
    return replace(dataset, class_maps={**dataset.class_maps, head: said.applied(own)})


def label_folder(path: Path) -> Path:
    """Where a data set keeps its label maps; ``path`` itself if nothing in it tells."""
    root = folder_of(path)
    root = beginning(root) if root.is_dir() else root
    if (root / canonical.NAME).is_file():
        description = canonical.described(root / canonical.NAME)
        folder = description.heads[description.used[1][0]]
        return root / folder if (root / folder).is_dir() else root
    if voc.recognise(root):
        return voc.label_folders(root)[0]
    return part_in(root).labels or root if root.is_dir() else root


def described_classes(labels: Path) -> ClassMap | None:
    """What the label maps in a folder mean, by a file in it or in the data set of the folder.

    A description beside the folder counts if a layout knows the folder: by its name, also within
    or around the folder of a split.

    Raises:
        DataError: D034 a malformed description.
    """
    labels = labels.absolute()
    for root in (labels, labels.parent, labels.parent.parent):  # labels/, and labels/train/
        names = [name.lower() for name in labels.relative_to(root).parts]
        if (root / canonical.NAME).is_file() and len(names) < 2:
            description = canonical.described(root / canonical.NAME)
            heads = description.heads.items()
            own = [h for h, folder in heads if [folder.lower()] == names or not names]
            return description.class_maps[own[0]] if own else None
        within = bool(names) and names[0] in LABEL_FOLDERS
        around = len(names) == 2 and names[1] in LABEL_FOLDERS and names[0] in SPLITS
        if (not names or within or around) and (class_map := described(root)):
            return class_map
    return layout_classes(labels) if described(labels.parent) else None


def layout_classes(labels: Path) -> ClassMap | None:
    """What the label maps in a folder mean where its data set is of a layout with own classes."""
    labels, root = labels.absolute(), labels.absolute().parent
    known = (layout for layout in (camvid, cvat, voc) if layout.recognise(root))
    return next((k.classes(root) for k in known if labels in k.label_folders(root)), None)


def beginning(root: Path) -> Path:
    """The folder of a data set that a folder holds, and no other; the folder itself, if none."""
    place = root
    for _ in range(DEPTH):
        if any(layout.recognise(place) for layout in LAYOUTS):
            return place
        inside = (p for p in place.iterdir() if not p.name.startswith((".", "__MACOSX")))
        folders = sorted(p for p in inside if p.is_dir() and not p.is_symlink())
        fit = [f for f in folders if any(layout.recognise(f) for layout in LAYOUTS)]
        if len(fit) > 1:
            names = ", ".join(str(f.relative_to(root)) for f in fit)
            hint = f"give the one that is meant: pixelwise data inspect {fit[0]}"
            raise DataError("D011", f"{root}: it holds several data sets ({names})", hint)
        if len(fit or folders) != 1:
            return root
        place = (fit or folders)[0]
    return place


def _unused(root: Path, used: Set[Path]) -> list[str]:
    """Files that no item is made of, counted by folder and ending: ``12 .mat in labels/``."""
    counts: Counter[tuple[str, str]] = Counter()
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        top = Path(place).relative_to(root).parts[:1]
        for path in (Path(place, name) for name in files):
            end = path.suffix.lower()
            talk = end in TEXTS or (not top and end in ("", *DESCRIPTIONS))
            if not path.name.startswith(".") and not talk and path not in used:
                counts[top[0] + "/" if top else "the folder itself", end or "without ending"] += 1
    return [f"{n:,} {end} in {place}" for (place, end), n in sorted(counts.items())]


def _unknown(root: Path, asked: Path) -> DataError:
    names = sorted(p.name for p in root.iterdir())
    inside = first_few(names, 8) or "nothing"
    hint = (
        "put pictures into images/ and label maps of the same names into labels/ "
        "(or into train/images/, train/labels/, val/images/, val/labels/)"
    )
    packed = [root / name for name in names if is_archive(root / name)]
    if asked != root and asked.suffix == END:  # unpacked
        hint = f"if it is a tar of samples, give its folder: pixelwise data inspect {asked.parent}"
    elif packed and packed[0].suffix == END:
        hint = "a sample in a tar is a.jpg and its label map a.png or a.labels.png"
    elif packed:
        hint = f"give the archive itself: pixelwise data inspect {packed[0]}"
    return DataError("D011", f"{root}: no known layout (it holds: {inside})", hint)
