"""Label maps that people corrected in the page, kept as a data set that training reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap
from pixelwise.data.formats import canonical
from pixelwise.errors import DataError, ModelError, ResourceError, UsageError, hxw
from pixelwise.labels import VOID
from pixelwise.machine.files import PREFIX, in_turn, write_together
from pixelwise.pictures.images import encode, label_image, read_labels
from pixelwise.pictures.recognise import HEAD, kind_in
from pixelwise.predict.model import Model
from pixelwise.weights.checkpoint import HeadClasses

MOST = 10_000  # pictures of one folder: more than anyone corrects, less than a disk's names
FREE = 2**30  # bytes of the disk that are left to others
SOURCE = "corrected in the page of pixelwise serve"


def keep(
    folder: Path, model: Model, head: str, image: NDArray[np.uint8], labels: bytes
) -> tuple[str, bytes]:
    """Add a picture and its label map under the next number; what they are called, as JSON.

    The picture is written anew as PNG: nothing else that its file held gets to the disk.

    Raises:
        DataError: D012, D013, D015 and others of a label map that does not fit the picture.
        UsageError: U002 a net that sees more than photos, U003 the folder is no data set of ours.
        ModelError: M040 it holds labels of other classes.
        ResourceError: R001 it is full, or the disk nearly so; R002.
    """
    own = model.heads[head]
    if len(model.inputs) > 1 or image.dtype != np.uint8 or image.shape[2] != 3:
        raise UsageError("U002", "corrections are kept of photos in three bands alone")
    mask = _checked(labels, own, image.shape[:2])
    with in_turn(folder):
        _open(folder, own)
        number = 1 + max((int(p.stem) for p in _numbered(folder)), default=0)
        if number > MOST or shutil.disk_usage(folder).free < FREE + image.nbytes:
            what = f"the folder of corrections is full, at {number - 1:,} pictures"
            raise ResourceError("R001", what, "--corrections OTHER")
        name = f"{number:06}"
        palette = np.array(own.palette, np.uint8).reshape(-1, 3)
        files = {"images": encode(image), "labels": encode(label_image(mask, palette))}
        write_together({folder / part / f"{name}.png": data for part, data in files.items()})
        count = len(_numbered(folder))
    return "application/json", json.dumps({"name": name, "pictures": count}).encode()


def _checked(labels: bytes, own: HeadClasses, size: tuple[int, ...]) -> NDArray[np.uint8]:
    if kind_in(labels[:HEAD]) != "PNG":
        raise DataError("D015", "the label map is no PNG", "a palette or grey PNG of class numbers")
    mask = read_labels(Path("the label map"), labels)
    if mask.shape != size:
        what = f"the label map is {hxw(mask.shape)} (HxW), the picture {hxw(size)}"
        raise DataError("D013", what, "they must be of one size")
    wrong = mask[(mask >= len(own.classes)) & (mask != VOID)]
    if mask.dtype != np.uint8 or wrong.size:
        what = f"the label map has the value {int(wrong[0]) if wrong.size else mask.max()}"
        raise DataError("D012", f"{what}, expected 0 to {len(own.classes) - 1}, or 255 for void")
    return mask.astype(np.uint8)


def _open(folder: Path, own: HeadClasses) -> None:
    """Make a folder a data set of these classes, if it is not one yet."""
    path = folder / canonical.NAME
    if path.exists():
        (class_map,) = canonical.described(path).class_maps.values()
        if class_map.classes != own.classes:
            what = f"the corrections are of the classes {', '.join(class_map.classes[:5])}, ..."
            raise ModelError("M040", what, "--corrections OTHER for this model")
        return
    if any(not p.name.startswith(PREFIX) for p in folder.iterdir()):
        raise UsageError("U003", "the folder of corrections holds other files", "a new folder")
    described = canonical.Description({"labels": ClassMap(own.classes, own.palette, {})})
    canonical.write_description(folder, described, SOURCE)


def _numbered(folder: Path) -> list[Path]:
    return [p for p in (folder / "images").glob("*.png") if p.stem.isdecimal()]
