"""``pixelwise quantize``: a model in eight bits, calibrated on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, in_percent, say, table
from pixelwise.cli.options import DataPath, Json, ModelPath, Threads
from pixelwise.machine.progress import progress


def quantize(
    model: ModelPath,
    data: DataPath,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help=".safetensors file")],
    split: Annotated[str, typer.Option(help="split whose pictures are looked at")] = "val",
    pictures: Annotated[int, typer.Option(help="to calibrate on, and as many to compare")] = 32,
    agreement: Annotated[float, typer.Option(help="part of the labels that has to stay")] = 0.995,
    force: Annotated[bool, typer.Option("--force", help="replace the output")] = False,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Put a model into eight bits (int8), calibrated on pictures; labels are not needed.

    Layers that cost too many labels stay in float32. Commands use OUT as any other model.
    """
    from pixelwise.cli.arguments import load_model
    from pixelwise.predict.quantising import quantised, refuse_place

    refuse_place(out, model, force=force)
    loaded = load_model(model, precision="fp32", device="cpu", threads=threads)
    made = quantised(
        loaded,
        data,
        split=split,
        pictures=pictures,
        agreement=agreement,
        stage=lambda doing, count: progress(doing, count, quiet=json),
    )
    made.model.save(out)
    if json:
        emit_json({"out": str(out), **made.as_dict()})
        return
    rows = [("same labels as in fp32", f"{made.agreement:.2%}")]
    for name, e in zip(("fp32", "int8"), made.evaluations, strict=False):
        rows.append((f"mean IU in {name}, %", in_percent(e.scores.mean_iu)))
    others = f"on {made.compared} {'other' if made.apart else 'same'} pictures"
    table(f"int8, calibrated on {made.calibrated} pictures", ("", others), rows)
    kept = f", in float32: {', '.join(made.exact)}" if made.exact else ""
    say(f"{made.layers - len(made.exact)} of {made.layers} convolutions in eight bits{kept}")
    say(f"wrote {out}")
