"""Whose a folder of predictions is: one model's, one way to show pictures and to draw labels.

``manifest.json`` says it; what it does not cover is refused before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixelwise.errors import UsageError
from pixelwise.folders import MAKER, MANIFEST, is_predictions, of_head
from pixelwise.machine.files import remove_leftovers, write_json
from pixelwise.machine.memory import process_limit
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.predict import exports, prediction_records, saving, videos
from pixelwise.predict.large import EARTH
from pixelwise.predict.model import Model
from pixelwise.predict.plan import Plan
from pixelwise.predict.saving import Drawing

LOOK = "look"
"""What the manifest calls another drawing than usual."""


@dataclass(frozen=True)
class Work:
    """A plan with the model that carries it out."""

    plan: Plan
    model: Model
    wanted: tuple[str, ...]
    """``saving.parts`` that are asked for."""
    identity: Mapping[str, Any]
    """What outputs depend on beside the picture."""
    drawing: Drawing
    force: bool
    kept_bytes: Callable[[Path], bytes] = field(
        default_factory=lambda: lru_cache(maxsize=1)(file_bytes)
    )

    @property
    def folders(self) -> list[Path]:
        """Where the outputs of each head lie."""
        heads = tuple(self.model.heads)
        return [of_head(self.plan.out, head, heads) for head in heads]


def identity(model: Model, drawing: Drawing) -> dict[str, Any]:
    """What outputs depend on beside the picture, as records and manifest have it."""
    view, precision = model.predictor.view.as_dict(), model.predictor.runner.precision
    if view["stitch"] == 1:  # folders of versions without it stay as they are
        del view["stitch"]
    look = {LOOK: drawing.facts} if drawing.facts else {}
    return {"sha256": model.header.sha256, "precision": precision, "view": view, **look}


def claim(work: Work) -> None:
    """Note which model the folder belongs to, and remove what a killed process left in it.

    Raises:
        UsageError: U003 it holds another model's outputs, or files that are not ours.
    """
    model, out = work.model, work.plan.out
    problem = "" if work.force else _belongs_to_others(work)
    if problem:
        raise UsageError("U003", problem, "choose another -o, or --force to make everything anew")
    heads = {head: list(own.classes) for head, own in model.heads.items()}
    facts = {"model": str(model.path), "net": model.header.net, "classes": list(model.classes)}
    several = {"heads": heads} if len(heads) > 1 else {}
    write_json(out / MANIFEST, {"made_by": MAKER, **work.identity, **facts, **several})
    clear(work)


def clear(work: Work) -> None:
    """Remove what killed processes left among the outputs; what is being written stays."""
    plan, out = work.plan, work.plan.out
    written = {out}
    for job in plan.jobs:
        written.add(prediction_records.place(out, job.record).parent)
        for place in work.folders:
            outputs = {kind: saving.path(place, job.name, kind) for kind in plan.per_picture}
            written |= {output.parent for output in outputs.values()}
            written |= {exports.cvat_pictures(outputs[k]) for k in outputs if k == exports.CVAT}
            own = saving.path(place, job.name, saving.HEAT), place / job.name
            written |= {folder for folder in own if folder.is_dir()}
    for folder in written:
        remove_leftovers(folder)


def _belongs_to_others(work: Work) -> str:
    """Why outputs may not be written into the folder, if so."""
    out = work.plan.out
    if not is_predictions(out):
        foreign = next((path for path in _outputs(work) if path.exists()), None)
        return f"{foreign} exists and was not made by pixelwise" if foreign else ""
    before = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    now = {LOOK: None, **work.identity}
    differing = {k: v for k, v in now.items() if before.get(k) != v}
    how = ", ".join(f"{k} was {before.get(k)}, is {v}" for k, v in differing.items())
    if "sha256" in differing:
        how = f"by another model, {before.get('model')}"
    return f"the outputs in {out} were made otherwise ({how})" if differing else ""


def _outputs(work: Work) -> Iterator[Path]:
    """All that may be written, of heat maps and of videos' label maps the folders."""
    plan = work.plan
    for place in work.folders:
        for job in plan.jobs:
            if job.video:
                yield from (place / job.name, place / f"{job.name}{videos.OVERLAY}")
            else:
                yield from (saving.path(place, job.name, kind) for kind in plan.per_picture)
                if process_limit() and "labels" in plan.kinds:
                    yield place / f"{job.name}{EARTH}"
        yield from (place / file for kind, file in saving.OF_ALL.items() if kind in plan.kinds)
