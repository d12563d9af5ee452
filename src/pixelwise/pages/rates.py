"""The search for a learning rate on a page: loss over rate, each trial, what is proposed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.machine.files import atomic_write
from pixelwise.pages.curves import Figure
from pixelwise.pages.markup import render
from pixelwise.pages.plots import Axis, Line, plot


def write_rates(path: Path, title: str, search: Mapping[str, Any]) -> Path:
    """Write the page; ``search`` is a ``LineSearch`` as plain data.

    Raises:
        ResourceError: R001 no space, R002 not writable.
    """
    return atomic_write(
        path, render("rates.html", title=title, search=search, figure=figure(search))
    )


def figure(search: Mapping[str, Any]) -> Figure:
    """Loss over the logarithm of the rate; trials that grew end at the upper rim."""
    trials: Sequence[Mapping[str, Any]] = search["trials"]
    powers = [math.log10(trial["lr"]) for trial in trials]
    known = [trial["loss"] for trial in trials if trial["loss"] is not None]
    start = search["unmoved"] if math.isfinite(search["unmoved"]) else max(known, default=1.0)
    low, high = min([*known, start]), 1.1 * start
    margin = 0.1 * (high - low) or 1.0
    top = high + margin
    loss = [top if trial["loss"] is None else trial["loss"] for trial in trials]
    lines = [
        Line("nothing learned", [powers[0], powers[-1]], [start, start], "raw"),
        Line("loss", powers, loss, "main"),
    ]
    proposal = search["proposal"]
    mark = None
    if proposal:
        near = min(range(len(trials)), key=lambda i: abs(powers[i] - math.log10(proposal)))
        mark = (math.log10(proposal), loss[near], f"{proposal:.2g}")
    across = Axis((powers[0], powers[-1]), "learning rate", lambda power: f"{10**power:.2g}")
    up = Axis((max(0.0, low - margin), top), text="{:.3g}".format)
    drawing = plot("Loss over learning rate", lines, across, up, mark)
    outcome = f"proposed {proposal:.2g}" if proposal else "no rate lowers the loss"
    keys = [("main", "second half of each trial"), ("raw", "nothing learned")]
    return Figure("Loss", outcome, drawing, keys)
