"""``pixelwise demo``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, in_percent, remarks_said, say, table
from pixelwise.cli.options import Json
from pixelwise.cli.scores import title
from pixelwise.machine.progress import percent, progress


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for everything")] = Path("demo"),
    steps: Annotated[int, typer.Option(help="training steps")] = 1200,
    minutes: Annotated[float, typer.Option(help="training time at most")] = 10,
    images: Annotated[int, typer.Option(help="scenes to make")] = 200,
    seed: Annotated[int, typer.Option(help="of scenes and training")] = 0,
    json: Json = False,
) -> None:
    """The main job on made scenes, from data to report."""
    from pixelwise.machine.memory import freed_memory_kept
    from pixelwise.training.watching import watch_on
    from pixelwise.workflows.demo import run

    bar = progress("demo", 1.0, amount=percent, quiet=json)
    with remarks_said(logging.INFO), bar as told, freed_memory_kept():
        watch = watch_on(told)
        result = run(
            out, steps=steps, minutes=minutes, images=images, seed=seed, watch=watch, say=say
        )
    if json:
        emit_json(asdict(result))
        return
    rows = [
        (title(key), *map(in_percent, (result.untrained[key], value, result.largest_class[key])))
        for key, value in result.trained.items()
    ]
    constant = f"largest class alone ({result.largest_class['class']})"
    columns = ("score, %", "untrained net", "after training", constant)
    table("on test scenes, never seen in training", columns, rows)
    say(f"report:  {result.report}\npicture: {result.picture}\nmodel:   {result.run}")
