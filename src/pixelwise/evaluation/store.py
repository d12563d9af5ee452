"""An evaluation on disk: ``scores.json`` to read, ``counts.npz`` to compute any protocol again."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pixelwise.errors import DataError
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.files import atomic_write, write_json


def write_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``scores.json`` and ``counts.npz`` into ``folder``; returns the JSON file.

    Counts are stored as the few (image, truth, guess) cells that are not zero.
    """
    cells = np.nonzero(evaluation.image_counts)

    def content(file: BinaryIO) -> None:
        np.savez_compressed(
            file,
            cells=np.stack(cells).astype(np.int32),
            pixels=evaluation.image_counts[cells].astype(np.int64),
            names=np.array(evaluation.names, dtype=np.str_),
            classes=np.array(evaluation.classes, dtype=np.str_),
            seconds=np.array(_or_nan(evaluation.seconds_per_image)),
        )

    atomic_write(folder / "counts.npz", content)
    return write_json(folder / "scores.json", evaluation.as_dict())


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation that ``write_evaluation`` put into ``folder``."""
    path = folder / "counts.npz"
    if not path.is_file():
        raise DataError("D010", f"{path}: no such file (expected counts per image)")
    try:
        # Through memory: on a damaged file numpy leaves its own handle open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return _evaluation(dict(stored))
    except (ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile) as error:
        hint = "run `pixelwise evaluate` again"
        raise DataError("D034", f"{path}: not counts per image ({error})", hint) from error


def read_scores(path: Path) -> dict[str, Any]:
    """The dictionary in a ``scores.json``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("D010", f"{path}: no such file (expected scores)") from error
    except (ValueError, UnicodeDecodeError) as error:
        hint = "run `pixelwise evaluate` again"
        raise DataError("D034", f"{path}: not valid JSON ({error})", hint) from error
    if not isinstance(found, dict):
        raise DataError("D034", f"{path}: holds a {type(found).__name__} (expected an object)")
    return found


def _evaluation(stored: dict[str, Any]) -> Evaluation:
    names, classes = stored["names"].tolist(), stored["classes"].tolist()
    pixels = stored["pixels"]
    dtype = np.int32 if pixels.max(initial=0) < 2**31 else np.int64
    counts = np.zeros((len(names), len(classes), len(classes)), dtype)
    counts[tuple(stored["cells"])] = pixels
    seconds = float(stored["seconds"])
    return Evaluation(tuple(classes), tuple(names), counts, None if np.isnan(seconds) else seconds)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
