"""One self-contained page about a run, from whatever the run folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pixelwise.data.layouts import DataSet, open_dataset
from pixelwise.errors import ModelError, PixelwiseError, UsageError
from pixelwise.files import atomic_write
from pixelwise.labels import distinct_palette
from pixelwise.report.curves import class_histories, curves
from pixelwise.report.gallery import gallery
from pixelwise.report.markup import Markup, join, tag
from pixelwise.report.matrix import matrix
from pixelwise.report.page import head, page
from pixelwise.report.tables import classes, headline, legend, protocols, recipe

NAME = "report.html"


@dataclass(frozen=True)
class Run:
    """What a run folder holds; a part that is missing is empty, and ``notes`` says so."""

    folder: Path
    recipe: Mapping[str, Any]
    events: Sequence[dict[str, Any]]
    scores: Mapping[str, Any]
    environment: Mapping[str, Any]
    dataset: DataSet | None
    notes: tuple[str, ...]


def build(run: Path) -> Path:
    """Write ``RUN/report.html`` and return its path; parts that are missing are named in it.

    Raises:
        ModelError: the folder does not exist (M001).
        UsageError: it holds neither recipe, journal nor scores (U002).
    """
    return atomic_write(Path(run) / NAME, render(read_run(Path(run))))


def read_run(folder: Path) -> Run:
    """Everything the page is made of, apart from the pictures."""
    if not folder.is_dir():
        raise ModelError("M001", f"{folder} does not exist", "give a run folder")
    notes: list[str] = []
    values = _recipe(folder / "recipe.yaml", notes)
    events = _journal(folder / "journal.jsonl", notes)
    scores = _json(folder / "evaluation" / "scores.json", notes)
    if not (values or events or scores):
        hint = "a run is made by `pixelwise train DATA -o RUN`"
        raise UsageError("U002", f"{folder} is no run: no recipe, journal or scores", hint)
    environment = _json(folder / "environment.json", [])
    return Run(folder, values, events, scores, environment, _dataset(values, notes), tuple(notes))


def render(run: Run) -> str:
    """The page as text."""
    names = _class_names(run)
    colours = _colours(run.dataset, len(names))
    notes = list(run.notes)
    parts: list[Markup | None] = []
    if run.scores:
        parts.append(headline(run.scores))
        parts.append(protocols(run.scores))
    parts.append(_pictures(run, names, colours, notes))
    parts.append(curves(run.events))
    if run.scores:
        parts.append(classes(run.scores, colours, class_histories(run.events, len(names))))
        counts = np.array(run.scores.get("confusion") or [], np.int64)
        parts.append(matrix(counts, names) if counts.any() else None)
    if run.recipe:
        parts.append(recipe(run.recipe, run.environment))
    return page(_title(run), join([head(run, _title(run)), _remarks(run.events, notes), parts]))


def _pictures(
    run: Run, names: Sequence[str], colours: Sequence[tuple[int, int, int]], notes: list[str]
) -> Markup | None:
    folder = run.folder / "evaluation" / "guesses"
    if run.dataset is None or not run.scores:
        return None
    if not folder.is_dir():
        notes.append("no images: evaluation/guesses is missing")
        return None
    try:
        shown, missing = gallery(run.scores, run.dataset, _split(run), folder)
    except PixelwiseError as error:
        notes.append(f"no images: {error}")
        return None
    notes += missing
    if shown is None:
        return None
    lead = "By mean IU of the image itself. Errors: red is wrong, dark is void and not counted."
    return tag(
        "section",
        tag("h2", "Images"),
        tag("p", lead, class_="lead"),
        legend(names, colours),
        shown,
        id="images",
    )


def _remarks(events: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Markup | None:
    """Warnings of the run, and what this page lacks."""
    warned = [e for e in events if e.get("event") == "warning" and e.get("text")]
    items = [tag("li", tag("b", f"step {e.get('step', 0)}: "), e["text"]) for e in warned]
    items += [tag("li", note) for note in notes]
    return tag("ul", items, class_="remarks") if items else None


def _recipe(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append("recipe.yaml is missing: what was trained is not known")
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        notes.append(f"recipe.yaml cannot be read: {str(error).splitlines()[0]}")
        return {}
    return values if isinstance(values, dict) else {}


def _journal(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Whole lines only: the last one is cut short when the machine dies while it is written."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        notes.append("journal.jsonl is missing: there are no learning curves")
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _json(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append("not evaluated yet: evaluation/scores.json is missing")
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return {}
    return values if isinstance(values, dict) else {}


def _dataset(values: Mapping[str, Any], notes: list[str]) -> DataSet | None:
    place = values.get("data")
    if not place:
        return None
    try:
        return open_dataset(Path(str(place)), seed=int(values.get("seed") or 0))
    except PixelwiseError as error:
        notes.append(f"no images: the data cannot be opened ({error})")
        return None


def _class_names(run: Run) -> list[str]:
    if run.scores.get("classes"):
        return [str(name) for name in run.scores["classes"]]
    if run.dataset:
        return list(run.dataset.classes)
    return []


def _colours(dataset: DataSet | None, classes: int) -> list[tuple[int, int, int]]:
    if dataset and len(dataset.palette) >= classes:
        return [(int(r), int(g), int(b)) for r, g, b in dataset.palette[:classes]]
    return [(int(r), int(g), int(b)) for r, g, b in distinct_palette(classes)]


def _split(run: Run) -> str:
    return str(run.scores.get("split") or run.recipe.get("val_split") or "val")


def _title(run: Run) -> str:
    return run.folder.resolve().name or "run"
