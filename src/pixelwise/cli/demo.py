"""``pixelwise demo``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, remarks_said, say, table
from pixelwise.cli.options import Json
from pixelwise.cli.scores import title
from pixelwise.machine.progress import percent, progress


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for everything")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="training time")] = 2.5,
    images: Annotated[int, typer.Option(help="scenes to make")] = 200,
    seed: Annotated[int, typer.Option(help="of scenes and training")] = 0,
    json: Json = False,
) -> None:
    """The main job end to end on made scenes: data, training, evaluation, prediction, report."""
    from pixelwise.machine.memory import freed_memory_kept
    from pixelwise.training.watching import watch_on
    from pixelwise.workflows.demo import run

    with (
        remarks_said(logging.INFO),
        progress("training", 1.0, amount=percent, quiet=json) as bar,
        freed_memory_kept(),
    ):
        watch = watch_on(bar)
        result = run(out, minutes=minutes, images=images, seed=seed, watch=watch, say=say)
    if json:
        emit_json(asdict(result))
        return
    rows = [(title(key), result.untrained[key], result.trained[key]) for key in result.trained]
    table("scores on scenes never seen", ("score", "untrained net", "after training"), rows)
    say(f"report:  {result.report}\npicture: {result.picture}\nmodel:   {result.run}")
