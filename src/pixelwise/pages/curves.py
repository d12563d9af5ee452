"""What the journal tells: loss, validation scores and learning rate, by step and by time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pixelwise.pages.markup import Markup, percent, tag
from pixelwise.pages.plots import Axes, Line, Mark, duration, plot, smooth, ticks

Event = dict[str, Any]


def curves(events: Sequence[Event]) -> Markup | None:
    """The section of learning curves, or None when nothing was trained.

    A pair of radio buttons switches the horizontal axis; that needs no script.
    """
    steps = [e for e in events if e.get("event") == "step" and _finite(e.get("loss"))]
    checks = [e for e in events if e.get("event") == "validate" and _finite(e.get("mean_iu"))]
    if not steps and not checks:
        return None
    longest = max(float(e.get("seconds") or 0) for e in [*steps, *checks])
    unit, unit_name = duration(longest)
    by_step = _plots(steps, checks, lambda e: float(e["step"]), "steps")
    by_time = _plots(steps, checks, lambda e: float(e.get("seconds") or 0) / unit, unit_name)
    choice = [
        tag("input", type="radio", name="axis", id="by-step", checked="checked"),
        tag("label", "by step", for_="by-step"),
        tag("input", type="radio", name="axis", id="by-time"),
        tag("label", "by time", for_="by-time"),
    ]
    return tag(
        "section",
        tag("h2", "Learning"),
        choice,
        tag("div", by_step, class_="plots steps"),
        tag("div", by_time, class_="plots times"),
        class_="curves",
        id="learning",
    )


def best_check(events: Sequence[Event]) -> Event | None:
    """The validation whose weights were kept: the last that was called best, else the highest."""
    checks = [e for e in events if e.get("event") == "validate" and _finite(e.get("mean_iu"))]
    called = [e for e in checks if e.get("best")]
    if called:
        return called[-1]
    return max(checks, key=lambda e: float(e["mean_iu"]), default=None)


def class_histories(events: Sequence[Event], classes: int) -> list[list[float | None]]:
    """Per class its IU at every validation."""
    checks = [e["per_class_iu"] for e in events if e.get("event") == "validate" and _per_class(e)]
    return [[c[k] if _finite(c[k]) else None for c in checks if len(c) > k] for k in range(classes)]


def _plots(
    steps: Sequence[Event], checks: Sequence[Event], where: Callable[[Event], float], unit: str
) -> list[Markup]:
    figures = [
        _loss(steps, checks, where, unit) if steps else None,
        _validation(checks, where, unit) if checks else None,
        _rate(steps, where, unit) if steps else None,
    ]
    return [figure for figure in figures if figure is not None]


def _loss(
    steps: Sequence[Event], checks: Sequence[Event], where: Callable[[Event], float], unit: str
) -> Markup:
    x, raw = [where(e) for e in steps], [float(e["loss"]) for e in steps]
    even = smooth(raw, max(1.0, len(raw) / 40))
    lines = [Line("loss", x, raw, "raw"), Line("loss, smoothed", x, even, "main", hover=True)]
    held = [e for e in checks if _finite(e.get("loss"))]
    if held:
        others = [float(e["loss"]) for e in held]
        lines.append(
            Line("validation loss", [where(e) for e in held], others, "second", hover=True)
        )
    top = sorted(raw)[int(0.98 * (len(raw) - 1))]
    high = _above(max([*even, top, *(line.y[-1] for line in lines[2:])]))
    figure = plot("Loss", lines, Axes(unit, lambda v: f"{v:.3g}", (min(0.0, *raw), high)))
    names = [("main", "smoothed"), ("raw", "as logged")]
    names += [("second", "validation")] if held else []
    return _figure("Loss", f"{even[-1]:.3g} at the end", figure, names)


def _validation(checks: Sequence[Event], where: Callable[[Event], float], unit: str) -> Markup:
    x, iu = [where(e) for e in checks], [float(e["mean_iu"]) for e in checks]
    lines, names = [], [("main", "mean IU")]
    exact = [
        (where(e), float(e["pixel_accuracy"])) for e in checks if _finite(e.get("pixel_accuracy"))
    ]
    if exact:
        a, b = zip(*exact, strict=True)
        lines.append(Line("pixel accuracy", a, b, "second", hover=True))
        names.append(("second", "pixel accuracy"))
    lines.append(Line("mean IU", x, iu, "main", hover=True))
    best = best_check(checks)
    assert best is not None
    mark = Mark(where(best), float(best["mean_iu"]), f"best {percent(best['mean_iu'])}")
    top = _above(max(max(line.y) for line in lines), 1.0)
    axes = Axes(unit, lambda v: percent(v, 0 if v == round(v, 2) else 1), (0.0, top))
    figure = plot("Validation", lines, axes, [mark])
    told = f"best mean IU {percent(best['mean_iu'])} at step {best.get('step')}"
    return _figure("Validation", told, figure, names)


def _rate(steps: Sequence[Event], where: Callable[[Event], float], unit: str) -> Markup | None:
    known = [e for e in steps if _finite(e.get("lr"))]
    if not known:
        return None
    rates = [float(e["lr"]) for e in known]
    line = Line("learning rate", [where(e) for e in known], rates, "main", hover=True)
    high = _above(max(rates)) or 1.0
    figure = plot("Learning rate", [line], Axes(unit, lambda v: f"{v:.3g}", (0.0, high)))
    return _figure("Learning rate", f"highest logged {max(rates):.3g}", figure, [])


def _figure(title: str, told: str, figure: Markup, names: Sequence[tuple[str, str]]) -> Markup:
    keys = [tag("span", tag("i", class_=kind), name) for kind, name in names]
    head = tag("figcaption", tag("b", title), tag("span", told, class_="told"))
    return tag("figure", head, figure, tag("div", keys, class_="keys") if keys else None)


def _above(value: float, limit: float = math.inf) -> float:
    """The next grid line above ``value``, at most ``limit``."""
    marks = ticks(0.0, value or 1.0)
    step = marks[1] - marks[0] if len(marks) > 1 else marks[0] or 1.0
    return min(limit, step * math.ceil((value or 1.0) / step - 1e-9))


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _per_class(event: Event) -> bool:
    return isinstance(event.get("per_class_iu"), list)
