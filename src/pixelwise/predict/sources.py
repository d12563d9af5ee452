"""Which pictures are meant by files, folders, globs, lists and addresses, and their names."""

from __future__ import annotations

import glob
import hashlib
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pixelwise.data.dataset import no_partner
from pixelwise.data.depth import Depth, HhaInput
from pixelwise.data.formats import canonical
from pixelwise.data.formats.folder import label_folders
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.formats.shards import label_maps, samples
from pixelwise.data.listing import end_of, marked
from pixelwise.data.prepare.archives import is_archive
from pixelwise.errors import DataError, UsageError, raise_all
from pixelwise.folders import is_predictions
from pixelwise.pictures.imagefile import file_bytes, pages_in
from pixelwise.pictures.reading import Page
from pixelwise.pictures.recognise import SUFFIXES, is_picture, unread_kind
from pixelwise.pictures.shards import END, archive_of, file_size, twice_in
from pixelwise.pictures.videos import is_camera, is_video, readable
from pixelwise.predict.addresses import is_address, place_of
from pixelwise.predict.name_lists import common_folder, is_list, names_in

PHOTOS = {".jpg", ".jpeg", ".jpe", ".jfif"}
"""Suffixes that no label map has, whatever its name ends in."""
ALONE = {*PHOTOS, ".png"}
"""Suffixes of files that hold one picture."""
NONE: Mapping[str, Any] = {}  # of all jobs; they travel between processes, as no view of it could
APART = "predict them into different folders"
LONGEST = 200  # bytes of a name; file systems allow 255 with the ending


@dataclass(frozen=True, slots=True)
class Job:
    """One picture; there may be millions, of which each takes some 200 bytes."""

    folder: Path
    file: str
    """Its path from the folder, which gives its outputs their name."""
    called: str = ""
    """Another name of its outputs."""
    inputs: Mapping[str, Path] = field(default_factory=lambda: NONE)
    """Files by the name of the input; one that is wanted and not there is named all the same."""
    computed: Mapping[str, HhaInput] = field(default_factory=lambda: NONE)
    """Inputs whose files are depth; by its name in the data set, ``item``, it has its camera."""
    item: str = ""
    place: int | None = None
    """Which picture of a file of several, of ``imagefile.pages_in``."""
    address: str = ""
    """Of the web, from where ``source`` is fetched."""
    video: bool = False
    """Many pictures: a video, or a camera, which ``source`` names."""

    @property
    def source(self) -> Path:
        """The file, which may lie in a tar."""
        return self.folder / self.file

    @property
    def name(self) -> str:
        """Of its outputs, with folders below the source that held it."""
        return self.called or _name(self.file)

    @property
    def record(self) -> str:
        """The name of its record; ``clip.mp4`` may lie beside a ``clip.jpg``, as its poster."""
        return f"{self.name}/.video" if self.video else self.name

    @property
    def shown(self) -> str:
        """How messages name it."""
        return self.address or str(self.source)

    def files(self, names: Sequence[str]) -> dict[str, Path]:
        """The file of each of a model's inputs; the first one's is ``source`` if none is named.

        After them raw depth, where inputs are computed of it.

        Raises:
            DataError: D031 a further input has none, D040 a tar whose pictures cannot be listed.
        """
        if self.file.endswith(END):
            samples(self.source)
        raws = [m.source.raw for n, m in self.computed.items() if n in names and m.source.raw]
        names = [*names, *(raw for raw in raws if raw not in names)]
        files = {names[0]: self.source, **{n: self.inputs[n] for n in names if n in self.inputs}}
        for name in names:
            if name not in files:
                raise no_partner(self.source, f"file for input `{name}`")
            path = files[name]
            if path != self.source and not (path.exists() or archive_of(path)):
                raise no_partner(self.source, f"file {files[name]}, for input `{name}`")
        return {name: files[name] for name in names}

    def content(self, names: Sequence[str]) -> Any:
        """What ``Model.predict`` takes of it, read now; errors as of ``files``."""
        return self.given({n: file_bytes(p) for n, p in self.files(names).items()}, names)

    def given(self, data: Mapping[str, bytes], names: Sequence[str]) -> Any:
        """What ``Model.predict`` takes, of the bytes of ``files``."""
        given: dict[str, Any] = {name: data[name] for name in names}
        if self.place is not None:
            given[names[0]] = Page(data[names[0]], self.place)
        for name, made in self.computed.items():
            if name in given:
                given[name] = Depth(data[name], made, self.item, data.get(made.source.raw))
        return given if len(given) > 1 else given[names[0]]


