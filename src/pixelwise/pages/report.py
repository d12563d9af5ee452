"""One self-contained page about a run, from whatever the run folder holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import UndefinedError
from markupsafe import Markup

from pixelwise import folders
from pixelwise.data.dataset import DataSet
from pixelwise.machine.files import atomic_write
from pixelwise.metrics.protocols import PROTOCOLS
from pixelwise.metrics.scores import majority
from pixelwise.pages import calibration, matrix, stages
from pixelwise.pages.curves import class_histories, curves
from pixelwise.pages.gallery import gallery
from pixelwise.pages.markup import render
from pixelwise.pages.plots import sparkline
from pixelwise.pages.run import Run, read_run

STRANGE = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    UndefinedError,  # a fact that a template asks for is not there
)
"""What comes of files in a run folder that someone else has written or changed."""


def build(run: Path, *, dataset: DataSet | None = None) -> Path:
    """Write ``RUN/report.html`` and return its path; parts that are missing are named in it.

    Args:
        run: the run folder.
        dataset: what it was trained on, if it is open; else the recipe's data is opened.

    Raises:
        ModelError: the folder does not exist (M001).
        UsageError: it holds neither recipe, journal nor scores (U002).
    """
    return atomic_write(Path(run) / folders.REPORT, page(read_run(Path(run), dataset)))


def page(run: Run) -> str:
    """The page as text."""

    def part(name: str, make: Callable[[Run], Markup | None], own: Run) -> Markup | None:
        """A part of the page; what a strange file makes impossible becomes a note."""
        try:
            return make(own)
        except STRANGE as error:
            run.notes.append(f"{name} cannot be shown ({type(error).__name__}: {str(error)[:80]})")
            return None

    sections: list[tuple[str, str, Markup | None]] = []
    for link, name, make, by_head in PARTS:
        for own in run.heads if by_head else [run]:
            place = f"{link}-{own.head}" if own.head else link
            text = f"{link}: {own.head}" if own.head else link
            sections.append((link and place, text, part(name, make, own)))
    return render(
        "report.html",
        title=(run.folder.parent if run.stages else run.folder).resolve().name or "run",
        facts=part("the head", _facts, run) or "",
        links=[(link, text) for link, text, markup in sections if link and markup],
        warnings=[e for e in run.events if e.get("event") == "warning" and e.get("text")],
        notes=run.notes,
        sections=[markup for *_, markup in sections if markup],
    )


def _facts(run: Run) -> Markup:
    """Net, data, length and device of a run in one line."""
    start = next((e for e in run.events if e.get("event") == "start"), {})
    return render(
        "facts.html",
        start=start,
        net=run.recipe.get("net") or start.get("net"),
        data=run.recipe.get("data"),
        steps=max((int(e.get("step") or 0) for e in run.events), default=0),
        seconds=max((float(e.get("seconds") or 0) for e in run.events), default=0.0),
        images=run.scores.get("images"),
        split=run.split,
        speed=run.scores.get("seconds_per_image"),
    )


def _scores(run: Run) -> Markup | None:
    if not run.scores:
        return None
    intervals = run.scores.get("intervals") or {}
    counts = np.array(run.scores.get("confusion") or [], np.int64)
    known = counts.any() and counts.shape == 2 * (len(run.classes),)
    alone = majority(counts, run.classes) if known else None
    return render("scores.html", scores=run.scores, intervals=intervals, alone=alone, head=run.head)


def _protocols(run: Run) -> Markup | None:
    values = run.scores.get("protocols")
    if not values:
        return None
    reasons = run.scores.get("protocol_reasons") or {}
    return render("protocols.html", values=values, reasons=reasons, rules=PROTOCOLS, head=run.head)


def _classes(run: Run) -> Markup | None:
    """Bars, pixels, the curve over training, the reason for each gap."""
    if not run.scores or "kind" in run.scores:  # numbers have none
        return None
    classes = run.scores.get("per_class") or []
    histories = class_histories(run.events, len(run.classes))
    rows = zip(classes, run.colours[: len(classes)], histories[: len(classes)], strict=True)
    return render(
        "classes.html",
        head=run.head,
        rows=list(rows),
        absent=[c["name"] for c in classes if c["iu"] is None],
        total=sum(c["truth_pixels"] for c in classes) or 1,
        with_curves=any(len(history) > 1 for history in histories),
        sparkline=sparkline,
    )


def _confusions(run: Run) -> Markup | None:
    counts = np.array(run.scores.get("confusion") or [], np.int64)
    if not counts.any():
        return None
    names = run.classes
    if counts.shape != (len(names), len(names)):  # a part of it would be a wrong picture
        raise ValueError(f"{len(names)} classes, but counts of shape {counts.shape}")
    link = f"{run.pictures}&head={quote(run.head)}" if run.pictures and run.head else run.pictures
    return matrix.section(counts, names, run.head, link)


def _recipe(run: Run) -> Markup | None:
    """Fields that stand alone, then the groups of fields, then the machine."""
    if not run.recipe:
        return None

    groups = {k: v for k, v in run.recipe.items() if isinstance(v, Mapping)}
    alone = {k: v for k, v in run.recipe.items() if k not in groups and v not in (None, "")}
    blocks = [("run", alone), *groups.items(), ("environment", run.environment)]
    return render("recipe.html", blocks=blocks)


PARTS: tuple[tuple[str, str, Callable[[Run], Markup | None], bool], ...] = (
    ("stages", "the stages", stages.section, False),
    ("", "the scores", _scores, True),
    ("", "the protocols", _protocols, True),
    ("images", "the images", gallery, True),
    ("learning", "the curves", lambda run: curves(run.events), False),
    ("classes", "the classes", _classes, True),
    ("confusions", "the confusions", _confusions, True),
    ("calibration", "the calibration", calibration.section, False),
    ("", "the recipe", _recipe, False),
)
"""In the page's order: the anchor that the head links to, what a note calls it, its maker, and
whether each head of the net has one."""
