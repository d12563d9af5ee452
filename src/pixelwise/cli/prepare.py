"""``pixelwise data prepare``: published data sets, from the files of their authors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import emit_json, say
from pixelwise.cli.options import Json, NewFolder
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.data.prepare.record import Published
    from pixelwise.data.prepare.work import Planner

app = typer.Typer(
    no_args_is_help=True, help="Published data sets, from their archives or unpacked folders."
)

Src = Annotated[Path, typer.Argument(metavar="SRC", help="archive, or folder of them or unpacked")]
Beside = Annotated[
    list[Path] | None,
    typer.Option("--with", metavar="PATH", help="a further archive or folder to look in"),
]


@app.command("voc")
def prepare_voc(
    source: Src,
    out: NewFolder,
    beside: Beside = None,
    year: Annotated[str, typer.Option(help="2012 or 2011, where both are there")] = "",
    json: Json = False,
) -> None:
    """PASCAL VOC, segmentation; with SBD beside it also seg11valid and trainaug."""
    from pixelwise.data.prepare import voc

    planner = partial(voc.plan, year=year)
    _prepare(voc.RECORD, planner, [source, *(beside or ())], out, {"year": year}, json=json)


@app.command("sbd")
def prepare_sbd(source: Src, out: NewFolder, beside: Beside = None, json: Json = False) -> None:
    """SBD, the Semantic Boundaries Dataset; with VOC 2011 beside it also seg11valid."""
    from pixelwise.data.prepare import sbd

    _prepare(sbd.RECORD, sbd.plan, [source, *(beside or ())], out, json=json)


@app.command("context")
def prepare_context(
    source: Src,
    out: NewFolder,
    beside: Beside = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="these of the 59, one name a line")
    ] = None,
    background: Annotated[
        str, typer.Option(help="what all else is: class (0, as released) or void")
    ] = "class",
    json: Json = False,
) -> None:
    """PASCAL-Context: VOC 2010's pictures with 59 classes and background."""
    from pixelwise.data.prepare import context
    from pixelwise.errors import UsageError

    if background not in ("class", "void"):
        what = f"--background is {background}, expected class or void"
        raise UsageError("U002", what, "--background class")
    names = context.chosen_names(classes) if classes else ()
    planner = partial(context.plan, names=names, background=background == "class")
    options: dict[str, object] = {"names": list(names), "background": background}
    _prepare(context.RECORD, planner, [source, *(beside or ())], out, options, json=json)


@app.command("nyudv2")
def prepare_nyudv2(
    source: Src,
    out: NewFolder,
    beside: Beside = None,
    hha: Annotated[
        bool, typer.Option("--hha", help="write HHA of both depths too, for about 0.5 s a frame")
    ] = False,
    json: Json = False,
) -> None:
    """NYUDv2: colour and depth in 40 classes, cropped to 425x560 as the paper has it."""
    from pixelwise.data.prepare import nyudv2

    planner = partial(nyudv2.plan, hha=hha)
    _prepare(nyudv2.RECORD, planner, [source, *(beside or ())], out, {"hha": hha}, json=json)


@app.command("siftflow")
def prepare_siftflow(
    source: Src, out: NewFolder, beside: Beside = None, json: Json = False
) -> None:
    """SIFT Flow: 33 semantic and 3 geometric classes, as two heads."""
    from pixelwise.data.prepare import siftflow

    _prepare(siftflow.RECORD, siftflow.plan, [source, *(beside or ())], out, json=json)


@app.command("camvid")
def prepare_camvid(source: Src, out: NewFolder, beside: Beside = None, json: Json = False) -> None:
    """CamVid as SegNet published it, with its own splits and ours by sequence."""
    from pixelwise.data.prepare import camvid

    _prepare(camvid.RECORD, camvid.plan, [source, *(beside or ())], out, json=json)


def _prepare(
    record: Published,
    planner: Planner,
    places: list[Path],
    out: Path,
    options: dict[str, object] | None = None,
    *,
    json: bool,
) -> None:
    from pixelwise.data.prepare.work import prepare

    plan = prepare(
        record, planner, places, out, options=options, progress=partial(progress, quiet=json)
    )
    for note in plan.notes:
        say(f"note: {note}")
    splits = {name: len(lines) for name, lines in plan.splits.items()}
    count = len(plan.pieces)
    if json:
        facts = {"folder": str(out), "pictures": count, "splits": splits}
        emit_json({**facts, "notes": list(plan.notes)})
    sizes = ", ".join(f"{name} {size:,}" for name, size in splits.items())
    say(f"wrote {count:,} pictures to {out}: {sizes}")