def find(
    sources: Sequence[str],
    out: Path,
    *,
    split: str = "",
    inputs: Mapping[str, Path] = MappingProxyType({}),
    download: bool = False,
) -> tuple[list[Job], list[str]]:
    """The pictures of all sources, each once, and what was left out, with the reason.

    A source is a file, a folder, a tar, a pattern, a list of these (``name_lists``), or an address,
    which is fetched when its turn comes, if ``download`` allows it. Of a file of several pictures
    each is one, ``stem-p001``. Files of a list are named as seen from the folder of them all.

    Left out are earlier predictions, label maps and the like that lie beside their pictures,
    formats that are not read, and links to nothing. With ``split`` the sources are data sets, and
    the pictures are those of this split of them, with labels or without. ``inputs`` are folders of
    further inputs by their names, whose files are called as the pictures are.

    Raises:
        UsageError: U003 ``out`` is a file, or holds pictures that are to be read.
        DataError: D010 a source that is not there or holds no picture; D030 names that collide;
            D032 no such split.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("U003", f"{out} is a file, expected a folder", "choose another -o")
    jobs, left_out = list[Job](), list[str]()
    for source in sources:
        if split:
            taken = _apart(_of_split(source, split), source, out)
        elif is_list(source):
            taken = _listed(source, out, left_out, download=download)
        else:
            taken = _of_one(source, out, left_out, download=download)
        jobs += taken
    if len(sources) > 1 or is_list(sources[0]):  # a folder has no file twice
        once = dict[tuple[str, int | None], Job]()
        for job in jobs:
            once.setdefault((str(job.source.absolute()), job.place), job)
        jobs = list(once.values())
    _refuse_collisions(jobs)
    partners = {name: _by_name(folder) for name, folder in inputs.items()}
    for i, job in enumerate(jobs if inputs else ()):
        files = {n: p.get(job.name, inputs[n] / f"{job.name}.*") for n, p in partners.items()}
        jobs[i] = replace(job, inputs={**job.inputs, **files})
    return jobs, left_out


def _by_name(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by what their outputs would be called."""
    if not folder.is_dir():
        raise DataError("D010", f"{folder}: no such folder", "--input NAME=FOLDER")
    jobs = [Job(folder, file) for file in _walk(folder, [])]
    _refuse_collisions(jobs)
    return {job.name: job.source for job in jobs}


def _apart(jobs: list[Job], source: str, out: Path) -> list[Job]:
    """Outputs beside pictures could replace them, and would be pictures of the next run."""
    home, folders = out.resolve(), dict[str, Job]()
    around = home.is_relative_to(Path(source).resolve())
    for job in jobs:
        file = os.path.join(job.folder, job.file)  # noqa: PTH118 - of millions, as a path slower
        real = os.path.realpath(file) if os.path.islink(file) else file  # noqa: PTH114
        folders.setdefault(os.path.dirname(real), job)  # noqa: PTH120
    for folder, job in folders.items():
        place = Path(folder).resolve()
        if place == home or (around and place.is_relative_to(home)):
            what = f"{out} holds {job.source.name}, a picture to read; outputs could replace it"
            raise UsageError("U003", what, "choose another -o")
    return jobs


def _of_one(
    source: str, out: Path, left_out: list[str], *, download: bool, below: Path | None = None
) -> list[Job]:
    """What a source means that is no list."""
    if is_address(source):
        place, name = place_of(source, out, allowed=download)
        return [Job(place.parent, place.name, _short(name), address=source)]
    if is_camera(source):
        return [Job(Path(), source, source.replace(":", "-"), video=True)]
    return _apart(_expand(source, left_out, below), source, out)


def _listed(source: str, out: Path, left_out: list[str], *, download: bool) -> list[Job]:
    """What a list names; all that is wrong with it is told together."""
    names, problems, jobs = names_in(source), list[DataError](), list[Job]()
    below = common_folder([n for n in names if os.path.isfile(n) or archive_of(Path(n))])  # noqa: PTH113
    for name in names:
        try:
            jobs += _of_one(name, out, left_out, download=download, below=below)
        except DataError as error:
            problems.append(error)
        except OSError as error:  # a name that no file can have
            what = f"{name[:LONGEST]}: cannot be read ({error.strerror})"
            problems.append(DataError("D010", what, "check the list"))
    raise_all(f"list {source}", problems)
    return jobs


