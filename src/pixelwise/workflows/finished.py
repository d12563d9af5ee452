"""What has been done already: one small record for each picture, written after its outputs.

A picture is finished when its record says so: made from these bytes, by this model, with these
parameters, and every output is there with the bytes that were written. Existence proves nothing: it
may be another picture's output, another model's, or half of one. Records of different pictures are
different files, so processes that share a folder do not disturb each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.files import sha256, write_json

FOLDER = ".pixelwise"


def missing(
    out: Path, name: str, made_from: Mapping[str, Any], wanted: Sequence[str]
) -> tuple[str, ...]:
    """The kinds of output that are not there, not whole, or made from something else.

    Args:
        out: folder of the outputs.
        name: of the picture's outputs.
        made_from: source and model, as given to ``record``.
        wanted: kinds of output.
    """
    known = _read(out, name, made_from)

    def there(kind: str) -> bool:
        files = known.get(kind, {})
        return bool(files) and all(_whole(out / path, files[path]) for path in files)

    return tuple(kind for kind in wanted if not there(kind))


def altered(
    out: Path, name: str, made_from: Mapping[str, Any], kinds: Sequence[str]
) -> Path | None:
    """The first output that someone changed since it was recorded, and that would be replaced.

    Args:
        out: folder of the outputs.
        name: of the picture's outputs.
        made_from: source and model; when they are others, all that was made before goes.
        kinds: of output that are to be made.
    """
    known = _read(out, name)
    if _read(out, name, made_from):
        known = {kind: files for kind, files in known.items() if kind in kinds}
    for recorded, told in _sums(known).items():
        path = out / recorded
        if told and _inside(path, out) and path.is_file() and not _whole(path, told):
            return path
    return None


def begin(out: Path, name: str, kinds: Sequence[str]) -> None:
    """Say in the record that these kinds are being made anew.

    Without it a process killed between output and record would leave its own file as one that
    someone else has changed.
    """
    mine = {k: dict.fromkeys(files, "") for k, files in _read(out, name).items() if k in kinds}
    if mine:
        known = _load(out, name)
        write_json(place(out, name), {**known, "kinds": {**known["kinds"], **mine}})


def record(
    out: Path,
    name: str,
    made_from: Mapping[str, Any],
    made: Mapping[str, Sequence[Path]],
    areas: Mapping[str, float],
) -> None:
    """Note what is finished, and remove files of earlier records that are no longer true.

    Args:
        out: folder of the outputs.
        name: of the picture's outputs.
        made_from: source and model.
        made: kind of output to its files.
        areas: what was found: class to its share of the picture.
    """
    before = _sums(_read(out, name)).keys()
    kinds = _read(out, name, made_from) | {
        kind: {path.relative_to(out).as_posix(): sha256(path) for path in files}
        for kind, files in made.items()
    }
    told = {"made_from": dict(made_from), "areas": dict(areas), "kinds": kinds}
    write_json(place(out, name), told)
    for old in before - _sums(kinds).keys():
        path = out / old
        if _inside(path, out):
            path.unlink(missing_ok=True)


def told(out: Path, name: str, kinds: Sequence[str]) -> dict[str, Any]:
    """What the record of a finished picture says: ``outputs`` of these kinds, and ``areas``."""
    known = _load(out, name)
    files = [str(out / path) for kind in kinds for path in known["kinds"][kind]]
    return {"outputs": files, "areas": known.get("areas")}


def place(out: Path, name: str) -> Path:
    """Where the record of a picture is."""
    return out / FOLDER / f"{name}.json"


def _read(
    out: Path, name: str, made_from: Mapping[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """Kind to files and checksums; nothing if the record is damaged or of something else."""
    try:
        told = _load(out, name)
        if made_from is not None and told["made_from"] != dict(made_from):
            return {}
        return {kind: dict(files) for kind, files in told["kinds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _load(out: Path, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(place(out, name).read_text(encoding="utf-8"))
    return told


def _sums(kinds: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {path: told for files in kinds.values() for path, told in files.items()}


def _inside(path: Path, out: Path) -> bool:
    """A record is a file like any other, and may name anything."""
    return path.resolve().is_relative_to(out.resolve())


def _whole(path: Path, told: object) -> bool:
    return path.is_file() and sha256(path) == told
