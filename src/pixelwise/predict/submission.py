"""The archive that PASCAL VOC's evaluation server takes for the segmentation task.

``results/VOC2012/Segmentation/comp6_test_cls/ID.png`` for every picture of the test list: indexed
PNGs of the picture's size with class numbers 0 to 20 (VOC2012 development kit, sections 1.2 and 5.3
and VOCinit.m; comp6 is the competition in which training data is free, as with SBD and ImageNet).
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pixelwise.data.formats import canonical
from pixelwise.errors import DataError, UsageError, raise_all
from pixelwise.labels import VOC_CLASSES, default_names, voc_palette
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.images import label_image, read_labels
from pixelwise.predict import saving

NAME = "submission.tar.gz"
FOLDER = "results/VOC{year}/Segmentation/comp6_test_cls"
YEAR = "2012"
"""Where the data does not say which it is of."""


def refuse_unfit(classes: Sequence[str], *, split: str, shard: str) -> None:
    """Before anything is predicted.

    Raises:
        UsageError: U002 no split, or a part of one; classes that are not VOC's 21.
    """
    if not split or shard != "1/1":
        what = f"--submission packs a whole split, but there is {'--shard' if split else 'none'}"
        raise UsageError("U002", what, "--split test --submission, after all shards")
    if tuple(classes) not in (VOC_CLASSES, default_names(len(VOC_CLASSES))):
        some = ", ".join(classes[:3])
        what = (
            f"--submission: the model has {len(classes)} classes ({some}, ...), expected VOC's 21"
        )
        raise UsageError("U002", what, "take a model that was trained on PASCAL VOC")


def year_of(data: Path) -> str:
    """The year of a VOC data set, by its description or the name of its folder."""
    path = data / canonical.NAME
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    match = re.search(r"VOC(20\d\d)", text) or re.search(r"VOC(20\d\d)", data.resolve().name)
    return match[1] if match else YEAR


def write(out: Path, names: Sequence[str], *, year: str = YEAR, failed: int = 0) -> Path | None:
    """Pack the label maps of a folder of predictions; the same maps give the same bytes.

    None where a picture has failed: the server wants all of them. An archive that was there is gone
    then, as after an error: it would not be of these maps.

    Raises:
        DataError: D031 all names without a label map, D012 numbers beyond 20.
        ResourceError: R001, R002 it cannot be written.
    """
    target = out / NAME
    target.unlink(missing_ok=True)
    if failed:
        return None
    maps = {name: saving.path(out, name, "labels") for name in sorted(names)}
    hint = "see failures.jsonl, and run the same command again"
    lacking = [n for n, path in maps.items() if not path.is_file()]
    raise_all(out, [DataError("D031", f"{n} has no label map in {out}", hint) for n in lacking])
    folder = FOLDER.format(year=year)

    def pack(f: BinaryIO) -> None:
        # No names, owners or times but those of the content.
        kind = tarfile.USTAR_FORMAT
        with (
            gzip.GzipFile("", "wb", fileobj=f, mtime=0) as packed,
            tarfile.TarFile(None, "w", packed, format=kind) as archive,
        ):
            for name, path in maps.items():
                content = _indexed(path)
                info = tarfile.TarInfo(f"{folder}/{name}.png")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    return atomic_write(target, pack)


def _indexed(path: Path) -> bytes:
    """A label map as VOC's own are stored: 8 bits, VOC's 256 colours."""
    labels = read_labels(path)
    if labels.max() >= len(VOC_CLASSES):
        what = f"{path}: value {labels.max()}, expected class numbers of 0 to 20"
        raise DataError("D012", what, "predict it again, with --force")
    buffer = io.BytesIO()
    label_image(labels, voc_palette()).save(buffer, "PNG")
    return buffer.getvalue()
