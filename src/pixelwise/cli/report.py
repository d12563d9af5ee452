"""``pixelwise report``: one self-contained page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, say
from pixelwise.cli.options import Json


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder")],
    json: Json = False,
) -> None:
    """Write RUN/report.html: curves, classes, confusions, best and worst images.

    The page needs no network and runs no script. Parts the run does not hold are named in it.
    """
    from pixelwise.pages import build

    path = build(run)
    if json:
        emit_json({"report": str(path)})
    else:
        typer.echo(path)
        say("open it in any browser")
