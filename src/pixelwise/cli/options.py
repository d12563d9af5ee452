"""Arguments and options that several commands take, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def names_of_nets(begun: str) -> list[str]:
    """For the shell's completion."""
    from pixelwise.nets.catalog import NETS

    return [name for name in NETS if name.startswith(begun)]


NetName = Annotated[
    str, typer.Option("--net", help="net; see `pixelwise nets`", autocompletion=names_of_nets)
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="run folder or checkpoint")]
DataPath = Annotated[Path, typer.Argument(metavar="DATA", help="data folder")]
Values = Annotated[
    str,
    typer.Option("--values", metavar="V=NAME,...", help='label values: "0=back,255=cell,*=void"'),
]
NewFolder = Annotated[Path, typer.Argument(metavar="OUT", help="new folder")]

With = Annotated[
    list[Path] | None,
    typer.Option("--with", metavar="MODEL", help="ensemble: mean of the probabilities"),
]
Zoom = Annotated[str, typer.Option("--zoom", help="enlarge pictures; 1.25,1.75: the mean")]
Mirror = Annotated[bool, typer.Option("--mirror", help="mean with the mirror image")]
Stitch = Annotated[
    int | None, typer.Option("--stitch", metavar="F", help="scores F times finer by FxF passes")
]
Crf = Annotated[bool, typer.Option("--crf", help="dense CRF, by crf.json of the run")]
Reject = Annotated[
    float | None,
    typer.Option("--reject", metavar="P", help="void below this probability of a class"),
]
MinArea = Annotated[
    str, typer.Option("--min-area", metavar="AREA", help="smaller regions go to neighbours")
]
FillHoles = Annotated[
    str, typer.Option("--fill-holes", metavar="AREA", help="fill holes that are as small")
]
Precision = Annotated[str, typer.Option("--precision", help="fp32, bf16, int8")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads; 0: all")]
Ray = Annotated[bool, typer.Option("--ray", help="on a Ray cluster: RAY_ADDRESS, or here")]

ClassMapFile = Annotated[
    Path | None,
    typer.Option("--map", metavar="FILE", help="JSON or YAML: class to another name, or void"),
]

Protocols = Annotated[str, typer.Option("--protocol", help="names after commas, or all")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change a recipe field")
]
Log = Annotated[
    str, typer.Option("--log", metavar="NAME,...", help="also to tensorboard, mlflow, wandb")
]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
