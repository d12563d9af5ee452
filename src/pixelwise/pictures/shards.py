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
from pathlib import Path, PurePosixPath
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


def names_in(archive: Path, links: list[str] | None = None) -> Iterator[str]:
    """The files in a tar, in its order; hidden ones, as macOS packs them beside others, are none.

    ``links`` gets the names of links and sparse files, which are not read.

    Raises:
        DataError: D040 it is damaged, its index is another one's, or a name leads out of it.
    """
    for name, _, _ in _placed(archive, links):
        folders = name.split("/")
        if not folders[0] or ".." in folders or "\\" in name:
            hint = f"pack it by names within its folder: tar cf {archive.name} -C FOLDER ."
            raise DataError("D040", f"{archive} holds `{name}`, which leads out of it", hint)
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
        known = plain(info.name) == name or not name.isascii() or len(name) > tarfile.LENGTH_NAME
        same = known and info.isreg() and info.size == size and len(data) == min(size, limit)
    except tarfile.HeaderError:
        same = False
    if not same:
        what = f"{archive}: where its index has {name} there is something else"
        hint = f"remove {archive.with_suffix(INDEX).name}, or fetch both again"
        raise DataError("D040", what, hint)
    return data


def regular_files(f: BinaryIO, size: int, links: list[str] | None = None) -> Iterator[Placed]:
    """The regular files of a tar of so many bytes, of which the headers alone are read.

    ``links`` gets the names of links and sparse files.

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
            elif links is not None and (member.isreg() or member.islnk() or member.issym()):
                links.append(member.name)
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


def plain(name: str) -> str:
    """As a path has it: ``tar cf x.tar -C FOLDER .`` calls its files ``./a.png``."""
    return PurePosixPath(name).as_posix() if "./" in name or "//" in name else name


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
    twice = index[1:, 0][np.diff(index[:, 0]) == 0]
    for name in (n for n, *_ in _placed(archive) if _key(n) in twice):
        raise twice_in(archive, name)
    return index


def twice_in(archive: Path, name: str) -> DataError:
    """D040 of a tar to which a file was added again."""
    hint = f"unpack it, which keeps the last one, and pack again: tar cf {archive.name} -C FOLDER ."
    return DataError("D040", f"{archive} holds {name} twice", hint)


def _key(name: str) -> int:
    """64 bits for a name; should two be alike, the header in front of a file tells."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _placed(archive: Path, links: list[str] | None = None) -> Iterator[Placed]:
    """By the index, or else by the headers."""
    size, index = archive.stat().st_size, archive.with_suffix(INDEX)
    if index.is_file():
        placed: Iterable[Placed] = _by_index(index, size)
    else:
        placed = _by_headers(archive, size, links)
    yield from ((plain(name), place, count) for name, place, count in placed)


def _by_headers(archive: Path, size: int, links: list[str] | None) -> Iterator[Placed]:
    try:
        with archive.open("rb") as f:
            yield from regular_files(f, size, links)
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise damaged(archive, error) from error


def _by_index(index: Path, size: int) -> list[Placed]:
    problem = f"begins with no {VERSION},"
    try:
        first, *lines = index.read_text("utf-8", "surrogateescape").splitlines() or [""]
        words = [line.split(" ")[i : i + 4] for line in lines for i in range(0, line.count(" "), 4)]
        placed = [(name, int(place), int(count)) for _, place, count, name in words]
        ends = [place + count for _, place, count in placed if place >= BLOCK and count >= 0]
        # Two blocks end a tar, filled up to a multiple of 20; the last file fills its own.
        fits = len(ends) == len(placed) and size - 22 * BLOCK <= max(ends, default=0) <= size
        if first.split()[:1] == [VERSION]:
            problem = "" if fits else "does not fit, as of a tar that was changed or cut off,"
    except OSError as error:
        problem = f"cannot be read ({error.strerror}),"
    except ValueError:
        problem = "is cut off or garbled,"
    if problem:
        what = f"{index} {problem} expected the index of {index.with_suffix(END).name}"
        raise DataError("D040", what, f"remove {index.name}: the tar is read without it")
    return placed
