"""``pixelwise score``: the paper's numbers for label maps that any tool wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, say
from pixelwise.cli.options import Json, Protocols, Values
from pixelwise.cli.scores import show
from pixelwise.machine.progress import progress


def score(
    guesses: Annotated[
        Path, typer.Argument(metavar="GUESSES", help="folder of guessed label maps")
    ],
    truth: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="folder of true ones; 255 is void")
    ],
    classes: Annotated[
        int | None, typer.Option("--classes", min=1, max=1024, help="number of classes")
    ] = None,
    ignore: Annotated[
        list[int] | None, typer.Option(metavar="N", help="value of the truth that is void too")
    ] = None,
    values: Values = "",
    protocol: Protocols = "paper",
    stems: Annotated[
        Path | None, typer.Option("--list", help="file of names to score, one a line")
    ] = None,
    json: Json = False,
) -> None:
    """Score a folder of label maps against the truth by file names.

    A missing, extra or unreadable file is an error: a mean over fewer images says something else.
    """
    from pixelwise.evaluation.foreign import match, read_names, score_folders
    from pixelwise.metrics.protocols import choose

    names = choose([name.strip() for name in protocol.split(",") if name.strip()])
    wanted = read_names(stems) if stems else None
    total = len(match(guesses, truth, wanted))
    with progress("scoring", total, quiet=json) as advance:
        evaluation = score_folders(
            guesses,
            truth,
            classes=classes,
            stems=wanted,
            ignore=ignore or (),
            values=values,
            advance=advance,
        )
    if json:
        emit_json(evaluation.as_dict(names))
        return
    show(evaluation, names)
    count = len(evaluation.classes)
    if classes is None and evaluation.classes == tuple(map(str, range(count))):
        say(f"{count} classes, from the largest value found; --classes N is safer")
