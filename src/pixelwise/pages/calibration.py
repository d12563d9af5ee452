"""The reliability diagram of a run that was calibrated (Guo et al. 2017, figure 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pixelwise.folders import CALIBRATION
from pixelwise.pages.curves import Figure, written
from pixelwise.pages.markup import percent, render
from pixelwise.pages.plots import Axis, Line, plot
from pixelwise.pages.run import Run


def section(run: Run) -> Markup | None:
    """A diagram for each head; None of a run that was not calibrated."""
    place = (run.folder.parent if run.stages else run.folder) / CALIBRATION
    if not place.is_file():
        return None
    kept = json.loads(place.read_text(encoding="utf-8"))
    figures = [_figure(head, own) for head, own in kept["heads"].items()]
    return render("calibration.html", figures=figures, kept=kept)


def _figure(head: str, own: Mapping[str, Any]) -> Figure:
    ways = {"main": own, **({"second": own["uncalibrated"]} if "uncalibrated" in own else {})}
    names = {"main": "calibrated", "second": "without temperature"}
    lines = [Line("as often right as it says", [0.0, 1.0], [0.0, 1.0], "raw")]
    for kind, way in reversed(ways.items()):
        points = [(float(row["probability"]), float(row["accuracy"])) for row in way["reliability"]]
        x, y = zip(*points, strict=True)
        lines.append(Line(names[kind], x, y, kind))
    across = Axis((0.0, 1.0), "probability of its class", written)
    drawing = plot("Reliability", lines, across, Axis((0.0, 1.0), text=written))
    errors = [f"{names[kind]} {percent(way['calibration_error'])}" for kind, way in ways.items()]
    keys = [(line.kind, line.name) for line in reversed(lines)]
    return Figure(head, f"calibration error: {', '.join(errors)}", drawing, keys)
