"""Results of claims as a page in Markdown, and as plots: all intervals, and losses on the way."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.machine.files import atomic_write
from pixelwise.pages.markup import render
from pixelwise.pages.plots import ticks

Result = Mapping[str, Any]
ROW, LEFT, RIGHT, TOP = 18, 330, 840, 46
"""Pixels of the plot of intervals: a row's height, from where to where its axis goes, its head."""
LEAST, FAR = 2.0, 30.0  # points to the plot's rim, where what is farther is drawn
COLOURS = {"holds": "#1a7f37", "does not hold here": "#b42318", "undecided": "#8a6d00"}
CURVES = ("#1f4e9c", "#c2571a", "#3a8f5c", "#7a4fa3")
COMPARED = ("first", "second", "what", "expected", "difference", "95 % interval", "verdict")
SIGNS = {"more": "more", "alike": "alike", "no_more": "no more"}


def write_page(path: Path, results: Sequence[Result]) -> None:
    """The page, and its plots beside it."""
    atomic_write(path, page(results))
    for name, svg in plots(results).items():
        atomic_write(path.parent / name, svg)


def page(results: Sequence[Result], images: str = "") -> str:
    """All results; ``images`` is what stands before the names of the plots."""
    if not results:
        return "None is stored yet.\n"
    rows = [
        f"| [{r['claim']}](#{r['claim']}) | {r['sentence']} | {r['place']} | {r['verdict']} |"
        for r in results
    ]
    head = ["| claim | what the paper says | where | here |", "|---|---|---|---|", *rows, ""]
    plot = f"![All differences with their intervals]({images}claims.svg)\n"
    return "\n".join([*head, plot, *(_section(r, images) for r in results)])


def plots(results: Sequence[Result]) -> dict[str, str]:
    """SVG by file name."""
    if not results:
        return {}
    curves = {r["claim"]: r for r in results if any("curve" in a for a in r["arms"].values())}
    return {"claims.svg": _intervals(results)} | {
        f"claims-{name}.svg": _losses(r) for name, r in curves.items()
    }


# -- text -----------------------------------------------------------------------------------------
def _section(r: Result, images: str) -> str:
    data, count = r["data"], len(r["seeds"])
    where = f"Trained on `{data['trained_on']}` of the {data['ground']}, {r['length']} steps, "
    where += f"judged on the {data['pictures']} of `{data['judged_on']}`, "
    where += f"{count} seed{'s' * (count > 1)}."
    lines = [f"### {r['claim']}", "", f"{r['sentence']} ({r['place']}.) **{r['verdict']}**", ""]
    lines += [*([r["reason"], ""] if r["reason"] else []), where, ""]
    wide = any("foreground" in run for a in r["arms"].values() for run in a["runs"])
    names = ["arm", "mean IU by seed", "mean IU", *(["foreground"] if wide else [])]
    lines += _table(
        [*names, "pixel accuracy", "s a step"], (_arm(n, a) for n, a in r["arms"].items())
    )
    lines += ["", *_table(COMPARED, map(compared, r["compared"])), ""]
    plot = f"![Losses on the way]({images}claims-{r['claim']}.svg)"
    lines += [plot, ""] if any("curve" in a for a in r["arms"].values()) else []
    changes = {name: {k: a[k] for k in ("train", "look") if a[k]} for name, a in r["arms"].items()}
    lines += [f"- {name}: `{json.dumps(c)}`" for name, c in changes.items() if c]
    return "\n".join([*lines, ""])


def _arm(name: str, arm: Mapping[str, Any]) -> list[str]:
    runs = arm["runs"]
    mean = {k: statistics.fmean(r[k] for r in runs) for k in runs[0] if k != "seed"}
    scores = [k for k in ("mean_iu", "foreground", "pixel_accuracy") if k in mean]
    each = ", ".join(f"{100 * r['mean_iu']:.1f}" for r in runs)
    return [name, each, *(f"{100 * mean[k]:.1f}" for k in scores), f"{mean['step_seconds']:.2f}"]


def compared(c: Mapping[str, Any]) -> list[str]:
    """A comparison in words, by ``COMPARED``."""
    unit, what = (" %", c["measure"]) if c["measure"] == "seconds" else ("", c["measure"])
    margin = f" (within {100 * c['margin']:g})" if c["margin"] else ""
    numbers = (f"{100 * c['value']:+.1f}{unit}", f"{100 * c['low']:+.1f} to {100 * c['high']:+.1f}")
    expected = SIGNS[c["expect"]] + margin
    words = what.replace("_", " ").replace("iu", "IU")
    return [c["first"], c["second"], words, expected, *numbers, c["verdict"]]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows)]


# -- plots ----------------------------------------------------------------------------------------
def _intervals(results: Sequence[Result]) -> str:
    """Every difference of scores as a point and its interval, under the claim's name."""
    heads: list[tuple[int, str]] = []
    rows: list[tuple[int, Mapping[str, Any]]] = []
    y = TOP
    for r in results:
        of_scores = [c for c in r["compared"] if c["measure"] != "seconds"]
        heads += [(y, r["claim"])] if of_scores else []
        rows += [(y + ROW * i, c) for i, c in enumerate(of_scores, start=1)]
        y += ROW * (1 + len(of_scores)) if of_scores else 0
    far = min(max([LEAST, *(abs(p) for _, c in rows for p in _points(c))]), FAR)

    def x(points: float) -> float:
        return round(LEFT + (min(max(points, -far), far) + far) * (RIGHT - LEFT) / (2 * far), 1)

    drawn = [
        (at, f"{c['first']} - {c['second']}", COLOURS[c["verdict"]], *map(x, _points(c)))
        for at, c in rows
    ]
    columns = [(x(tick), f"{tick:+g}" if tick else "0") for tick in ticks(-far, far, 12)]
    words = {"title": "points by which the first is better", "zero": x(0), "height": y}
    return f"{render('intervals.svg', heads=heads, rows=drawn, columns=columns, **words)}\n"


def _points(c: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(100 * c[k] for k in ("low", "value", "high"))


def _losses(r: Result) -> str:
    """Losses by steps, and by the time that these took, as in figure 5."""
    arms = {name: a for name, a in r["arms"].items() if a["curve"]}
    top = max(loss for a in arms.values() for _, loss in a["curve"])
    minutes = {
        name: statistics.fmean(run["step_seconds"] for run in a["runs"]) / 60
        for name, a in arms.items()
    }
    panels = []
    for across, scale in (("steps", dict.fromkeys(arms, 1.0)), ("minutes of a thread", minutes)):
        right = max(scale[name] * a["curve"][-1][0] for name, a in arms.items())
        lines = [
            (
                name,
                colour,
                " ".join(
                    f"{360 * scale[name] * step / right:.1f},{220 * (1 - loss / top):.1f}"
                    for step, loss in a["curve"]
                ),
            )
            for (name, a), colour in zip(arms.items(), CURVES, strict=False)
        ]
        columns = [(round(360 * v / right, 1), f"{v:g}") for v in ticks(0, right)]
        panels.append({"across": across, "columns": columns, "lines": lines})
    rows = [(round(220 * (1 - v / top), 1), f"{v:g}") for v in ticks(0, top)]
    return f"{render('losses.svg', panels=panels, rows=rows)}\n"
