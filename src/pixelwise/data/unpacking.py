"""A data set in an archive: unpacked once into the folder of what is kept, and read from there.

The archive is read by the rules of ``prepare.archives``: regular files alone, none that leads out,
limits on their number and size. Its folder appears when all of it is there, and is named after the
archive's path, size and time, so that another archive under the same name gets another folder.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path, PurePosixPath

from pixelwise.data.prepare.archives import is_archive, listed, refused
from pixelwise.data.prepare.source import silent
from pixelwise.machine.environment import home
from pixelwise.machine.files import atomic_write, whole_folder

log = logging.getLogger(__name__)


def folder_of(path: Path) -> Path:
    """The folder that is meant: what an archive holds, or the path itself.

    Raises:
        DataError: D040 an archive that is damaged or unsafe.
        ResourceError: R001, R002 it cannot be unpacked.
    """
    if not (path.is_file() and is_archive(path)):
        return path
    facts = path.stat()
    key = repr((str(path.absolute()), facts.st_size, facts.st_mtime_ns))
    stamp = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    place = home() / "data" / f"{path.name.partition('.')[0]}-{stamp}"
    if not place.is_dir():
        log.warning("unpacking %s into %s (remove it when it is not needed any more)", path, place)
        with whole_folder(place) as folder:
            _unpack(path, folder)
    return place


def _unpack(path: Path, folder: Path) -> None:
    whole, names = folder / ".tar", set[str]()  # a compressed tar is laid down there
    for entry in listed(path, whole, silent):
        name = str(PurePosixPath(*PurePosixPath(entry.path).parts[1:]))  # without the archive's
        if name in names:
            raise refused(path, f"`{name}` twice")
        names.add(name)
        atomic_write(folder / name, entry.bytes())
    whole.unlink(missing_ok=True)
