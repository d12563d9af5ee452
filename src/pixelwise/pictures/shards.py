"""Files inside tars, read where they lie: nothing is unpacked, and any of them comes at any time.

``shards/000017.tar/cat.jpg`` is the path of a file in a tar. No other file can have it, as nothing
lies below a file; so what reads a picture (``imagefile.file_bytes``) takes it as any other path.

Where a file lies is known from the tar's headers, or from an index beside it, which spares reading
them: ``000017.idx``, of DALI's ``wds2idx``, has a line for each sample with ending, place, size and
name of its files. It is believed no further than the header in front of what is read.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError

END, INDEX = ".tar", ".idx"
BLOCK = 512  # bytes of a header, and the unit of what follows it (POSIX ustar)
HEADER = 1 << 20
"""Bytes of one header; a name that is longer is no name."""
VERSION = "v1.2"  # of DALI's index: the first that has names
AGAIN = "fetch it again, and compare its size with that on its page"

Placed = tuple[str, int, int]
"""A file in a tar: its name, where its bytes begin, how many they are."""


def archive_of(path: Path) -> Path | None:
    """The tar that holds a file; None: it lies in a folder."""
    if END + os.sep not in str(path):  # nearly all
        return None
    return next((p for p in path.parents if p.suffix == END and p.is_file()), None)


def archives_in(folder: Path) -> list[Path]:
    """The tars in a folder, not hidden, by name."""
    return sorted(p for p in folder.glob(f"[!.]*{END}") if p.is_file())


def names_in(archive: Path) -> Iterator[str]:
    """The files in a tar, in its order; hidden ones, as macOS packs them beside others, are none.

    Raises:
        DataError: D040 it is damaged, its index is another one's, or a name leads out of it.
    """
    for name, _, _ in _placed(archive):
        folders = name.split("/")
        if not folders[0] or ".." in folders or "\\" in name:
            raise damaged(archive, f"`{name}` leads out of it")
        if not folders[-1].startswith("."):
            yield name


def file_size(path: Path) -> int:
    """Bytes of a file, which may be in a tar; errors as of ``read_member`` and ``Path.stat``."""
    archive = archive_of(path)
    return _place(archive, path)[1] if archive else path.stat().st_size


def read_member(archive: Path, path: Path, limit: int) -> bytes:
    """At most so many bytes of a file in a tar.

    Raises:
        DataError: D010 it has no such file, D040 it changed since it was listed, or is damaged.
        OSError: the tar cannot be read.
    """
    place, size = _place(archive, path)
    name = path.relative_to(archive).as_posix()
    with archive.open("rb") as f:
        f.seek(place - BLOCK)
        header, data = f.read(BLOCK), f.read(min(size, limit))
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        # Names that are longer, or no ASCII, stand in a header of their own before this one.
        known = info.name == name or not name.isascii() or len(name) > tarfile.LENGTH_NAME
        same = known and info.isreg() and info.size == size and len(data) == min(size, limit)
    except tarfile.HeaderError:
        same = False
    if not same:
        what = f"{archive}: where its index has {name} there is something else"
        hint = f"remove {archive.with_suffix(INDEX).name}, or fetch both again"
        raise DataError("D040", what, hint)
    return data


def regular_files(f: BinaryIO, size: int) -> Iterator[Placed]:
    """The regular files of a tar of so many bytes, of which the headers alone are read.

    Raises:
        tarfile.TarError, OSError, ValueError: it is damaged or cut off.
    """
    end = 0
    with tarfile.open(fileobj=_Headers(f), mode="r:") as tar:  # type: ignore[call-overload]
        while member := tar.next():
            tar.members.clear()  # which would be kept, all of them
            inside = member.isreg() and not member.issparse()
            beyond = inside and member.offset_data + member.size > size
            # A negative size would lead back, for ever (CVE-2025-8194).
            if beyond or member.size < 0 or tar.offset <= end:
                raise tarfile.ReadError(f"in {member.name}")
            end = tar.offset
            if inside:
                yield member.name, member.offset_data, member.size
    f.seek(end)
    if f.read(BLOCK) != bytes(BLOCK):  # POSIX pax, tar: two such blocks end an archive
        raise tarfile.ReadError("no end mark")


@dataclass
class _Headers:
    """A file of which tarfile is to read headers: as many bytes as one claims, which may lie."""

    file: BinaryIO

    def read(self, size: int) -> bytes:
        if not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()


def split(name: str) -> tuple[str, str]:
    """The key of a sample and what a file of it is, as webdataset has it: at the first dot."""
    folder, slash, last = name.rpartition("/")
    key, _, ending = last.partition(".")
    return folder + slash + key, ending


def index_text(placed: Iterable[Placed]) -> str:
    """The index of a tar; the files of a sample stand behind each other."""
    samples = [[*files] for _, files in groupby(placed, key=lambda file: split(file[0])[0])]
    lines = (" ".join(f"{split(n)[1]} {at} {size} {n}" for n, at, size in s) for s in samples)
    return "\n".join([f"{VERSION} {len(samples)}", *lines, ""])


def damaged(archive: Path, what: object) -> DataError:
    """D040 of an archive that cannot be read to its end."""
    return DataError("D040", f"{archive}: the archive is damaged or cut off ({what})", AGAIN)


def _place(archive: Path, path: Path) -> tuple[int, int]:
    """Where a file begins in a tar, and its bytes."""
    facts, key = archive.stat(), _key(path.relative_to(archive).as_posix())
    index = _index(archive, facts.st_size, facts.st_mtime_ns)
    i = int(np.searchsorted(index[:, 0], key))
    if i == len(index) or index[i, 0] != key:
        hint = f"pixelwise data inspect {archive.parent}"
        raise DataError("D010", f"{path}: {archive.name} holds no such file", hint)
    return int(index[i, 1]), int(index[i, 2])


@cache
def _index(archive: Path, size: int, changed: int) -> NDArray[np.int64]:  # noqa: ARG001 - as of then
    """(N, 3) key, place and size by rising key: 24 bytes a file, as there may be millions."""
    index = np.array([(_key(name), *at) for name, *at in _placed(archive)], np.int64).reshape(-1, 3)
    index = index[index[:, 0].argsort()]
    if not np.diff(index[:, 0]).all():
        raise damaged(archive, "a file twice")
    return index


def _key(name: str) -> int:
    """64 bits for a name; should two be alike, the header in front of a file tells."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _placed(archive: Path) -> Iterator[Placed]:
    """By the index, or else by the headers."""
    size, index = archive.stat().st_size, archive.with_suffix(INDEX)
    try:
        if index.is_file():
            yield from _by_index(index, size)
        else:
            with archive.open("rb") as f:
                yield from regular_files(f, size)
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise damaged(archive, error) from error


def _by_index(index: Path, size: int) -> list[Placed]:
    first, *lines = index.read_text("utf-8", "surrogateescape").splitlines()
    if first.split()[:1] != [VERSION]:
        raise ValueError(f"{index} begins with {first[:20]!r}, expected {VERSION}")
    words = [line.split(" ")[i : i + 4] for line in lines for i in range(0, line.count(" "), 4)]
    placed = [(name, int(place), int(count)) for _, place, count, name in words]
    ends = [place + count for _, place, count in placed if place >= BLOCK and count >= 0]
    # Two blocks end a tar, which is filled up to a multiple of 20; the last file fills its own.
    if len(ends) < len(placed) or not size - 22 * BLOCK <= max(ends, default=0) <= size:
        raise ValueError(f"{index} is the index of another one")
    return placed
