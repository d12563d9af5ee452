"""``pixelwise evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli import options
from pixelwise.cli.console import emit_json, say
from pixelwise.cli.scores import show
from pixelwise.machine.progress import progress


def evaluate(
    model: options.ModelPath,
    data: options.DataPath,
    split: Annotated[str, typer.Option(help="split to evaluate on")] = "val",
    values: options.Values = "",
    protocol: options.Protocols = "paper",
    heads: Annotated[str, typer.Option(help="only these heads, after commas")] = "",
    save: Annotated[Path | None, typer.Option(help="folder for the guessed label maps")] = None,
    mask: Annotated[
        str, typer.Option(help="hide by labels: foreground, background, or all but the shape")
    ] = "none",
    others: options.With = None,
    zoom: options.Zoom = "",
    mirror: options.Mirror = False,
    stitch: options.Stitch = None,
    crf: options.Crf = False,
    min_area: options.MinArea = "",
    fill_holes: options.FillHoles = "",
    precision: options.Precision = "",
    device: options.Device = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Score a model on a split: the paper's four metrics, per class, other protocols by name."""
    from pixelwise.cli.arguments import load_model, sieve_of
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.machine.memory import freed_memory_kept
    from pixelwise.metrics.protocols import choose

    names = choose([name.strip() for name in protocol.split(",") if name.strip()])
    sieve = sieve_of(None, min_area, fill_holes)
    view = {"zooms": zoom, "mirror": mirror, "stitch": stitch, "sieve": sieve}
    loaded = load_model(
        model, others or (), view, crf=crf, precision=precision, device=device, threads=threads
    )
    chosen = tuple(name.strip() for name in heads.split(",") if name.strip())
    dataset = loaded.fitting(open_dataset(data, values=values), chosen)
    count = len(dataset.items(split))
    with progress(f"evaluating {split}", count, quiet=json) as advance, freed_memory_kept():
        evaluation = loaded.evaluate(
            dataset, split, heads=chosen, keep=save, mask=mask, watch=advance
        )
    if json:
        facts = {"model": str(loaded.path), "data": str(data), "split": split, "mask": mask}
        emit_json({**facts, **evaluation.as_dict(names)})
    else:
        show(evaluation, names)
        say(f"{evaluation.seconds_per_image:.3f} s per picture")