def _of_split(source: str, split: str) -> list[Job]:
    """The pictures of a split of a data set, by their names there."""
    dataset = open_dataset(source, values="0=no,1=yes,*=void")  # labels are not read here
    return [
        Job(Path(), str(item.image), _short(item.name), item.inputs, dataset.computed, item.name)
        for item in dataset.items(split, labelled=False)
    ]


def _expand(source: str, left_out: list[str], below: Path | None = None) -> list[Job]:
    """The pictures of a file, a folder or a pattern; a file's name is as seen from ``below``."""
    if not source:  # Path("") would be the current folder
        message = "the name of a picture or folder is empty"
        raise UsageError("U002", message, "check the variable that it came from")
    path = Path(source)
    if path.is_dir() or (path.suffix == END and path.is_file()):
        named = _walk(path, left_out) if path.is_dir() else _packed(path, left_out)
        inside = [job for file in named for job in _pages(path, file)]
        if not inside:
            message = "; ".join([f"{path} holds no picture to read", *left_out[:3]])
            raise DataError("D010", message, f"known: {' '.join(sorted({*SUFFIXES, END}))}")
        return inside
    if path.is_file() and is_archive(path):
        what = f"{path} is an archive that is not read in place, expected pictures, folders or .tar"
        raise DataError("D010", what, "unpack it into a folder and give the folder")
    if path.is_file() or (archive_of(path) and file_size(path) >= 0):
        seen = path.absolute().relative_to(below) if below else Path(path.name)
        return _pages(below or path.parent, str(seen))
    if path.exists():
        raise DataError("D010", f"{path} is neither a file nor a folder", "give pictures")
    matches = sorted(Path(p) for p in glob.glob(source, recursive=True))  # noqa: PTH207 - a pattern
    tars = [job for p in matches if p.suffix == END for job in _expand(str(p), left_out)]
    files = [p for p in matches if is_picture(p) or is_video(p)]
    if files or tars:
        return [job for p in files for job in _pages(p.parent, p.name)] + tars
    raise DataError("D010", f"{source} does not exist and matches no picture", "check the path")


def _pages(folder: Path, file: str) -> list[Job]:
    """A picture or a video; of a file of several pictures each page."""
    job = Job(folder, file, file if _end(file) == END else "")  # beside it may be one of its stem
    if _end(file) in (*ALONE, END):
        return [job]
    if is_video(job.source):
        return [replace(job, video=True)]
    places = pages_in(job.source)
    digits = max(3, len(str(len(places))))
    names = (f"{job.name}-p{i:0{digits}}" for i in range(1, len(places) + 1))
    pages = [replace(job, called=name, place=p) for name, p in zip(names, places, strict=True)]
    return pages or [job]


def _walk(root: Path, left_out: list[str]) -> Iterator[str]:
    """Pictures below ``root``, by their paths from there; not in links, and no hidden ones."""
    for place, folders, files in os.walk(root):
        here = Path(place)
        if is_predictions(here):
            left_out.append(f"{here} holds earlier predictions")
            folders.clear()  # nor below it
            continue
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        beside = label_folders(folders)
        if canonical.NAME in files:
            further = canonical.further_folders(here)
            if "images" in folders:  # made scenes of before have more than the description names
                further |= {"depth", "geometric"}
            beside |= further.intersection(folders)
        left_out += [f"{here / name} holds label maps or the like" for name in sorted(beside)]
        folders[:] = [f for f in folders if f not in beside]
        within = "" if here == root else f"{here.relative_to(root)}{os.sep}"
        for name in _pictures(here, files, left_out):
            if not name.endswith(END):
                yield within + name
                continue
            try:
                yield from (f"{within}{name}{os.sep}{e}" for e in _packed(here / name, left_out))
            except DataError:  # it is named among what failed, in its turn
                yield within + name


