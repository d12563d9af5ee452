"""``pixelwise data hha``: depth pictures as disparity, height and angle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, say
from pixelwise.cli.options import Json
from pixelwise.errors import first_few, hxw
from pixelwise.machine.progress import progress


def hha(
    depth: Annotated[Path, typer.Argument(metavar="DEPTH", help="depth picture, or folder")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder, or a .png for one picture")],
    raw: Annotated[
        Path | None, typer.Argument(metavar="[RAW]", help="as the sensor gave it, 0 is missing")
    ] = None,
    unit: Annotated[float, typer.Option(metavar="METRES", help="of one count")] = 0.001,
    camera: Annotated[
        str, typer.Option(metavar="fx,fy,cx,cy", help="in pixels from 1, or a cameras.json")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="replace what is there")] = False,
    json: Json = False,
) -> None:
    """HHA of depth: disparity, height above ground, angle with gravity, as one PNG of three bands.

    Gupta's algorithm, as FCN's NYUDv2 nets are trained on it. What is made already is skipped.
    """
    from pixelwise.data import depth_files

    depth_files.refuse_unit(unit)
    own = depth_files.parse_camera(camera) if camera else None
    jobs = depth_files.plan(depth, raw, out)
    with progress("encoding", len(jobs), quiet=json) as advance:
        done = depth_files.carry_out(jobs, unit=unit, camera=own, force=force, watch=advance)
    far = [f"{path} {metres:.3g} m" for path, metres in done.far.items()]
    if far:
        say(
            f"warning: HHA is made for rooms, and of {len(far)} pictures the median depth is above "
            f"{depth_files.ROOM:g} m: {first_few(far)}; is one count {unit:g} m?"
        )
    uncut = [f"{path} {hxw(size)}" for path, size in done.uncut.items()]
    if uncut:
        say(
            f"warning: NYUDv2's camera was taken, which belongs to 480x640 (and to the cut of "
            f"425x560), for {first_few(uncut)}; give their own by --camera"
        )
    if json:
        files = [str(job.out) for job in jobs]
        emit_json({"made": done.made, "skipped": done.skipped, "files": files})
    say(f"made {done.made}, skipped {done.skipped} that were there, in {out}")
