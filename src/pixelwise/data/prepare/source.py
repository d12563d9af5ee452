"""The files of a published data set, read alike from folders and from archives.

Nothing is unpacked by its own name: what an archive holds is listed, and read by its place in the
archive. A compressed tar has no places, so it is decompressed as a whole beforehand. What an
archive claims is checked before it costs anything; links and devices in it are left out.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelwise.data.prepare import archives
from pixelwise.data.prepare.archives import Entry
from pixelwise.errors import DataError, first_few
from pixelwise.pictures.imagefile import limited

FILES = 1_000_000
"""More files in a folder are no data set that is known here; VOC 2012 has 40,000."""
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""As ``machine.progress``: what is done, how much there is, and what tells of each step."""


def silent(_: str, __: int) -> AbstractContextManager[Callable[[int], object]]:
    """A ``Progress`` that shows nothing."""
    return nullcontext(lambda _: None)


@dataclass(frozen=True)
class Source:
    """Everything that was given, in the order of precedence: unpacked files before archives."""

    place: str
    """What was given, for messages."""
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    def matching(self, pattern: str) -> dict[tuple[str, ...], Entry]:
        """The groups of a pattern to the file whose path ends with it; the first of several.

        A path begins with the name of the folder or archive that was given.
        """
        ending = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
        hits: dict[tuple[str, ...], Entry] = {}
        for entry in self.entries:
            if match := ending.fullmatch(entry.path):
                hits.setdefault(match.groups(), entry)
        return hits

    def named(self, pattern: str) -> dict[str, Entry]:
        """The first group of a pattern, a name, to its file."""
        return {groups[0]: entry for groups, entry in self.matching(pattern).items()}

    @property
    def holds(self) -> str:
        """A glance at what is there, for messages."""
        tops = dict.fromkeys("/".join(PurePosixPath(e.path).parts[:3]) for e in self.entries)
        return first_few(list(tops), 4) or "nothing"


def files_and_archives(places: Sequence[Path]) -> dict[Path, bool]:
    """Where the data set may lie, and whether each is an archive: also those right in a folder.

    Raises:
        DataError: D010 a place is not there.
    """
    kinds: dict[Path, bool] = {}
    for place in places:
        if not place.exists():
            raise DataError("D010", f"{place} does not exist", "give a folder or an archive")
        kinds[place] = place.is_file() and archives.is_archive(place)
        inside = _shown(place) if place.is_dir() else []
        kinds |= {p: True for p in inside if p.is_file() and archives.is_archive(p)}
    return kinds


def open_source(
    places: Sequence[Path], patterns: Sequence[str], scratch: Path, progress: Progress = silent
) -> Source:
    """List what folders, archives and other files hold.

    Archives right in a folder are opened too; where some have names after ``patterns``, no others.
    Compressed ones are laid down in ``scratch``, decompressed.

    Raises:
        DataError: D010 no such place, D011 far too many files, D040 a damaged or unsafe archive.
    """
    kinds = files_and_archives(places)
    packed = [p for p, archive in kinds.items() if archive]
    known = [p for p in packed if any(fnmatch.fnmatch(p.name.lower(), n) for n in patterns)]
    left = [p for p in packed if known and p not in known and p not in places]
    entries = [e for p, archive in kinds.items() if not archive for e in _unpacked(p, packed)]
    for number, path in enumerate(p for p in packed if p not in left):
        entries += archives.listed(path, scratch / f"{number}.tar", progress)
    notes = tuple(f"{p} was not opened: it is not called like an archive of this set" for p in left)
    return Source(", ".join(map(str, places)), tuple(entries), notes)


def _unpacked(place: Path, packed: Sequence[Path]) -> Iterator[Entry]:
    if place.is_file():
        yield _file(place, place.name)
        return
    name = place.resolve().name
    for count, path in enumerate(_walk(place), 1):
        if count > FILES:
            what = f"{place}: holds more than {FILES:,} files, expected a published data set"
            raise DataError("D011", what, "name its folder")
        if path not in packed:
            yield _file(path, f"{name}/{path.relative_to(place).as_posix()}")


def _walk(place: Path) -> Iterator[Path]:
    """Files below a folder, not hidden.

    Links right in it are followed: who made the folder made them. Deeper ones may come out of an
    archive, and are followed to files inside alone.
    """
    for top in _shown(place):
        if top.is_file():
            yield top
        stack = [top] if top.is_dir() else []
        while stack:
            for path in _shown(stack.pop()):
                if path.is_dir() and not path.is_symlink():
                    stack.append(path)
                elif path.is_file() and path.resolve().is_relative_to(top.resolve()):
                    yield path


def _shown(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _file(path: Path, name: str) -> Entry:
    def read() -> bytes:
        try:
            with path.open("rb") as f:
                return limited(f)
        except OSError as error:
            what = f"{path}: cannot be read ({error.strerror or error})"
            raise DataError("D020", what, "check its permissions and the disk") from error

    return Entry(name, path, read, unpacked=True)


def identity(places: Sequence[Path]) -> list[list[object]]:
    """What tells one source from another: paths, and of archives size and time of change."""
    facts = [(p, archive, p.stat()) for p, archive in files_and_archives(places).items()]
    return [
        [str(p.absolute()), *([s.st_size, s.st_mtime_ns] if archive else [])]
        for p, archive, s in facts
    ]


def listed_names(entry: Entry, known: Mapping[str, object] | None = None) -> list[str]:
    """The names in a list, one a line; of a file (as /SegNet/CamVid/train/X.png) its stem.

    ``known`` are those that may be there; None: anything that is a plain name.

    Raises:
        DataError: D034 no text, a name that is no plain one or stands there twice, names that are
            not known: of another data set, perhaps.
    """
    try:
        lines = [line.strip() for line in entry.bytes().decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        what = f"{entry}: not a readable list of names ({error.reason})"
        raise DataError("D034", what, "expected one name a line, as UTF-8 text") from error
    first = [line.split()[0] for line in lines if line]  # behind it may be that of a label map
    plain = [word.replace("\\", "/").rpartition("/")[2] for word in first]
    names = [re.sub(r"\.(png|jpe?g|mat)$", "", word, flags=re.IGNORECASE) for word in plain]
    odd = [n for n in names if not re.fullmatch(r"\w[\w.+-]*", n)]
    strange = odd or [n for n in names if known is not None and n not in known]
    if strange:
        why = "is no plain name" if odd else "is no picture of this data set"
        what = f"{entry}: `{strange[0]}` {why} ({len(strange)} of {len(names)} lines)"
        raise DataError("D034", what, "put the data set's own list there, or add what is missing")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError("D034", f"{entry}: `{twice}` is listed twice", "remove one of the lines")
    return names
