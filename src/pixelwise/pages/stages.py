"""What each stage of a run brought: a table, and one curve through all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from pixelwise import folders
from pixelwise.pages.curves import Figure, above, best_validation, written
from pixelwise.pages.markup import render
from pixelwise.pages.plots import Axis, Line, from_zero, plot
from pixelwise.pages.run import Run, read_run

MEASURES = ("mean_iu", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iu")


class StageRow(NamedTuple):
    """A line of the table."""

    number: str
    name: str
    page: str
    """Of the stage's own, beside this page."""
    net: str
    start: str
    rate: float | None
    steps: int
    seconds: float
    scores: dict[str, Any]
    """Of the weights that were kept; empty: none yet."""
    gain: float | None
    """Of mean IU over the stage before."""


def section(run: Run) -> Markup | None:
    """The stages of a run; None of one that has none."""
    if not run.stages:
        return None
    stages = [read_run(folder, run.dataset) for folder in run.stages]
    rows: list[StageRow] = []
    for stage in stages:
        rows.append(_row(stage, rows[-1] if rows else None))
    return render("stages.html", rows=rows, figure=_figure(stages), shown=run.folder.name)


def _row(stage: Run, before: StageRow | None) -> StageRow:
    number, _, name = stage.folder.name.partition("-")
    best = best_validation(stage.events) or {}
    scores = stage.scores if stage.scores.get("mean_iu") is not None else best
    own, earlier = scores.get("mean_iu"), before.scores.get("mean_iu") if before else None
    rate = (stage.recipe.get("optim") or {}).get("lr")
    return StageRow(
        number,
        name,
        f"{stage.folder.name}/{folders.REPORT}",
        str(stage.recipe.get("net") or ""),
        _short(str(stage.recipe.get("weights") or "")),
        float(rate) if rate is not None else None,
        max((int(e.get("step") or 0) for e in stage.events), default=0),
        max((float(e.get("seconds") or 0) for e in stage.events), default=0.0),
        {name: scores.get(name) for name in MEASURES} if scores else {},
        own - earlier if own is not None and earlier is not None else None,
    )


def _short(weights: str) -> str:
    """``1-fcn32s, last`` of a stage's file; of others the name."""
    names = []
    for part in filter(None, weights.split(",")):
        stream, _, file = part.rpartition("=")
        path = Path(file)
        within = path.parent.name == folders.WEIGHTS
        said = f"{path.parent.parent.name}, {path.stem}" if within else path.name
        names.append(f"{stream}: {said}" if stream else said)
    return "; ".join(names) or "random weights"


def _figure(stages: list[Run]) -> Figure | None:
    """Mean IU on the validation split over the steps of all stages, each in turn."""
    lines: list[Line] = []
    done = 0
    for i, stage in enumerate(stages):
        checks = [e for e in stage.events if e.get("event") == "validate"]
        points = [(done + int(e["step"]), float(e["mean_iu"])) for e in checks]
        done += max((int(e.get("step") or 0) for e in stage.events), default=0)
        # The curve is one; what changes at a stage's begin is its colour.
        joint = [(lines[-1].x[-1], lines[-1].y[-1])] if lines and points else []
        if points:
            x, y = zip(*joint, *points, strict=True)
            name = stage.folder.name.partition("-")[2]
            lines.append(Line(name, x, y, ("main", "second")[i % 2]))
    if not lines:
        return None
    top = above(max(max(line.y) for line in lines), 1.0)
    drawing = plot(
        "Mean IU over all stages", lines, from_zero(lines, "steps"), Axis((0.0, top), text=written)
    )
    last = lines[-1]
    outcome = f"{written(last.y[-1])} at the end of {last.name}"
    return Figure("Mean IU, validation", outcome, drawing, [(n.kind, n.name) for n in lines])
