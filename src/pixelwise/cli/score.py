"""``pixelwise score``: the paper's numbers for label maps that any tool wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import emit_json, progress, say, table

if TYPE_CHECKING:
    from pixelwise.evaluation.evaluate import Evaluation
    from pixelwise.metrics.bootstrap import Interval


def score(
    guesses: Annotated[Path, typer.Argument(help="Folder of guessed label maps.")],
    truth: Annotated[Path, typer.Argument(help="Folder of true label maps, 255 is void.")],
    classes: Annotated[
        int | None, typer.Option("--classes", min=1, help="Number of classes.")
    ] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", help="Names after commas, or `all`.")
    ] = "paper",
    stems: Annotated[
        Path | None, typer.Option("--list", help="File of names to score, one a line.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Score a folder of label maps against the truth, file by file of one name.

    A missing, extra or unreadable file is an error: a mean over fewer images says something else.
    """
    from pixelwise.evaluation.foreign import match, read_list, score_folders
    from pixelwise.metrics.protocols import choose

    names = choose([name.strip() for name in protocol.split(",") if name.strip()])
    wanted = read_list(stems) if stems else None
    total = len(match(guesses, truth, wanted))
    with progress("scoring", total) as advance:
        found = score_folders(guesses, truth, classes=classes, stems=wanted, advance=advance)
    if json:
        emit_json({**found.as_dict(), "protocols": {n: found.protocols[n] for n in names}})
        return
    show(found, names)
    if classes is None and found.classes == tuple(map(str, range(len(found.classes)))):
        say(f"{len(found.classes)} classes, from the largest value found; --classes N is safer")


def show(found: Evaluation, names: tuple[str, ...] = ("paper",)) -> None:
    """Print the four numbers, the classes and the chosen protocols as tables."""
    rows = [
        (key.replace("_", " ").replace("iu", "IU"), value, _spread(found.intervals.get(key)))
        for key, value in found.scores.as_dict().items()
    ]
    table(f"{len(found.names)} images", ("score", "value", "95 % interval over images"), rows)
    columns = ("class", "IU", "accuracy", "truth px", "guess px", "note")
    table(
        "classes",
        columns,
        [
            (row.name, row.iu, row.accuracy, row.truth_pixels, row.guess_pixels, row.reason)
            for row in found.per_class
        ],
    )
    if names != ("paper",):
        chosen = [row for row in found.protocol_rows if row.name in names]
        rows_of = [(row.name, row.value, row.reason or row.meaning) for row in chosen]
        table("protocols", ("protocol", "value", "rule"), rows_of)
    if absent := [row.name for row in found.per_class if row.reason]:
        word = "class" if len(absent) == 1 else "classes"
        say(f"mean IU leaves out {len(absent)} {word} without truth: {', '.join(absent)}")


def _spread(interval: Interval | None) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}" if interval else ""
