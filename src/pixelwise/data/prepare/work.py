"""How a published data set is brought into the canonical layout: a plan, then piece by piece.

A piece is what belongs to one picture; its files are written whole, so what is there is done, and
a run that was killed goes on with what is not. The folder gets its name when all is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pixelwise.data.classes import ClassMap
from pixelwise.data.formats.canonical import Description, write_description
from pixelwise.data.prepare.archives import Entry
from pixelwise.data.prepare.mats import MatFiles
from pixelwise.data.prepare.record import Published
from pixelwise.data.prepare.source import Progress, Source, identity, open_source, silent
from pixelwise.errors import DataError, PixelwiseError, first_few, hxw, raise_all
from pixelwise.labels import Labels, full_palette
from pixelwise.machine.files import atomic_write, refuse_taken, resumed_folder
from pixelwise.machine.signals import caught
from pixelwise.pictures.images import read_labels, write_labels
from pixelwise.pictures.reading import decode

OTHER = "get the archive again: these are not the label maps of this data set"
VERSION = 1
"""Of what is written: what another version has begun is begun anew."""


@dataclass(frozen=True)
class Piece:
    """One picture and what belongs to it."""

    name: str
    files: tuple[str, ...]
    """What is written, by paths in the data set."""
    write: Callable[[Path], object]
    """Writes them below a folder, each whole (``machine.files``), after all is read and checked."""


@dataclass(frozen=True)
class Plan:
    """A data set as it will be."""

    description: Description
    splits: Mapping[str, Sequence[str]]
    """Lines of the lists: a name, or a name and the path of its label map."""
    pieces: tuple[Piece, ...]
    source: str
    """For ``dataset.json``: what it is."""
    notes: tuple[str, ...] = ()


def planned(
    source: Source,
    title: str,
    description: Description,
    splits: Mapping[str, Sequence[str]],
    piece: Callable[[str], Piece],
    notes: Sequence[str] = (),
) -> Plan:
    """A data set of all pictures that its lists name, each of which ``piece`` makes one."""
    names = sorted({line.split()[0] for lines in splits.values() for line in lines})
    about, said = f"{title}, of {source.place}", (*source.notes, *notes)
    return Plan(description, splits, tuple(map(piece, names)), about, said)


class Planner(Protocol):
    """What each data set has of its own: from the files that are there to a plan."""

    def __call__(self, source: Source, mats: MatFiles) -> Plan:
        """The plan; its pieces read their .mat files by ``mats``.

        Raises:
            DataError: what is missing, by ``Published.missing``; lists of another data set.
        """
        ...


def prepare(
    record: Published,
    planner: Planner,
    places: Sequence[Path],
    out: Path,
    *,
    options: Mapping[str, object] | None = None,
    progress: Progress = silent,
) -> Plan:
    """Write a published data set in the canonical layout, and return what was written.

    ``places`` are SRC and others beside it, ``out`` is a new folder. Other ``options``, on which
    the files depend, begin anew.

    Raises:
        DataError: what is missing or damaged, all of it; what was done is kept for the next run.
        UsageError: U003 the folder is not empty.
        ResourceError: R001, R002, R007 it cannot be written.
        Stopped: a signal came; the same command goes on.
    """
    refuse_taken(out)
    key = json.dumps([VERSION, record.name, options or {}, identity(places)], indent=1)
    with resumed_folder(out, key) as work:
        try:
            source = open_source(places, record.archives, work, progress)
        except OSError as error:
            what = f"{error.filename or places[0]}: cannot be read ({error.strerror or error})"
            raise DataError("D010", what, "check who may read it") from error
        content = work / "content"
        with MatFiles(work) as mats:
            plan = planner(source, mats)
            _carry_out(plan, content, progress)
        for split, lines in plan.splits.items():
            atomic_write(content / "splits" / f"{split}.txt", "".join(f"{n}\n" for n in lines))
        _remove_strays(plan, content)
        write_description(content, plan.description, plan.source, record.terms)
    return plan


def _carry_out(plan: Plan, content: Path, progress: Progress) -> None:
    """Write the pieces that are not there, in two threads: decoding lets others run."""
    fatal: list[PixelwiseError] = []
    seen: list[str] = []

    def one(piece: Piece) -> DataError | None:
        if stop.signal or fatal:
            return None
        try:
            if not all((content / file).is_file() for file in piece.files):
                piece.write(content)
            seen.append(piece.name)
        except DataError as error:  # no classes.json would be read here
            return DataError("D012", str(error), OTHER) if error.code == "D012" else error
        except PixelwiseError as error:  # a full disk will not get better with the next picture
            fatal.append(error)
        finally:
            advance(1)
        return None

    count = len(plan.pieces)
    with caught() as stop, progress("preparing", count) as advance, ThreadPoolExecutor(2) as pool:
        problems = [error for error in pool.map(one, plan.pieces) if error]
    if fatal:
        raise fatal[0]
    message = f"stopped after {len(seen)} of {count} pictures, which are kept"
    stop.refuse(message, "run the same command again to go on")
    again = "what is right is kept; repair the others and run the same command again"
    raise_all(content, problems, summary=f"{len(problems)} of {count} pictures", hint=again)


def _remove_strays(plan: Plan, content: Path) -> None:
    """Files of an earlier try with other lists."""
    meant = {content / file for piece in plan.pieces for file in piece.files}
    meant |= {content / "splits" / f"{split}.txt" for split in plan.splits}
    for path in content.rglob("*"):
        if path.is_file() and path not in meant:
            path.unlink()


# -- pieces ----------------------------------------------------------------------------------
SAME, AGAIN = "expected the same size", "get the archive again; nothing is ever resized"
Drawn = Callable[[], tuple[Labels, bytes]]
"""A label map as class ids (H, W), and the bytes of its file where they are to be kept."""


def picture_piece(
    name: str,
    picture: Entry,
    label_maps: Mapping[str, tuple[Drawn, ClassMap]],
    *,
    further: Mapping[str, Entry] | None = None,
) -> Piece:
    """A picture and its label maps by folder, checked against it.

    The picture is copied byte by byte, as are ``further`` files of it (depth), by folder.
    """
    target = f"images/{name}{picture.suffix}"
    copies = {target: picture}
    copies |= {f"{folder}/{name}{e.suffix}": e for folder, e in (further or {}).items()}
    maps = {f"{folder}/{name}.png": drawn for folder, drawn in label_maps.items()}

    def write(content: Path) -> None:
        data = {path: entry.bytes() for path, entry in copies.items()}
        image = decode(data[target], picture.place)
        size = image.stored.shape[:2]
        for path, entry in list(copies.items())[1:]:
            other = decode(data[path], entry.place, values="stored").stored.shape[:2]
            if other != size:
                what = f"{entry} is {hxw(other)}, {picture} is {hxw(size)} (HxW)"
                raise DataError("D013", f"{what}; {SAME}", AGAIN)
        ready = {path: (*drawn(), class_map) for path, (drawn, class_map) in maps.items()}
        for labels, _, _ in ready.values():
            if labels.shape not in (size, image.shown.shape[:2]):
                sizes = f"{hxw(image.shown.shape)}, its label map is {hxw(labels.shape)} (HxW)"
                raise DataError("D013", f"{picture} is {sizes}; {SAME}", AGAIN)
        for path, (labels, original, class_map) in ready.items():
            if original:
                atomic_write(content / path, original)
            else:
                write_labels(content / path, labels, np.asarray(class_map.palette, np.uint8))
        for path, content_of in data.items():
            atomic_write(content / path, content_of)

    return Piece(name, (*copies, *maps), write)


def kept_png(entry: Entry, class_map: ClassMap) -> Drawn:
    """A label map in a picture file; its bytes are kept if it is a palette PNG of these colours."""

    def drawn() -> tuple[Labels, bytes]:
        data = entry.bytes()
        raw = read_labels(entry.place, data)
        labels = class_map.ids(raw, entry.place)
        right = _is_palette_png(data, class_map) and (labels == raw).all()
        return labels, data if right else b""

    return drawn


def _is_palette_png(data: bytes, class_map: ClassMap) -> bool:
    """By its IHDR (8 bits, colour type 3: PNG 1.2, 4.1.1) and the start of its PLTE."""
    colours = full_palette(np.asarray(class_map.palette, np.uint8))[: len(class_map.palette)]
    place = data.find(b"PLTE", 0, 1024) + 4
    return data[24:26] == b"\x08\x03" and data[place:].startswith(colours.tobytes())


def refuse_unlabelled(splits: Mapping[str, Sequence[str]], maps: Mapping[str, object]) -> None:
    """D031 for each list with pictures that have no label map."""
    problems = []
    for split, names in splits.items():
        if bare := [name for name in names if name not in maps]:
            what = f"{len(bare)} of {len(names)} pictures of {split}.txt have no label map"
            hint = "unpack the archive anew, or get it again"
            problems.append(DataError("D031", f"{what}: {first_few(bare)}", hint))
    raise_all("the label maps", problems)
