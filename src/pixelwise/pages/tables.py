"""Numbers in words and tables: the four scores, the classes, other rules, the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pixelwise.pages.markup import Markup, count, percent, tag
from pixelwise.pages.plots import sparkline

HATCH_GREYS = (235, 120)
STRIPE = 3  # pixels, of the hatching that stands for void

Scores = Mapping[str, Any]
Colours = Sequence[tuple[int, int, int]]

_FOUR = {
    "mean_iu": ("mean IU", "intersection over union, mean over classes in the truth"),
    "pixel_accuracy": ("pixel accuracy", "share of pixels named rightly"),
    "mean_accuracy": ("mean accuracy", "share of a class found, mean over classes"),
    "frequency_weighted_iu": ("frequency weighted IU", "IU weighted by how common a class is"),
}


def headline(scores: Scores) -> Markup:
    """The four numbers of the paper, with intervals where they are known."""
    intervals = scores.get("intervals") or {}
    level = percent(intervals.get("level", 0.95), 0)
    cards = [
        _card(key, scores.get(key), intervals.get(key), level, scores.get("images", 0))
        for key in _FOUR
    ]
    return tag("div", cards, class_="cards")


def classes(
    scores: Scores, colours: Colours, histories: Sequence[Sequence[float | None]]
) -> Markup:
    """The section of classes: bars, pixels, the curve over training, the reason for each gap."""
    rows = scores.get("per_class") or []
    total = sum(row["truth_pixels"] for row in rows) or 1
    with_curves = any(len(h) > 1 for h in histories)
    head = ["class", "IU", "accuracy", "share of truth", "px in truth", "px in guess"]
    head += ["IU over training"] if with_curves else []
    body = []
    for i, row in enumerate(rows):
        history = histories[i] if i < len(histories) else []
        body.append(_class_row(row, colours[i], total, history if with_curves else None))
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", word) for word in head])),
        tag("tbody", body),
        class_="classes",
    )
    absent = [row["name"] for row in rows if row["iu"] is None]
    left_out = f" Left out for lack of truth: {', '.join(absent)}." if absent else ""
    lead = f"Counted over all images at once, void pixels aside.{left_out}"
    return tag(
        "section",
        tag("h2", "Classes"),
        tag("p", lead, class_="lead"),
        tag("div", table, class_="scroll"),
        id="classes",
    )


def protocols(scores: Scores) -> Markup | None:
    """The same masks by other tools' rules, folded away."""
    # Imported here alone: the names and meanings are the registry's, the values the run's.
    from pixelwise.metrics.protocols import PROTOCOLS

    found = scores.get("protocols") or {}
    reasons = scores.get("protocol_reasons") or {}
    if not found:
        return None
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", percent(value, 2), class_="number"),
            tag("td", reasons.get(name) or _meaning(PROTOCOLS.get(name)), class_="note"),
        )
        for name, value in found.items()
    ]
    return tag(
        "details",
        tag("summary", f"The same masks by {len(found)} rules, the paper's and other tools'"),
        tag("div", tag("table", tag("tbody", rows)), class_="scroll"),
        class_="protocols",
    )


def recipe(values: Mapping[str, Any], facts: Mapping[str, Any]) -> Markup:
    """The section on what was trained: every field of the recipe, and the machine."""
    blocks = [_block("Run", _leading(values)), *_groups(values), _block("Environment", facts)]
    return tag(
        "section",
        tag("h2", "What was trained"),
        tag("div", [block for block in blocks if block is not None], class_="recipe"),
        id="recipe",
    )


def legend(names: Sequence[str], colours: Colours) -> Markup:
    """Colour and name of every class, and of void."""
    items = [tag("li", swatch(c), n) for n, c in zip(names, colours, strict=False)]
    light, dark = (f"rgb({g} {g} {g})" for g in HATCH_GREYS)
    stripes = f"{light} 0 {STRIPE}px, {dark} {STRIPE}px {2 * STRIPE}px"
    hatched = f"background:repeating-linear-gradient(135deg, {stripes})"
    items.append(tag("li", tag("i", class_="swatch", style=hatched), "void (not counted)"))
    return tag("ul", items, class_="legend")


def swatch(colour: tuple[int, int, int]) -> Markup:
    """A square of a class's colour."""
    return tag("i", class_="swatch", style=f"background:rgb{tuple(map(int, colour))}")


def _card(
    key: str, value: float | None, interval: Sequence[float] | None, level: str, images: int
) -> Markup:
    name, meaning = _FOUR[key]
    spread = None
    if interval:
        low, high = interval
        told = f"{100 * low:.1f} to {percent(high)}"
        whisker = tag(
            "div",
            tag("i", style=f"left:{100 * low:.2f}%;width:{100 * max(high - low, 0.004):.2f}%"),
            tag("b", style=f"left:{100 * (value or 0):.2f}%"),
            class_="whisker",
            title=f"{level} interval over {images} images, bootstrap",
        )
        spread = [whisker, tag("p", told, tag("span", f" {level} interval"), class_="spread")]
    return tag(
        "div",
        tag("p", name, class_="name"),
        tag("p", percent(value), class_="value"),
        spread,
        tag("p", meaning, class_="meaning"),
        class_="card main" if key == "mean_iu" else "card",
    )


def _class_row(
    row: Mapping[str, Any],
    colour: tuple[int, int, int],
    total: int,
    history: Sequence[float | None] | None,
) -> Markup:
    name = tag("th", tag("span", swatch(colour), row["name"]), scope="row")
    curve = sparkline(history, f"IU of {row['name']} at each validation") if history else None
    if row["iu"] is None:
        middle = [tag("td", "n/a: ", row["reason"], colspan=2, class_="note")]
    else:
        middle = [tag("td", _bar(row["iu"])), tag("td", _bar(row["accuracy"], "second"))]
    return tag(
        "tr",
        name,
        middle,
        tag("td", percent(row["truth_pixels"] / total), class_="number"),
        tag("td", count(row["truth_pixels"]), class_="number"),
        tag("td", count(row["guess_pixels"]), class_="number"),
        None if history is None else tag("td", curve),
    )


def _bar(value: float, kind: str = "main") -> Markup:
    fill = tag("i", class_=kind, style=f"width:{100 * value:.2f}%")
    return tag("div", tag("div", fill, class_="track"), tag("span", percent(value)), class_="bar")


def _leading(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if not isinstance(v, Mapping) and v not in (None, "")}


def _groups(values: Mapping[str, Any]) -> list[Markup | None]:
    inner = {k: v for k, v in values.items() if isinstance(v, Mapping) and v}
    return [_block(name.replace("_", " ").capitalize(), group) for name, group in inner.items()]


def _block(title: str, values: Mapping[str, Any]) -> Markup | None:
    if not values:
        return None
    rows = [
        tag("div", tag("dt", k.replace("_", " ")), tag("dd", _value(v))) for k, v in values.items()
    ]
    return tag("div", tag("h3", title), tag("dl", rows), class_="block")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_value(v) for v in value) or "none"
    return str(value)


def _meaning(protocol: Any) -> str:
    return f"{protocol.meaning} ({protocol.source})" if protocol else ""
