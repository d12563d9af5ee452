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

    made_from: Mapping[str, Any]
    """Source and model."""
    kinds: Mapping[str, Mapping[str, str]]
    """Kind of output to its files, by their paths in the folder, and their checksums."""
    areas: Mapping[str, float] | None = None
    """Class to its share of the picture; None in records of older versions."""
    head_areas: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The same by head, where there are several; ``areas`` is the first one's."""
    uncertainty: float | None = None
    """``Prediction.uncertainty``, where it was asked for."""

    def of(self, made_from: Mapping[str, Any]) -> Record:
        """This record, or an empty one if it is of another source or model."""
        return self if self.made_from == made_from else NOTHING

    def files(self, kinds: Sequence[str] | None = None) -> dict[str, str]:
        """The files of some kinds (of all), with their checksums."""
        chosen = self.kinds if kinds is None else [k for k in kinds if k in self.kinds]
        return {path: total for kind in chosen for path, total in self.kinds[kind].items()}


NOTHING = Record({}, {})


def read(out: Path, name: str) -> Record:
    """The record of a picture; ``NOTHING`` if there is none, or it is damaged."""
    try:
        fields = json.loads(place(out, name).read_text(encoding="utf-8"))
        kinds = {kind: dict(files) for kind, files in fields["kinds"].items()}
        areas = fields.get("areas")
        areas = None if areas is None else _shares(areas)
        heads = {head: _shares(own) for head, own in fields.get("head_areas", {}).items()}
        unsure = fields.get("uncertainty")
        unsure = None if unsure is None else float(unsure)
        return Record(dict(fields["made_from"]), kinds, areas, heads, unsure)
    # By hand: names of files may be no UTF-8, which the reader of settings refuses.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return NOTHING


def _shares(areas: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(area) for name, area in areas.items()}


def missing(out: Path, known: Record, wanted: Sequence[str]) -> tuple[str, ...]:
    """The wanted kinds of output that are not there or not whole."""

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
            write_json(place(out, name), vars(replace(known, kinds={**known.kinds, **mine})))


def record(
    out: Path,
    name: str,
    made_from: Mapping[str, Any],
    files: Mapping[str, Sequence[Path]],
    areas: Mapping[str, Mapping[str, float]],
    uncertainty: float | None = None,
) -> Record:
    """Note files by kind that were made now, and areas by head; remove those of earlier records
    that are not true.

    Other kinds of the same source and model stay in the record, which is returned as it is now.
    """
    made = {
        kind: {path.relative_to(out).as_posix(): sha256(path) for path in paths}
        for kind, paths in files.items()
    }
    with in_turn(place(out, name).parent):
        before = read(out, name)
        several = areas if len(areas) > 1 else {}
        same = before.of(made_from)
        unsure = same.uncertainty if uncertainty is None else uncertainty
        first = next(iter(areas.values()))
        now = Record(made_from, {**same.kinds, **made}, first, several, unsure)
        write_json(place(out, name), vars(now))
        for stale in before.files().keys() - now.files().keys():
            if _sum(out, stale):
                (out / stale).unlink(missing_ok=True)
    return now


def place(out: Path, name: str) -> Path:
    """Where the record of a picture is."""
    return out / FOLDER / f"{name}.json"


def _sum(out: Path, file: str) -> str:
    """The checksum of a file in the folder, else empty; what a record names may be anything."""
    with suppress(OSError, ValueError):  # names that no file can have
        path = out / file
        if path.resolve().is_relative_to(out.resolve()) and path.is_file():
            return sha256(path)
    return ""
