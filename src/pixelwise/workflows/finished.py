"""What has been done already: one small record for each picture, written after its outputs.

A picture is finished when its record says so: made from these bytes, by this model, with these
parameters, and every output is there with the bytes that were written. Existence proves nothing: it
may be another picture's output, another model's, or half of one. Records of different pictures are
different files, so processes that share a folder do not disturb each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.files import write_json

FOLDER = ".pixelwise"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


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


def record(
    out: Path, name: str, made_from: Mapping[str, Any], made: Mapping[str, Sequence[Path]]
) -> None:
    """Note what is finished, and remove files of earlier records that are no longer true.

    Args:
        out: folder of the outputs.
        name: of the picture's outputs.
        made_from: source and model.
        made: kind of output to its files.
    """
    before = _files(_read(out, name))
    kinds = _read(out, name, made_from) | {
        kind: {path.relative_to(out).as_posix(): file_sha256(path) for path in files}
        for kind, files in made.items()
    }
    write_json(place(out, name), {"made_from": dict(made_from), "kinds": kinds})
    for old in before - _files(kinds):
        path = out / old
        if path.resolve().is_relative_to(out.resolve()):  # the record is a file like any other
            path.unlink(missing_ok=True)


def place(out: Path, name: str) -> Path:
    """Where the record of a picture is."""
    return out / FOLDER / f"{name}.json"


def _read(
    out: Path, name: str, made_from: Mapping[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """Kind to files and checksums; nothing if the record is damaged or of something else."""
    try:
        told = json.loads(place(out, name).read_text(encoding="utf-8"))
        if made_from is not None and told["made_from"] != dict(made_from):
            return {}
        return {kind: dict(files) for kind, files in told["kinds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _files(kinds: Mapping[str, Mapping[str, str]]) -> set[str]:
    return {path for files in kinds.values() for path in files}


def _whole(path: Path, sha256: object) -> bool:
    return path.is_file() and file_sha256(path) == sha256
