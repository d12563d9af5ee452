"""Predicting many pictures, and what lies in a folder after."""

from __future__ import annotations

from pathlib import Path

from pixelwise.predict import model as models
from pixelwise.predict.jobs import Done, carry_out, plan


def predict(
    model: models.Model,
    source: Path | str,
    out: Path,
    save: str = "labels,overlay",
    **options: object,
) -> Done:
    return carry_out(plan([str(source)], out, save=save), model, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
