"""``pixelwise export``: a model as another runtime's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import Json, ModelPath


def export(
    model: ModelPath,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help=".onnx, .xml or .pt2")],
    format: Annotated[str, typer.Option("--format", help="onnx, openvino or pt2")] = "",
    labels: Annotated[bool, typer.Option("--labels", help="give labels, not scores")] = False,
    size: Annotated[
        str, typer.Option(metavar="HxW", help="the one size of a .pt2; the others take any")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="replace the outputs")] = False,
    json: Json = False,
) -> None:
    """Write a model for ONNX Runtime, OpenVINO or torch.export, compared with it first.

    Pictures go in preprocessed; how, and classes and colours, stands in the file's metadata.
    """
    from pixelwise.cli.arguments import parse_size
    from pixelwise.errors import hxw
    from pixelwise.export.export import export_model

    wanted = {"size": parse_size(size)} if size else {}
    done = export_model(model, out, format=format, labels=labels, force=force, **wanted)
    if json:
        emit_json(done.as_dict())
    else:
        rows = [
            (hxw(a.size), "" if labels else f"{a.error:.1e}", f"{a.labels:.4%}")
            for a in done.checked
        ]
        columns = ("compared at", "difference of scores", "same labels")
        table(f"{done.net} as {done.format}", columns, rows)
    for path in done.files:
        say(f"wrote {path}")
