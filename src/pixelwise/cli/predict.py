"""``pixelwise predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, progress, say

SHOWN = 5  # failures told on the screen; all are in failures.jsonl


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="run folder or checkpoint")],
    sources: Annotated[list[str], typer.Argument(metavar="SRC", help="files, folders, globs")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the results")],
    save: Annotated[str, typer.Option(help="of labels,overlay,scores,heatmaps")] = "labels,overlay",
    heat: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="draw its heat map (else the top 3)")
    ] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="do only part I of N")] = "1/1",
    zoom: Annotated[str, typer.Option(help="enlarge pictures; 1.25,1.75: the mean")] = "",
    mirror: Annotated[bool, typer.Option("--mirror", help="mean with the mirror image")] = False,
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all")] = 0,
    force: Annotated[bool, typer.Option("--force", help="make finished outputs anew")] = False,
    json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> int:
    """Label every pixel of pictures; what is finished is skipped when run again.

    Writes NAME.png (class ids, palette PNG), NAME_overlay.jpg, and what --save names.

    Pictures that fail are listed in failures.jsonl; the exit code is then 1.
    """
    from pixelwise import model as models
    from pixelwise.allocator import freed_memory_kept
    from pixelwise.cli.running import parse_numbers, use_threads
    from pixelwise.workflows import prediction

    use_threads(threads)
    wanted = f"{save},heatmaps" if heat else save
    plan = prediction.plan(sources, out, save=wanted, shard=shard)
    for told in plan.left_out:
        say(f"left out: {told}")
    loaded = models.load(model, device=device, precision=precision)
    loaded = loaded.shown(zoom=parse_numbers("--zoom", zoom), mirror=mirror or None)
    with progress("predicting", len(plan.jobs)) as advance, freed_memory_kept():
        done = prediction.carry_out(plan, loaded, heat=heat or [], force=force, watch=advance)
    if json:
        emit_json(done.as_dict())
    for failure in done.failures[:SHOWN]:
        say(f"failed {failure['code']}: {failure['error']}")
        if failure["hint"]:
            say(f"  hint: {failure['hint']}")
    kept = f", {len(done.kept)} changed by hand and kept" if done.kept else ""
    say(
        f"{done.made} made, {done.skipped} already there{kept}, {len(done.failures)} failed; "
        f"in {out}" + (f" (see {out / plan.failures})" if done.failures else "")
    )
    return 1 if done.failures else 0
