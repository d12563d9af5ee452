"""Several runs on one page: curves, scores, classes, and what their recipes differ in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pixelwise import folders
from pixelwise.errors import UsageError
from pixelwise.evaluation.comparison import best_of
from pixelwise.labels import colours_for
from pixelwise.pages.curves import Events, Figure, above, finite, written
from pixelwise.pages.markup import percent, render
from pixelwise.pages.plots import Axis, Line, duration, from_zero, plot, smooth
from pixelwise.pages.run import Event, Run, read_run

MOST = 8  # colours that can be told apart
MEASURES = ("mean_iu", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iu")
SMOOTHED = 40  # parts of a run, as of one run's curve


def page(places: Sequence[Path], title: str = "") -> str:
    """The page as text; it needs no network and runs no script.

    Raises:
        ModelError: M001 a folder does not exist.
        UsageError: U002 one is no run, or there are more than ``MOST``.
    """
    if len(places) > MOST:
        raise UsageError("U002", f"{len(places)} runs, expected at most {MOST}", "leave some out")
    runs = dict(zip(short_names(places), map(read_run, places), strict=True))
    classes = list(dict.fromkeys(name for run in runs.values() for name in run.classes))
    # By its place in a run a colour would be of one class there, and of another elsewhere.
    colours = dict(zip(classes, colours_for(len(classes)), strict=True))
    for run in (run for run in runs.values() if run.dataset):
        colours |= zip(run.classes, run.colours, strict=True)
    by_class = [(name, colours[name], [_iu(r, name) for r in runs.values()]) for name in classes]
    return render(
        "runs.html",
        title=title or f"{len(runs)} runs",
        names=list(runs),
        scores=[(name, run.scores, _end(run.events)) for name, run in runs.items()],
        measures=MEASURES,
        curves=_curves({name: run.events for name, run in runs.items()}),
        classes=[(n, c, ius, best_of(ius)) for n, c, ius in by_class if any(map(finite, ius))],
        recipes=differing([run.recipe for run in runs.values()]),
        machines=differing([run.environment for run in runs.values()]),
    )


def short_names(places: Sequence[Path]) -> list[str]:
    """As few last parts of the paths as tell them apart."""
    parts = [place.resolve().parts for place in places]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-count:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(place for i, place in enumerate(places) if parts.index(parts[i]) < i)
    raise UsageError("U002", f"{twice} is given twice", "give each run once")


def differing(recipes: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Fields, by their dotted names, that are not alike in all; a missing one is None."""
    flat = [_flat(recipe) for recipe in recipes]
    fields = dict.fromkeys(name for own in flat for name in own)
    rows = [(name, [own.get(name) for own in flat]) for name in fields]
    return [(name, values) for name, values in rows if any(v != values[0] for v in values)]


def _flat(recipe: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        whole = f"{before}{name}"
        flat |= _flat(value, f"{whole}.") if isinstance(value, Mapping) else {whole: value}
    return flat


def _iu(run: Run, name: str) -> float | None:
    rows = run.scores.get("per_class") or []
    own = next((r for r in rows if isinstance(r, dict) and r.get("name") == name), {})
    value = own.get("iu")
    return float(value) if isinstance(value, int | float) else None


def _end(events: Events) -> dict[str, Any]:
    """How far a run is, and how long it took."""
    last = next((e["event"] for e in reversed(events) if e.get("event") in ("start", "end")), "")
    steps = max((int(e.get("step") or 0) for e in events), default=0)
    seconds = max((float(e.get("seconds") or 0) for e in events), default=0.0)
    return {"done": last == "end", "steps": steps, "seconds": seconds}


def is_training(place: Path) -> bool:
    """Whether a run has begun and not ended, as far as its journal says."""
    try:
        events = folders.read_journal(place / folders.JOURNAL)
    except OSError:
        return False
    return bool(events) and not _end(events)["done"]


def _curves(runs: Mapping[str, Events]) -> Markup | None:
    longest = max((float(e.get("seconds") or 0) for es in runs.values() for e in es), default=0.0)
    unit, unit_name = duration(longest)
    by_step: Callable[[Event], float] = lambda e: float(e.get("step") or 0)  # noqa: E731
    by_time: Callable[[Event], float] = lambda e: float(e.get("seconds") or 0) / unit  # noqa: E731
    steps, times = _figures(runs, by_step, "steps"), _figures(runs, by_time, unit_name)
    return render("learning.html", by_step=steps, by_time=times) if steps else None


def _figures(
    runs: Mapping[str, Events], where: Callable[[Event], float], unit: str
) -> list[Figure]:
    figures = []
    for title, event, field in (("Loss", "step", "loss"), ("mean IU", "validate", "mean_iu")):
        lines = []
        for place, (name, events) in enumerate(runs.items()):
            known = [e for e in events if e.get("event") == event and finite(e.get(field))]
            values = [float(e[field]) for e in known]
            even = smooth(values, max(1.0, len(values) / SMOOTHED)) if event == "step" else values
            if known:
                lines.append(Line(name, [where(e) for e in known], even, f"run{place}"))
        if lines:
            figures.append(_figure(title, lines, unit))
    return figures


def _figure(title: str, lines: Sequence[Line], unit: str) -> Figure:
    shares = title == "mean IU"
    top = above(max(max(line.y) for line in lines), 1.0 if shares else float("inf"))
    low = 0.0 if shares else min(0.0, *(min(line.y) for line in lines))
    up = Axis((low, top), text=written if shares else "{:.3g}".format)
    # Of a loss the end counts, of scores the highest.
    ends = {line.name: max(line.y) if shares else line.y[-1] for line in lines}
    best = max(ends, key=ends.__getitem__) if shares else min(ends, key=ends.__getitem__)
    value = percent(ends[best]) if shares else f"{ends[best]:.3g} at the end"
    keys = [(line.kind, line.name) for line in lines]
    drawing = plot(title, lines, from_zero(lines, unit), up)
    return Figure(title, f"{best}: {value}", drawing, keys)
