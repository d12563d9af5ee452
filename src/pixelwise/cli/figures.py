"""``pixelwise figures``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.arguments import load_model, parse_size
from pixelwise.cli.console import emit_json, say
from pixelwise.cli.options import Device, Json, Threads


def figures(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="runs, checkpoints, folders of label maps (also NAME=PATH), names of nets",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the figures")],
    only: Annotated[list[int] | None, typer.Option("--only", help="number of a figure")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="pictures and truth [those of the first run]")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="of the data")] = "val",
    picture: Annotated[
        list[str] | None, typer.Option("--picture", metavar="NAME", help="[of most classes]")
    ] = None,
    photo: Annotated[
        Path | None, typer.Option("--photo", help="of figure 2, which a classifier looks at")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="HxW", help="of the photo")] = "540x720",
    heat: Annotated[str, typer.Option("--heat", help="class of figure 2 [most probable]")] = "",
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Redraw the paper's figures 1 to 6 from runs (extra `figures`).

    1 pixelwise prediction, 2 convolutionalisation, 3 skips, 4 strides 32, 16
    and 8, 5 loss sampling, 6 systems side by side; as PNG, SVG and PDF. What
    a figure still needs is said.
    """
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.experiments.figures.given import Given
    from pixelwise.experiments.figures.redraw import NUMBERS, redraw
    from pixelwise.pictures.images import resize
    from pixelwise.pictures.reading import read

    given = Given(
        runs,
        partial(load_model, precision="", device=device, threads=threads),
        data=open_dataset(data) if data else None,
        split=split,
        pictures=picture or (),
        photo=resize(read(photo), parse_size(size)) if photo else None,
        heat=heat,
    )
    made = redraw(given, out, only or NUMBERS)
    if json:
        files = {number: [str(path) for path in paths] for number, paths in made.files.items()}
        emit_json({"figures": files, "missing": {n: e.as_dict() for n, e in made.lacking.items()}})
        return
    for paths in made.files.values():
        typer.echo(paths[0])
    for number, error in made.lacking.items():
        say(f"no figure {number}: {error}")
        say(f"hint: {error.hint}")
