"""Which outputs of which pictures exist: one small record a picture, written after its outputs.

An output counts as made when its record says so: from these bytes, by this model, with these
parameters, and it is there with the bytes that were written. Existence proves nothing: it may be
another picture's output, another model's, or half of one. Records of different pictures are
different files, and those of one picture are changed in turn, so processes that share a folder do
not disturb each other. A record is a file like any other: what it says is checked where it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixelwise.machine.files import in_turn, sha256, write_json

FOLDER = ".pixelwise"


@dataclass(frozen=True)
class Record:
    """What is known of a picture's outputs."""

    made_from: Mapping[str, Any] = field(default_factory=dict)
    """Source and model."""
    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind of output to its files, by their paths in the folder, and their checksums."""
    areas: Mapping[str, float] | None = None
    """Class to its share of the picture; None in records of older versions."""

    def of(self, made_from: Mapping[str, Any]) -> Record:
        """This record, or an empty one if it is of another source or model."""
        return self if self.made_from == dict(made_from) else Record()

    def files(self, kinds: Sequence[str] | None = None) -> dict[str, str]:
        """The files of some kinds (of all), with their checksums."""
        chosen = self.kinds if kinds is None else [k for k in kinds if k in self.kinds]
        return {path: total for kind in chosen for path, total in self.kinds[kind].items()}


def read(out: Path, name: str) -> Record:
    """The record of a picture; an empty one if there is none, or it is damaged."""
    try:
        fields = json.loads(place(out, name).read_text(encoding="utf-8"))
        kinds = {kind: dict(files) for kind, files in fields["kinds"].items()}
        areas = fields.get("areas")
        areas = None if areas is None else {str(c): float(a) for c, a in areas.items()}
        return Record(dict(fields["made_from"]), kinds, areas)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Record()


def missing(out: Path, known: Record, wanted: Sequence[str]) -> tuple[str, ...]:
    """The kinds of output that are not there or not whole.

    Args:
        out: folder of the outputs.
        known: the record, ``of`` the source and model that are meant.
        wanted: kinds of output.
    """

    def whole(kind: str) -> bool:
        files = known.kinds.get(kind, {})
        return bool(files) and all(s and _sum(out, file) == s for file, s in files.items())

    return tuple(kind for kind in wanted if not whole(kind))


def altered(out: Path, files: Mapping[str, str]) -> Path | None:
    """The first of these files that is there and that someone changed since it was recorded."""
    changed = (out / file for file, s in files.items() if s and _sum(out, file) not in (s, ""))
    return next(changed, None)


def begin(out: Path, name: str, kinds: Sequence[str]) -> None:
    """Say in the record that these kinds are being made anew.

    Without it a process killed between output and record would leave its own file as one that
    someone else has changed.
    """
    with in_turn(place(out, name).parent):
        known = read(out, name)
        mine = {kind: dict.fromkeys(known.kinds[kind], "") for kind in kinds if kind in known.kinds}
        if mine:
            _write(out, name, replace(known, kinds={**known.kinds, **mine}))


def record(out: Path, name: str, made: Record) -> Record:
    """Note what was made, and remove files of earlier records that are no longer true.

    Args:
        out: folder of the outputs.
        name: of the picture's outputs.
        made: what was made now; other kinds of the same source and model stay in the record.

    Returns:
        What is known now.
    """
    with in_turn(place(out, name).parent):
        before = read(out, name)
        now = replace(made, kinds={**before.of(made.made_from).kinds, **made.kinds})
        _write(out, name, now)
        for stale in before.files().keys() - now.files().keys():
            if _sum(out, stale):
                (out / stale).unlink(missing_ok=True)
    return now


def summed(out: Path, made: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, str]]:
    """Files by kind as a record has them."""
    return {
        kind: {path.relative_to(out).as_posix(): sha256(path) for path in files}
        for kind, files in made.items()
    }


def place(out: Path, name: str) -> Path:
    """Where the record of a picture is."""
    return out / FOLDER / f"{name}.json"


def _write(out: Path, name: str, known: Record) -> None:
    fields = {"made_from": dict(known.made_from), "areas": known.areas, "kinds": dict(known.kinds)}
    write_json(place(out, name), fields)


def _sum(out: Path, file: str) -> str:
    """The checksum of a file in the folder, else empty; what a record names may be anything."""
    with suppress(OSError, ValueError):  # names that no file can have
        path = out / file
        if path.resolve().is_relative_to(out.resolve()) and path.is_file():
            return sha256(path)
    return ""
