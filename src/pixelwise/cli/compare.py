"""``pixelwise compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import emit_json, in_percent, say, table
from pixelwise.cli.options import Device, Json, Precision, Threads, Values
from pixelwise.errors import UsageError
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.evaluation.comparison import Comparison


def compare(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL_OR_GUESSES... DATA",
            help="models or folders of label maps (also NAME=PATH), then the data",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the results")],
    split: Annotated[str, typer.Option(help="split to compare on")] = "val",
    values: Values = "",
    precision: Precision = "",
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Score several systems on the same pictures, with paired intervals of their differences.

    Writes compare.html, scores.json, and panels/ of the worst, the best and the most disputed.
    """
    if len(arguments) < 2:
        what = f"compare was given {arguments[0]} alone, expected systems and then the data"
        raise UsageError("U002", what, "pixelwise compare runs/a runs/b guesses/ DATA -o OUT")
    from pixelwise.cli.arguments import load_model
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.evaluation.systems import systems
    from pixelwise.machine.memory import freed_memory_kept
    from pixelwise.predict.model import Model
    from pixelwise.workflows import compare as comparing

    chosen = systems(arguments[:-1])
    dataset = open_dataset(Path(arguments[-1]), values=values)

    def load(path: Path) -> Model:
        return load_model(path, precision=precision, device=device, threads=threads)

    count = len(dataset.items(split)) * len(chosen)
    with progress(f"comparing on {split}", count, quiet=json) as advance, freed_memory_kept():
        made = comparing.compare(chosen, dataset, split, out, load=load, advance=advance)
    if json:
        emit_json({"data": arguments[-1], "split": split, **made.as_dict()})
        return
    _show(made)
    say(f"see {out / comparing.PAGE}")


def _show(made: Comparison) -> None:
    first = made.evaluations[0]
    systems = [
        (name, e.scores, e.intervals.get("mean_iu"))
        for name, e in zip(made.names, made.evaluations, strict=True)
    ]
    constant = (f"largest class alone ({first.majority.name})", first.majority.scores, None)
    rows = []
    for name, s, spread in (*systems, constant):
        interval = f"{in_percent(spread.low)} to {in_percent(spread.high)}" if spread else ""
        others = (s.pixel_accuracy, s.mean_accuracy, s.frequency_weighted_iu)
        rows.append((name, in_percent(s.mean_iu), interval, *map(in_percent, others)))
    columns = ("system", "mean IU, %", "95 % interval", "pixel acc.", "mean acc.", "f.w. IU")
    table(f"{len(first.names)} images", columns, rows)
    apart = [
        (
            f"{d.first} - {d.second}",
            d.statistic.replace("_", " ").replace("iu", "IU"),
            f"{100 * d.difference.value:+.2f}",
            f"{100 * d.difference.low:+.2f} to {100 * d.difference.high:+.2f}",
            f"{d.difference.first_better:.1%}",
        )
        for d in made.differences
    ]
    if apart:
        titles = ("systems", "score", "points", "95 % interval", "first better on")
        table("on the same redrawn sets of images", titles, apart)
