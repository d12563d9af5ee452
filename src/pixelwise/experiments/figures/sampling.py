"""Figure 5: training on whole pictures and on a part of the loss's terms, by step and by the clock.

Both axes are those of the runs' journals.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pixelwise.experiments.figures import page
from pixelwise.experiments.figures.given import Given, Lacking
from pixelwise.folders import is_run
from pixelwise.pages.curves import finite
from pixelwise.pages.plots import duration, smooth
from pixelwise.pages.run import read_run

SMOOTHED = 25  # losses are averaged over a part of the run that is this much shorter


@dataclass(frozen=True)
class Curve:
    """The losses of a run."""

    keep: float
    otherwise: str
    """All of its recipe but ``loss.keep``: curves are of runs that differ in that alone."""
    steps: list[int]
    seconds: list[float]
    losses: list[float]


def sampling(given: Given) -> Figure:
    """Draw the runs that differ in ``loss.keep``."""
    groups: dict[str, dict[float, Curve]] = {}
    for path in (s.path for s in given.systems if is_run(s.path)):
        if one := curve(path):
            groups.setdefault(one.otherwise, {}).setdefault(one.keep, one)
    largest = max(groups.values(), key=len, default={})
    curves = [largest[keep] for keep in sorted(largest, reverse=True)]
    if len(curves) < 2:
        what = f"figure 5 is of runs that differ in loss.keep alone, and {len(curves)} was given"
        commands = (
            "pixelwise train DATA -o runs/full; pixelwise train DATA -o runs/half "
            "--set loss.keep=0.5; pixelwise figures runs/full runs/half -o figures --only 5"
        )
        raise Lacking(what, commands)
    unit, unit_name = duration(max(c.seconds[-1] for c in curves))
    figure = Figure(figsize=(page.COLUMN, 1.65))
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    for c, shade, dash in zip(curves, page.COLOURS * 2, page.DASHES * 3, strict=False):
        even = smooth(c.losses, len(c.losses) / SMOOTHED)
        name = "full images" if c.keep == 1 else f"{100 * c.keep:g} % sampling"
        by_step.plot(c.steps, even, color=shade, ls=dash, label=name)
        by_time.plot([s / unit for s in c.seconds], even, color=shade, ls=dash)
    by_step.set(xlabel="iteration", ylabel="loss")
    by_time.set(xlabel=f"wall time ({unit_name})")
    for axes in (by_step, by_time):
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(left=0)
        axes.grid(lw=0.3, color="#dddddd")
        axes.set_axisbelow(True)
    by_step.legend(frameon=False, fontsize=6, handlelength=2.2, borderaxespad=0.1)
    figure.subplots_adjust(left=0.135, right=0.985, top=0.97, bottom=0.21, wspace=0.1)
    return figure


def curve(run: Path) -> Curve | None:
    """The losses in a run's journal; None where it has too few to draw."""
    told = read_run(run)
    steps = [e for e in told.events if e.get("event") == "step" and finite(e.get("loss"))]
    steps = [e for e in steps if finite(e.get("seconds"))]
    loss = told.recipe.get("loss")
    loss = dict(loss) if isinstance(loss, dict) else {}
    keep = loss.pop("keep", 1)
    if len(steps) < 2 or not finite(keep):
        return None
    return Curve(
        float(keep),
        json.dumps({**told.recipe, "loss": loss}, sort_keys=True, default=str),
        [int(e["step"]) for e in steps],
        [float(e["seconds"]) for e in steps],
        [float(e["loss"]) for e in steps],
    )
