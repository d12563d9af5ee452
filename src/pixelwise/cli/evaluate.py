"""``pixelwise evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, progress, say
from pixelwise.cli.scores import show


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="run folder or checkpoint")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="data folder")],
    split: Annotated[str, typer.Option(help="split to evaluate on")] = "val",
    protocol: Annotated[str, typer.Option(help="names of protocols, or all")] = "paper",
    save: Annotated[Path | None, typer.Option(help="folder for the guessed label maps")] = None,
    zoom: Annotated[str, typer.Option(help="enlarge pictures; 1.25,1.75: the mean")] = "",
    mirror: Annotated[bool, typer.Option("--mirror", help="mean with the mirror image")] = False,
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all")] = 0,
    json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> None:
    """Score a model on a split: the paper's four metrics, per class, other protocols by name."""
    from pixelwise import model as models
    from pixelwise.allocator import freed_memory_kept
    from pixelwise.cli.running import parse_numbers, use_threads
    from pixelwise.data.layouts import open_dataset
    from pixelwise.metrics.protocols import choose

    names = choose([name.strip() for name in protocol.split(",") if name.strip()])
    use_threads(threads)
    loaded = models.load(model, device=device, precision=precision)
    loaded = loaded.shown(zoom=parse_numbers("--zoom", zoom), mirror=mirror or None)
    dataset = open_dataset(data)
    count = len(dataset.items(split))
    with progress(f"evaluating {split}", count) as advance, freed_memory_kept():
        found = loaded.evaluate(dataset, split, keep=save, watch=advance)
    if json:
        chosen = {"protocols": {name: found.protocols[name] for name in names}}
        facts = {"model": str(loaded.path), "data": str(data), "split": split}
        emit_json({**facts, **found.as_dict(), **chosen})
    else:
        show(found, names)
        say(f"{found.seconds_per_image:.3f} s per picture")
