"""One self-contained page about a run, from whatever the run folder holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pixelwise import folders
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import ModelError, PixelwiseError, UsageError
from pixelwise.labels import colours_for
from pixelwise.machine.files import atomic_write
from pixelwise.pages.curves import class_histories, curves
from pixelwise.pages.gallery import gallery
from pixelwise.pages.markup import Markup, join, tag
from pixelwise.pages.matrix import matrix
from pixelwise.pages.page import head, page
from pixelwise.pages.tables import classes, headline, legend, protocols, recipe

STRANGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of files in a run folder that someone else has written or changed."""


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


def build(run: Path, *, dataset: DataSet | None = None) -> Path:
    """Write ``RUN/report.html`` and return its path; parts that are missing are named in it.

    Args:
        run: the run folder.
        dataset: what it was trained on, if it is open; else the recipe's data is opened.

    Raises:
        ModelError: the folder does not exist (M001).
        UsageError: it holds neither recipe, journal nor scores (U002).
    """
    return atomic_write(Path(run) / folders.REPORT, render(read_run(Path(run), dataset)))


def read_run(folder: Path, dataset: DataSet | None = None) -> Run:
    """Everything the page is made of, apart from the pictures."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ModelError("M001", f"{folder} {what}", "give a run folder")
    notes: list[str] = []
    values = _recipe(folder / folders.RECIPE, notes)
    events = _journal(folder / folders.JOURNAL, notes)
    scores = _json(folder / folders.SCORES, notes)
    if not (values or events or scores):
        hint = "a run is made by `pixelwise train DATA -o RUN`"
        raise UsageError("U002", f"{folder} is no run: no recipe, journal or scores", hint)
    environment = _json(folder / folders.ENVIRONMENT, [])
    dataset = dataset or _dataset(values, notes)
    return Run(folder, values, events, scores, environment, dataset, tuple(notes))


def render(run: Run) -> str:
    """The page as text."""
    names = _class_names(run)
    colours = colours_for(len(names), run.dataset.palette if run.dataset else ())
    notes = list(run.notes)

    def part(name: str, make: Callable[[], Markup | None]) -> Markup | None:
        """A part of the page; what a strange file makes impossible becomes a note."""
        try:
            return make()
        except STRANGE as error:
            notes.append(f"{name} cannot be shown ({type(error).__name__}: {str(error)[:80]})")
            return None

    def confusions() -> Markup | None:
        counts = np.array(run.scores.get("confusion") or [], np.int64)
        return matrix(counts, names) if counts.any() else None

    title, histories = _title(run), partial(class_histories, run.events, len(names))
    sums: list[Markup | None] = []
    linked: dict[str, Markup | None] = {}
    if run.scores:
        sums.append(part("the scores", lambda: headline(run.scores)))
        sums.append(part("the protocols", lambda: protocols(run.scores)))
    linked["images"] = part("the images", lambda: _pictures(run, names, colours, notes))
    linked["learning"] = part("the curves", lambda: curves(run.events))
    if run.scores:
        linked["classes"] = part("the classes", lambda: classes(run.scores, colours, histories()))
        linked["confusions"] = part("the confusions", confusions)
    last = part("the recipe", lambda: recipe(run.recipe, run.environment)) if run.recipe else None
    there = [word for word, made in linked.items() if made]
    top = part("the head", lambda: head(run, title, there)) or tag("header", tag("h1", title))
    parts = [*sums, *linked.values(), last]
    return page(title, join([top, _remarks(run.events, notes), parts]))


def _pictures(
    run: Run, names: Sequence[str], colours: Sequence[tuple[int, int, int]], notes: list[str]
) -> Markup | None:
    folder = run.folder / folders.GUESSES
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
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        notes.append(f"recipe.yaml cannot be read: {str(error).splitlines()[0]}")
        return {}
    return values if isinstance(values, dict) else {}


def _journal(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    try:
        return folders.read_journal(path)
    except OSError:
        notes.append("journal.jsonl is missing: there are no learning curves")
        return []


def _json(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append("not evaluated yet: evaluation/scores.json is missing")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return {}
    return values if isinstance(values, dict) else {}


def _dataset(values: Mapping[str, Any], notes: list[str]) -> DataSet | None:
    place = values.get("data")
    if not place:
        return None
    try:
        return open_dataset(Path(str(place)))
    except (PixelwiseError, OSError, ValueError) as error:
        notes.append(f"no images: the data cannot be opened ({str(error)[:300]})")
        return None


def _class_names(run: Run) -> list[str]:
    told = run.scores.get("classes")
    if isinstance(told, list) and told:
        return [str(name) for name in told]
    if run.dataset:
        return list(run.dataset.classes)
    return []


def _split(run: Run) -> str:
    return str(run.scores.get("split") or run.recipe.get("val_split") or "val")


def _title(run: Run) -> str:
    return run.folder.resolve().name or "run"
