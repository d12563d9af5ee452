"""``pixelwise predict``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli import options
from pixelwise.cli.console import emit_json, say, table
from pixelwise.machine.memory import freed_memory_kept, limited
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.predict.jobs import Done, Plan

SHOWN = 5  # failures on the screen; all are in failures.jsonl

# Both are told in the command's text, which takes less of the screen than a table of them.
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", hidden=True, help="a model")]
Sources = Annotated[list[str], typer.Argument(metavar="SRC", hidden=True, help="pictures")]
Out = Annotated[Path, typer.Option("--out", "-o", help="folder for the results")]
Save = Annotated[str, typer.Option(help="see above")]
Heat = Annotated[
    list[str] | None, typer.Option(metavar="CLASS", help="draw its heat map (else the top 3)")
]
Split = Annotated[str, typer.Option(help="SRC are data sets: this split of them")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=FOLDER", help="files of a further input, e.g. depth"),
]
Download = Annotated[bool, typer.Option("--download", help="SRC may be addresses of the web")]
Shard = Annotated[str, typer.Option(metavar="I/N", help="do only part I of N")]
Strength = Annotated[float, typer.Option("--strength", help="of overlays' colours")]
Untinted = Annotated[
    list[str] | None, typer.Option(metavar="CLASS", help="no colour over it in overlays")
]
Colours = Annotated[Path | None, typer.Option(help="classes.json that has colours")]
Damp = Annotated[
    float, typer.Option(show_default=False, help="videos: weight of the frames before")
]
Uncertain = Annotated[
    int, typer.Option(min=0, metavar="N", show_default=False, help="list the N least sure ones")
]
PixelSize = Annotated[str, typer.Option(metavar="0.5um", help="side of a pixel, for areas")]
MaxMemory = Annotated[str, typer.Option(metavar="SIZE", help="e.g. 2GiB; larger pictures are cut")]
Submission = Annotated[bool, typer.Option("--submission", help="pack for PASCAL VOC's test server")]
Force = Annotated[bool, typer.Option("--force", help="make all outputs anew")]


def predict(
    model: ModelPath,
    sources: Sources,
    out: Out,
    save: Save = "labels,overlay",
    heat: Heat = None,
    split: Split = "",
    inputs: Inputs = None,
    download: Download = False,
    shard: Shard = "1/1",
    others: options.With = None,
    zoom: options.Zoom = "",
    mirror: options.Mirror = False,
    stitch: options.Stitch = None,
    crf: options.Crf = False,
    reject: options.Reject = None,
    min_area: options.MinArea = "",
    fill_holes: options.FillHoles = "",
    precision: options.Precision = "",
    device: options.Device = "auto",
    threads: options.Threads = 0,
    strength: Strength = 0.5,
    untinted: Untinted = None,
    colours: Colours = None,
    pixel_size: PixelSize = "",
    damp: Damp = 0.0,
    uncertain: Uncertain = 0,
    max_memory: MaxMemory = "",
    pack: Submission = False,
    ray: options.Ray = False,
    force: Force = False,
    json: options.Json = False,
) -> int:
    """Label every pixel of pictures; what is made already is skipped.

    MODEL: run folder or file. SRC: files, folders, globs, list.txt, -. --save:
    labels, overlay, scores, heatmaps, polygons, labelme, cvat, areas, sheet, coco
    """
    from pixelwise.cli.arguments import load_model, parse_bytes, parse_length, sieve_of
    from pixelwise.data.class_files import colours_in
    from pixelwise.predict import jobs, saving, submission, turns
    from pixelwise.scale.predicting import on_cluster

    own, pixel = colours_in(colours) if colours else {}, parse_length(pixel_size)
    drawn = saving.Drawing(strength, tuple(untinted or ()), own, damp, pixel)
    wanted = _kinds(save, heatmaps=heat, labels=pack, areas=pixel)
    pictures = partial(jobs.plan, sources, out, shard=shard, split=split, inputs=inputs or [])
    plan = replace(_told(pictures(save=wanted, download=download)), uncertain=uncertain)
    sieve = sieve_of(reject, min_area, fill_holes, pixel)
    view = {"zooms": zoom, "mirror": mirror, "stitch": stitch, "sieve": sieve}
    load = partial(load_model, model, others or (), view, crf=crf, precision=precision)
    loaded = load(device="cpu" if ray else device, threads=threads)  # workers have theirs
    if pack:
        submission.refuse_unfit(loaded.classes, split=split, shard=shard)
    bar = progress("predicting", len(plan.jobs), quiet=json)
    who = on_cluster(plan, load, device, threads) if ray else nullcontext(turns.outcomes)
    run = partial(jobs.carry_out, plan, loaded, heat=heat or [], drawing=drawn, force=force)
    with limited(parse_bytes(max_memory)), who as by, bar as step, freed_memory_kept():
        done = run(watch=step, by=by)
    return _tell(done, plan, Path(sources[0]) if pack else None, as_json=json)


def _kinds(save: str, **asked: object) -> str:
    """What is saved: also what other options ask for."""
    return ",".join([save, *(kind for kind, wanted in asked.items() if wanted)])


def _told(plan: Plan) -> Plan:
    """The plan, after what it leaves out is said."""
    for reason in plan.left_out:
        say(f"left out: {reason}")
    return plan


def _tell(done: Done, plan: Plan, to_pack: Path | None, *, as_json: bool) -> int:
    packed = _pack(plan, to_pack, len(done.failures)) if to_pack else {}
    if as_json:
        emit_json(vars(done) | packed)
    elif plan.uncertain:
        unsure = [(r["path"], r["uncertainty"]) for r in done.uncertain]
        table("least sure", ("picture", "mean entropy, of 1"), unsure)
    for failure in done.failures[:SHOWN]:
        say(f"failed {failure['code']}: {failure['error']}")
        if failure["hint"]:
            say(f"  hint: {failure['hint']}")
    kept = f", {len(done.kept)} changed by hand and kept, with no new files" if done.kept else ""
    say(
        f"{done.made} made, {done.skipped} already there{kept}, {len(done.failures)} failed; "
        f"in {plan.out}" + (f" (see {plan.out / plan.failures})" if done.failures else "")
    )
    return 1 if done.failures else 0


def _pack(plan: Plan, data: Path, failed: int) -> dict[str, str]:
    """The archive for the test server, as ``--json`` has it; empty if there is none."""
    from pixelwise.predict import submission

    names, year = [job.name for job in plan.jobs], submission.year_of(data)
    archive = submission.write(plan.out, names, year=year, failed=failed)
    if archive is None:
        say("nothing was packed: the test server wants all pictures of the split")
        return {}
    say(f"packed {len(names)} label maps into {archive}")
    return {"submission": str(archive)}
