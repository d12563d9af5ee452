"""What is in a tar or zip file, and where; nothing of it is trusted.

Limits after what archives of known data sets need, with room: VOC 2012 has 40,000 members, NYUDv2
2.8 GB. Data that compresses 200 times and more is no picture.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import secrets
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from pixelwise.errors import DataError
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.imagefile import MAX_BYTES
from pixelwise.pictures.shards import AGAIN, damaged, regular_files

if TYPE_CHECKING:
    from pixelwise.data.prepare.source import Progress

ENDS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip")
MEMBERS = 200_000
BYTES = 64 << 30
RATIO = 200
CHUNK = 1 << 20
CONTENTS = 64 << 20
"""Bytes of a zip's list of members, which is read as a whole: 200,000 names of 280 letters."""
OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
"""By the first bytes of the file."""
FAULTS = (
    *(EOFError, OSError, ValueError, RuntimeError, NotImplementedError),
    *(zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
)
"""What the readers of the standard library raise of a file that is not as it should be."""


@dataclass(frozen=True)
class Entry:
    """One file, in a folder or in an archive."""

    path: str
    """From the folder or archive that was given on, with its name, and slashes."""
    home: Path
    """The file itself, or the archive that holds it."""
    read: Callable[[], bytes]
    unpacked: bool = False

    def __str__(self) -> str:
        return str(self.home) if self.unpacked else f"{self.home}: {self.path.partition('/')[2]}"

    @property
    def place(self) -> Path:
        """What messages name."""
        return Path(str(self))

    @property
    def suffix(self) -> str:
        """Of its name, in lower case."""
        return PurePosixPath(self.path).suffix.lower()

    def bytes(self) -> bytes:
        """Its content.

        Raises:
            DataError: D020 it cannot be read, D022 it is too large, D040 the archive is damaged.
        """
        data = self.read()
        if len(data) > MAX_BYTES:
            what = f"{self}: more than {MAX_BYTES >> 30} GiB, the limit of a file"
            raise DataError("D022", what, "check that it is what its name says")
        return data

    @contextmanager
    def on_disk(self, scratch: Path) -> Iterator[Path]:
        """The path of a file with its content: itself, or a copy for the length of the block."""
        if self.unpacked:
            yield self.home
            return
        copy = scratch / f"{secrets.token_hex(4)}-{PurePosixPath(self.path).name}"
        atomic_write(copy, self.bytes())
        try:
            yield copy
        finally:
            copy.unlink(missing_ok=True)


def is_archive(path: Path) -> bool:
    """Whether a file has the name of an archive."""
    return path.name.lower().endswith(ENDS)


def listed(path: Path, laid_down: Path, progress: Progress) -> Iterator[Entry]:
    """The regular files in an archive, as they stand there.

    A compressed tar is decompressed to ``laid_down`` first, unless that is there.

    Raises:
        DataError: D040 it is damaged, of another format, or claims what no data set would.
    """
    with path.open("rb") as f:
        head = f.read(15)
    zipped = head.startswith(b"PK")
    if head[:1] in (b"<", b"{") or not head:  # the answer of a server, kept under the file's name
        raise damaged(path, f"it begins with `{head.decode('latin-1')}`")
    if not zipped and head.startswith(tuple(OPENERS)):
        if not laid_down.is_file():
            _decompress(path, head, laid_down, progress)
        members = _of_tar(path, laid_down)
    else:
        members = _of_zip(path) if zipped else _of_tar(path, path)
    stem = path.name[: -len(next(e for e in ENDS if path.name.lower().endswith(e)))]
    for count, (name, read) in enumerate(members, 1):
        if count > MEMBERS:
            raise refused(path, f"more than {MEMBERS:,} files")
        plain = _checked(path, name)
        if not plain.name.startswith("."):  # as macOS packs its own beside every file: ._a.jpg
            yield Entry(f"{stem}/{plain}", path, read)


def _checked(path: Path, name: str) -> PurePosixPath:
    """A member's name as a path with slashes; what leads out is refused with the archive."""
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or "\\" in name:
        raise refused(path, f"a file called `{name}`, which leads out of it")
    return plain


def refused(path: Path, what: str) -> DataError:
    """D040 of an archive that no data set would be."""
    hint = f"no published data set has that; {AGAIN}"
    return DataError("D040", f"{path}: the archive holds {what}", hint)


def _decompress(path: Path, head: bytes, target: Path, progress: Progress) -> None:
    """A compressed file as a plain one; whole or not at all."""
    opener = next(o for begin, o in OPENERS.items() if head.startswith(begin))
    size = path.stat().st_size
    limit = min(BYTES, RATIO * size)

    def copy(f: BinaryIO) -> None:
        read = 0
        with path.open("rb") as packed, progress(f"unpacking {path.name}", size) as advance:
            unpacked = opener(packed)
            while True:
                with _as_damage(path):
                    chunk = unpacked.read(CHUNK)
                if not chunk:
                    break
                if f.tell() + len(chunk) > limit:
                    raise refused(path, f"more than {limit:,} bytes")
                f.write(chunk)
                advance(packed.tell() - read)
                read = packed.tell()

    atomic_write(target, copy)


@contextmanager
def _as_damage(path: Path, name: str = "") -> Iterator[None]:
    """What the readers raise of an archive as D040, of the member ``name`` if it is one's."""
    try:
        yield
    except DataError:
        raise
    except FAULTS as error:
        raise damaged(path, f"{name}: {error}" if name else error) from error


def _of_tar(path: Path, plain: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names in a tar and how each is read; ``plain`` is the archive, or what was in it."""
    with _as_damage(path), plain.open("rb") as f:
        for name, *place in regular_files(f, plain.stat().st_size):
            yield name, partial(_read_range, path, plain, *place)


def _read_range(path: Path, plain: Path, place: int, size: int) -> bytes:
    with _as_damage(path), plain.open("rb") as f:
        f.seek(place)
        data = f.read(min(size, MAX_BYTES + 1))
    if len(data) < min(size, MAX_BYTES + 1):
        raise damaged(path, "shorter than it was")
    return data


def _of_zip(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names in a zip and how each is read."""
    with _as_damage(path):
        _refuse_long_contents(path)
        archive = zipfile.ZipFile(path)
        total, whole = 0, path.stat().st_size
        for info in archive.infolist():
            if not info.filename:
                raise refused(path, "a file without a name")
            if info.compress_size > whole:  # for which zipfile would make room
                raise damaged(path, f"{info.filename}: {info.compress_size:,} packed bytes in it")
            kind = info.external_attr >> 28  # of Unix: 8 is a regular file, 0 not said
            if info.is_dir() or kind not in (0, 8):
                continue
            total += info.file_size
            if total > BYTES or info.file_size > RATIO * info.compress_size + CHUNK:
                raise refused(path, f"`{info.filename}` of {info.file_size:,} bytes, a bomb")
            yield info.filename, partial(_read_zipped, path, archive, info)


def _read_zipped(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with _as_damage(path, info.filename), archive.open(info) as f:
        return f.read(MAX_BYTES + 1)


def _refuse_long_contents(path: Path) -> None:
    """The end record of a zip says how long its list of members is (APPNOTE 4.3.16)."""
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - 65_557))  # a comment of 65,535 bytes, and the record
        tail = f.read()
    place = tail.rfind(b"PK\x05\x06")
    length = int.from_bytes(tail[place + 12 : place + 16], "little")
    if place >= 0 and CONTENTS < length < 2**32 - 1:
        raise refused(path, f"a list of members of {length:,} bytes")