def _pictures(here: Path, files: list[str], left_out: list[str]) -> list[str]:
    """Those of the files in a folder that are pictures, videos, or tars, by name.

    They may be millions, of which no more is asked than whether a usual one is a file.
    """
    pictures, others = list[str](), list[Path]()
    for name in sorted(name for name in files if not name.startswith(".")):
        if _end(name) in SUFFIXES and os.path.isfile(os.path.join(here, name)):  # noqa: PTH113, PTH118
            pictures.append(name)
        else:
            others.append(here / name)
    dangling = [p for p in others if p.suffix.lower() in SUFFIXES and not p.exists()]
    left_out += [f"{path} is a link to nothing" for path in dangling]
    pictures += [path.name for path in others if is_picture(path)]
    pictures = [name for name in pictures if _end(name) != ".mat"] or pictures  # as ``chosen``
    videos = [path for path in others if is_video(path)]
    if not readable():
        _leave_out(left_out, videos, 'videos; pip install "pixelwise[video]" reads them')
        videos.clear()
    packed = [path for path in others if is_archive(path) and path.suffix != END]
    _leave_out(left_out, packed, "archives, which are read when they are unpacked, or as .tar")
    unread = {path: kind for path in others if (kind := unread_kind(path))}
    kinds = ", ".join(sorted(set(unread.values())))
    _leave_out(left_out, list(unread), f"not read ({kinds}), convert to PNG")
    ended = [n for n in pictures if end_of(_stem(n)) and _end(n) not in PHOTOS]
    stems = marked(set(map(_stem, pictures))) if ended else set()
    masks = {name for name in ended if _stem(name) in stems}
    _leave_out(left_out, [here / n for n in sorted(masks)], "label maps beside their pictures")
    tars = [path for path in others if path.suffix == END and path.is_file()]
    return sorted([n for n in pictures if n not in masks] + [p.name for p in (*videos, *tars)])


def _packed(archive: Path, left_out: list[str]) -> Iterator[str]:
    """The pictures in a tar, by their paths in it."""
    maps, links = list[Path](), list[str]()
    for files in samples(archive, links=links).values():
        drawn = label_maps(files)
        maps += drawn
        yield from (str(path.relative_to(archive)) for path in files if path not in drawn)
    _leave_out(left_out, maps, "label maps beside their pictures")
    told = "links or sparse files; tar packs files with --dereference --hard-dereference"
    _leave_out(left_out, [archive / name for name in links], told)


def _leave_out(left_out: list[str], paths: Sequence[Path], reason: str) -> None:
    if paths:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        left_out.append(f"{paths[0]}{more}: {reason}")


def _end(file: str) -> str:
    return file[file.rfind(".") :].lower()


def _stem(file: str) -> str:
    # Millions of paths would stay in memory in part: pathlib has their parts interned.
    dot = file.rfind(".")
    return file[:dot] if file.rfind(os.sep) + 1 < dot < len(file) - 1 else file


def _name(file: str) -> str:
    """The path without suffix; a part too long for an ending is cut and keeps a digest."""
    plain = _stem(file)
    return "/".join(map(_short, Path(plain).parts)) if os.sep in plain else _short(plain)


def _short(part: str) -> str:
    raw = os.fsencode(part)
    if len(raw) <= LONGEST:
        return part
    kept = raw[: LONGEST - 9].decode("utf-8", "ignore")
    return f"{kept}-{hashlib.sha256(raw).hexdigest()[:8]}"


def folded(name: str) -> str:
    """The same for names that some file system does not tell apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    """Two pictures, one name."""
    # 8 bytes for each: only those that are alike in them are compared.
    hashes = np.fromiter((hash(folded(job.record)) for job in jobs), np.int64, len(jobs))
    order = np.argsort(hashes, kind="stable")
    alike = np.flatnonzero(np.diff(hashes[order]) == 0)
    taken: dict[str, Job] = {}
    problems = []
    for job in (jobs[i] for i in sorted({*order[alike], *order[alike + 1]})):
        first = taken.setdefault(folded(job.record), job)
        if first is not job and first.shown == job.shown and (tar := archive_of(job.source)):
            problems.append(twice_in(tar, str(job.source.relative_to(tar))))
        elif first is not job:
            both = f"{first.shown} and {job.shown}"
            message = f"{both} would both be written as {job.name}.png"
            problems.append(DataError("D030", message, APART))
    if len(problems) > 1:
        message = f"{len(problems)} pairs of pictures would be written under one name"
        raise DataError("D030", message, APART, problems)
    raise_all("", problems)
