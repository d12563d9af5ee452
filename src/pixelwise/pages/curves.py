"""What the journal holds as curves: loss, validation scores, learning rate, by step and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from pixelwise.pages.markup import percent, render
from pixelwise.pages.plots import Axis, Line, duration, from_zero, plot, smooth, ticks
from pixelwise.pages.run import LEADS, Event, of_head

NAMES = {
    "mean_iu": ("mean IU", "pixel_accuracy", "pixel accuracy"),
    "explained": ("variance explained", "delta_1", "within 1.25 times"),
    "f": ("F", "precision", "precision"),
}
"""Of what leads, how it is called, and what is shown beside it, with its name."""
Events = Sequence[Event]
Where = Callable[[Event], float]


class Figure(NamedTuple):
    """A plot with its title, its outcome in words, and its curves' (kind, name)."""

    title: str
    outcome: str
    drawing: Markup
    keys: Sequence[tuple[str, str]]


def curves(events: Events) -> Markup | None:
    """The section of learning curves, or None when nothing was trained."""
    steps = [e for e in events if e.get("event") == "step" and finite(e.get("loss"))]
    checks = _validations(events)
    if not steps and not checks:
        return None
    unit, unit_name = duration(max(_seconds(e) for e in [*steps, *checks]))
    return render(
        "learning.html",
        by_step=_figures(steps, checks, lambda e: float(e["step"]), "steps"),
        by_time=_figures(steps, checks, lambda e: _seconds(e) / unit, unit_name),
    )


def best_validation(events: Events) -> Event | None:
    """The validation whose weights were kept: the last that was called best, else the highest."""
    checks = _validations(events)
    called = [e for e in checks if e.get("best")]
    if called:
        return called[-1]
    return max(checks, key=lambda e: float(e[_lead(e)]), default=None)


def class_histories(events: Events, classes: int) -> list[list[float | None]]:
    """Per class its IU at every validation."""
    rows = [e.get("per_class_iu") for e in events if e.get("event") == "validate"]
    known = [row for row in rows if isinstance(row, list)]
    return [[r[k] if finite(r[k]) else None for r in known if len(r) > k] for k in range(classes)]


def _validations(events: Events) -> list[Event]:
    return [e for e in events if e.get("event") == "validate" and _lead(e)]


def _lead(event: Event) -> str:
    """The field that says how good a validation's head is; empty: there is none."""
    return next((key for key in LEADS if finite(event.get(key))), "")


def _figures(steps: Events, checks: Events, where: Where, unit: str) -> list[Figure]:
    """Loss, validation and rate; of several heads each one's loss and validation as well."""
    named: Iterable[str] = next(
        (e["heads"] for e in checks if isinstance(e.get("heads"), dict)), {}
    )
    heads = [(head, *_of_head(steps, checks, head)) for head in named]
    losses = [("", steps, checks), *heads]
    figures = [
        *(_named(_loss(s, c, where, unit), head) for head, s, c in losses if s),
        *(_named(_validation(c, where, unit), h) for h, _, c in heads or losses if c),
        _rate(steps, where, unit),
    ]
    return [figure for figure in figures if figure]


def _named(figure: Figure, head: str) -> Figure:
    return figure._replace(title=f"{figure.title}: {head}") if head else figure


def _of_head(steps: Events, checks: Events, head: str) -> tuple[Events, Events]:
    """The events that tell of a head, with its numbers in place of the run's."""
    of_steps = [e | of_head(e, head) for e in steps if of_head(e, head)]
    return of_steps, _validations([e | of_head(e, head) for e in checks if of_head(e, head)])


def _line(name: str, kind: str, events: Events, field: str, where: Where) -> Line:
    """The events' finite values of a field."""
    known = [e for e in events if finite(e.get(field))]
    return Line(name, [where(e) for e in known], [float(e[field]) for e in known], kind)


def _loss(steps: Events, checks: Events, where: Where, unit: str) -> Figure:
    raw = _line("loss", "raw", steps, "loss", where)
    # A fortieth of the run shows the trend and still follows a step of the rate.
    even = smooth(raw.y, max(1.0, len(raw.y) / 40))
    held = _line("validation loss", "second", checks, "loss", where)
    lines = [raw, Line("loss, smoothed", raw.x, even, "main")]
    keys = [("main", "smoothed"), ("raw", "as logged")]
    if held.y:
        lines.append(held)
        keys.append(("second", "validation"))
    # A few wild losses must not press the curve flat: 2 % of them may lie above the axis.
    usual = sorted(raw.y)[int(0.98 * (len(raw.y) - 1))]
    high = above(max([*even, usual, *held.y[-1:]]))
    up = Axis((min(0.0, *raw.y), high), text="{:.3g}".format)
    drawing = plot("Loss", lines, from_zero(lines, unit), up)
    return Figure("Loss", f"{even[-1]:.3g} at the end", drawing, keys)


def _validation(checks: Events, where: Where, unit: str) -> Figure:
    best = best_validation(checks)
    assert best is not None
    key = _lead(best)
    name, further, named = NAMES[key]
    main = _line(name, "main", checks, key, where)
    beside = _line(named, "second", checks, further, where)
    lines = [line for line in (beside, main) if line.y]  # the score that counts lies on top
    top = above(max(max(line.y) for line in lines), 1.0)
    # Numbers of a net that has learned nothing may explain less than nothing, without end.
    up = Axis((max(-1.0, min(0.0, *main.y)), top), text=written)
    score = percent(best[key])
    mark = (where(best), float(best[key]), f"best {score}")
    drawing = plot("Validation", lines, from_zero(lines, unit), up, mark)
    outcome = f"best {name} {score} at step {best.get('step')}"
    keys = [(line.kind, line.name) for line in reversed(lines)]
    return Figure("Validation", outcome, drawing, keys)


def _rate(steps: Events, where: Where, unit: str) -> Figure | None:
    line = _line("learning rate", "main", steps, "lr", where)
    if not line.y:
        return None
    high = max(line.y)
    up = Axis((0.0, above(high)), text="{:.3g}".format)
    drawing = plot("Learning rate", [line], from_zero([line], unit), up)
    return Figure("Learning rate", f"highest logged {high:.3g}", drawing, [])


def written(value: float) -> str:
    """Grid lines at every half percent need a decimal, others are read more easily without."""
    return percent(value, 0 if value == round(value, 2) else 1)


def above(value: float, limit: float = math.inf) -> float:
    """The next grid line above ``value``, at most ``limit``; 1 above what is not above 0."""
    value = value if value > 0 else 1.0
    step = ticks(0.0, value)[1]
    return min(limit, step * math.ceil(value / step - 1e-9))


def _seconds(event: Event) -> float:
    return float(event.get("seconds") or 0)


def finite(value: object) -> bool:
    """Whether it is a number that can be drawn."""
    return isinstance(value, int | float) and math.isfinite(value)
