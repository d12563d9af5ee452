"""Results of claims as a page in Markdown, and as plots: all intervals, and losses on the way."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pixelwise.machine.files import atomic_write

Result = Mapping[str, Any]
ROW, LEFT, WIDTH, TOP = 18, 330, 860, 34
"""Pixels of the plot of intervals: a row's height, where its axis begins and ends, its head."""
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
    rows = [
        f"| [{r['claim']}](#{r['claim']}) | {r['sentence']} | {r['place']} | {r['verdict']} |"
        for r in results
    ]
    head = ["| claim | what the paper says | where | here |", "|---|---|---|---|", *rows, ""]
    plot = f"![All differences with their intervals]({images}claims.svg)\n"
    return "\n".join([*head, plot, *(_section(r, images) for r in results)])


def plots(results: Sequence[Result]) -> dict[str, str]:
    """SVG by file name."""
    curves = {r["claim"]: r for r in results if any("curve" in a for a in r["arms"].values())}
    return {"claims.svg": _intervals(results)} | {
        f"claims-{name}.svg": _curves(r) for name, r in curves.items()
    }


# -- text -----------------------------------------------------------------------------------------
def _section(r: Result, images: str) -> str:
    data, count = r["data"], len(r["seeds"])
    where = f"Trained on `{data['trained_on']}` of the {data['ground']}, {r['length']} steps, "
    where += f"judged on the {data['pictures']} of `{data['judged_on']}`, "
    where += f"{count} seed{'s' * (count > 1)}."
    lines = [f"## {r['claim']}", "", f"{r['sentence']} ({r['place']}.) **{r['verdict']}**", ""]
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
    rows: list[tuple[str, Mapping[str, Any] | None]] = []
    for r in results:
        of_scores = [c for c in r["compared"] if c["measure"] != "seconds"]
        rows += [(r["claim"], None), *((f"{c['first']} - {c['second']}", c) for c in of_scores)]
    ends = [100 * abs(c[k]) for _, c in rows if c for k in ("low", "high")]
    far: float = min(max([*ends, 2.0]), 30.0)  # what is farther is drawn at the rim
    scale = (WIDTH - 20 - LEFT) / (2 * far)

    def x(points: float) -> float:
        return round(LEFT + (min(max(points, -far), far) + far) * scale, 1)

    height = TOP + ROW * len(rows) + 10
    parts = [_text(LEFT, 14, "points of mean IU by which the first is better", "#57606a")]
    step = 10 if far > 15 else 5 if far > 6 else 1
    for tick in range(-int(far // step) * step, int(far) + 1, step):
        line = f'x1="{x(tick)}" x2="{x(tick)}" y1="{TOP - 4}" y2="{height - 6}"'
        parts += [f'<line {line} stroke="{"#57606a" if tick == 0 else "#d8dee4"}"/>']
        parts += [_text(x(tick), TOP - 8, f"{tick:+d}" if tick else "0", "#57606a", "middle")]
    for i, (label, c) in enumerate(rows):
        y = TOP + ROW * i + 12
        parts += [_text(8 if c is None else 22, y, label, "#1f2328", bold=c is None)]
        if c is None:
            continue
        colour, low, high = COLOURS[c["verdict"]], x(100 * c["low"]), x(100 * c["high"])
        line = f'x1="{low}" x2="{high}" y1="{y - 4}" y2="{y - 4}"'
        parts += [f'<line {line} stroke="{colour}" stroke-width="3"/>']
        parts += [f'<circle cx="{x(100 * c["value"])}" cy="{y - 4}" r="4" fill="{colour}"/>']
    return _svg(WIDTH, height, parts)


def _curves(r: Result) -> str:
    """Losses against steps, and against the time that these took, as in figure 5."""
    arms = {name: a for name, a in r["arms"].items() if a.get("curve")}
    top = max(loss for a in arms.values() for _, loss in a["curve"])
    parts = []
    seconds = {
        name: statistics.fmean(q["step_seconds"] for q in a["runs"]) for name, a in arms.items()
    }
    panels: list[tuple[int, str, Callable[[str, float], float]]] = [
        (50, "steps", lambda _, step: step),
        (470, "minutes of one thread", lambda name, step: step * seconds[name] / 60),
    ]
    for left, words, place in panels:
        right = max(place(name, a["curve"][-1][0]) for name, a in arms.items())
        box = f'x="{left}" y="20" width="360" height="220"'
        parts += [f'<rect {box} fill="none" stroke="#d8dee4"/>']
        parts += [_text(left + 180, 272, words, "#57606a", "middle")]
        parts += [_text(left, 256, "0", "#57606a", "middle")]
        parts += [_text(left + 360, 256, f"{right:.3g}", "#57606a", "middle")]
        for share in (0.0, 0.5, 1.0):
            mark = _text(left - 6, 244 - 220 * share, f"{top * share:.2g}", "#57606a", "end")
            parts += [mark]
        for i, (name, a) in enumerate(arms.items()):
            points = " ".join(
                f"{left + 360 * place(name, s) / right:.1f},{240 - 220 * loss / top:.1f}"
                for s, loss in a["curve"]
            )
            stroke = f'stroke="{CURVES[i % len(CURVES)]}" stroke-width="2" fill="none"'
            parts += [f'<polyline points="{points}" {stroke}/>']
            parts += [_text(left + 230, 42 + 18 * i, name, CURVES[i % len(CURVES)])]
    return _svg(860, 284, [*parts, _text(8, 12, "loss", "#57606a")])


def _text(
    x: float, y: float, words: str, colour: str, anchor: str = "start", *, bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {place}{weight}>{escape(words)}</text>"


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"
