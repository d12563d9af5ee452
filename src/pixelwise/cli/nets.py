"""``pixelwise nets``: the catalogue, or one net explained layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.arguments import parse_parts, parse_size
from pixelwise.cli.console import emit_json, stdout, table
from pixelwise.cli.options import Json, names_of_nets

if TYPE_CHECKING:
    from pixelwise.nets.net import Net
    from pixelwise.nets.table import Row

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="net to explain; none: all", autocompletion=names_of_nets),
]
# They change no size and have no parameters; the JSON lists them, the printed table does not.
_QUIET = ("Relu", "Dropout")

_OFFSETS = (
    "An offset is the row and column of the larger map that lies on row 0, column 0 of the other.",
    "Kernels, strides and pads alone decide it: every layer maps a coordinate to scale * x + shift,"
    " and paths that meet must agree.",
    "One too many or too few shifts every prediction by a pixel or a cell: no error, only a lower"
    " score.",
)


def nets(
    name: Name = None,
    size: Annotated[str, typer.Option(metavar="HxW", help="of the picture")] = "500x500",
    classes: Annotated[int | None, typer.Option(help="classes (21; classifiers 1000)")] = None,
    channels: Annotated[int | None, typer.Option(help="channels of the picture (3)")] = None,
    width: Annotated[float, typer.Option(help="factor on the trunk's channels")] = 1.0,
    heads: Annotated[
        str, typer.Option(metavar="NAME=K,...", help="an output each, with its classes")
    ] = "",
    inputs: Annotated[
        str, typer.Option(metavar="NAME=B,...", help="of the picture, with their bands")
    ] = "",
    fusion: Annotated[
        str, typer.Option(help="of several inputs: early, sum (paper), average (release)")
    ] = "",
    rarefied: Annotated[
        str, typer.Option(metavar="LAYERS", help="stride 1 at these, the rest dilated")
    ] = "",
    lowered: Annotated[
        str, typer.Option(metavar="LAYERS", help="stride 1 at these, later kernels longer")
    ] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="what is computed when it predicts on a processor")
    ] = False,
    json: Json = False,
) -> None:
    """List the catalogue, or explain one net: shapes, receptive fields, costs, crop offsets."""
    from pixelwise.nets.catalog import entry, spec
    from pixelwise.nets.table import as_dict
    from pixelwise.nets.table import table as explain

    given = {
        "classes": classes,
        "channels": channels,
        "width": width,
        "heads": parse_parts(heads, "--heads") if heads else None,
        "inputs": parse_parts(inputs, "--inputs") if inputs else None,
        "fusion": fusion or None,
        "rarefied": rarefied.split(",") if rarefied else None,
        "lowered": lowered.split(",") if lowered else None,
    }
    options = {option: value for option, value in given.items() if value is not None}
    if name is None:
        _list(options, as_json=json, plan=plan)
        return
    height, across = parse_size(size)
    net = spec(name, **options)
    rows = explain(net, height, across)
    if json:
        known = entry(name)
        published = {"preprocess": known.preprocess, "published_weights": known.weights}
        emit_json(as_dict(net, rows) | published | (_plan(net, rows) if plan else {}))
    elif plan:
        _show_plan(f"{name} at {height}x{across}", _plan(net, rows)["plan"])
    else:
        _show(f"{name} at {height}x{across}: {entry(name).about}", rows)
        for line in _summary(net, rows):
            stdout().print(line, markup=False, soft_wrap=True)


def _plan(net: Net, rows: Sequence[Row]) -> dict[str, Any]:
    from pixelwise.engine.fusing import plan
    from pixelwise.engine.layout import layout_for
    from pixelwise.engine.plan_table import as_dict

    return {"plan": as_dict(layout_for(plan(net), 1, rows[0].height, rows[0].width))}


def _show_plan(title: str, plan: dict[str, Any]) -> None:
    computations = plan["computations"]
    macs = _right([_short(c["macs"]) if c["macs"] else "" for c in computations])
    cells = [
        (c["map"], c["kind"], c["folded"], _kernel(c), *map(_part, (0, 1), (c, c)), m)
        for c, m in zip(computations, macs, strict=True)
    ]
    columns = ("map", "computation", "folded in", "kernel", "rows", "columns", "mult-adds")
    table(f"{title}: the plan of {len(cells)} computations", columns, cells)
    for mode, bytes_ in plan["bytes_needed"].items():
        parts = ", ".join(f"{name} {_mebibytes(count)}" for name, count in bytes_.items())
        stdout().print(f"memory {mode:5} {_mebibytes(sum(bytes_.values()))}: {parts}")
    for line in (
        "Beside a kernel: multiplications of a tile, for how many; or what keeps Winograd's out.",
        "Rows and columns are those that see the picture; the rest is constant, and not computed.",
    ):
        stdout().print(line, markup=False, soft_wrap=True)


def _kernel(computation: dict[str, Any]) -> str:
    return ": ".join(filter(None, (computation["kernel"], computation["reason"])))


def _part(axis: int, computation: dict[str, Any]) -> str:
    first, end = computation[("rows", "columns")[axis]]
    size = computation["size"][axis]
    return f"all {size}" if (first, end) == (0, size) else f"{first} to {end - 1} of {size}"


def _list(options: dict[str, Any], *, as_json: bool, plan: bool) -> None:
    from pixelwise.errors import UsageError
    from pixelwise.nets.catalog import NETS, spec

    if plan:
        raise UsageError(
            "U002", "--plan is of one net, and none is named", "pixelwise nets NAME --plan"
        )
    if of_one := options.keys() - {"classes", "channels", "width"}:
        message = f"--{min(of_one)} is of one net, and none is named"
        raise UsageError("U002", message, "pixelwise nets fcn8s-vgg16 ...")
    # A net with heads or inputs of its own is listed with these, whatever the others are given.
    fixed = {"classes": "heads", "channels": "inputs"}
    written = {}
    for name, known in NETS.items():
        fit = {o: v for o, v in options.items() if fixed.get(o) not in known.options}
        written[name] = spec(name, **fit)
    rows = [
        (name, NETS[name].about, net.parameters(), int(net.stride), net.receptive_field)
        for name, net in written.items()
    ]
    if as_json:
        keys = ("name", "about", "parameters", "stride", "receptive_field")
        listed = [dict(zip(keys, row, strict=True)) for row in rows]
        more = [
            {"published_weights": known.weights, "relative": known.relative}
            for known in NETS.values()
        ]
        emit_json([row | beside for row, beside in zip(listed, more, strict=True)])
        return
    fields = _right([_field(row[-1]) for row in rows])
    cells = [(*row[:-1], field) for row, field in zip(rows, fields, strict=True)]
    columns = ("net", "what it is", "parameters", "max stride", "field")
    own, grown = ([c for c in cells if NETS[c[0]].relative is of] for of in (False, True))
    table(f"{len(own)} nets; `pixelwise nets NAME` explains one", columns, own)
    table(f"{len(grown)} that grew from FCN (docs/relatives.md)", columns, grown)


def _show(title: str, rows: Sequence[Row]) -> None:
    shown = [row for row in rows if row.kind not in _QUIET]
    macs = _right([_short(row.macs) if row.macs else "" for row in shown])
    parameters = _right([f"{row.parameters:,}" if row.parameters else "" for row in shown])
    fields = _right([_field(row.receptive_field) for row in shown])
    cells = [
        (r.name, r.kind, _window(r), f"{r.channels}x{r.height}x{r.width}", f, r.total_stride, p, m)
        for r, f, p, m in zip(shown, fields, parameters, macs, strict=True)
    ]
    columns = ("layer", "kind", "window", "output", "field", "stride", "parameters", "mult-adds")
    table(title, columns, cells)


def _summary(net: Net, rows: Sequence[Row]) -> list[str]:
    from pixelwise.engine.memory import FLOAT32, bytes_of_weights, peak_of_maps

    picture = rows[0]  # the first layer is the net's input
    numbers, peak = peak_of_maps(net, picture.height, picture.width)
    seen = "the whole picture" if math.isinf(net.receptive_field) else f"{net.receptive_field} px"
    sizes = {r.name: f"{r.channels}x{r.height}x{r.width}" for r in rows}
    outputs = [
        (f"{head} " if len(net.outputs) > 1 else "") + sizes[layer]
        for head, layer in net.outputs.items()
    ]
    parameters, in_caffe = net.parameters(), net.parameters(upsampling=True)
    also = f" ({in_caffe:,} with upsampling kernels as Caffe stores them)"
    lines = ["ReLU and dropout layers are left out above; --json lists them.", ""]
    if len(net.inputs) > 1:
        lines.append(
            f"inputs         {', '.join(f'{n} {bands}' for n, bands in net.inputs.items())}"
        )
    lines += [
        f"output         {'; '.join(outputs)}",
        f"parameters     {parameters:,}{also if in_caffe != parameters else ''}",
        f"field          {seen}, max stride {float(net.stride):g}",
        f"depth          {net.depth} convolutional layers",
        f"multiply-adds  {_short(sum(row.macs for row in rows))}",
        f"memory         weights {_mebibytes(bytes_of_weights(net))}, "
        f"maps {_mebibytes(FLOAT32 * numbers)} at {peak} (one picture, float32)",
    ]
    if crops := net.crops():
        offsets = ", ".join(f"{name} {offset}" for name, offset in crops.items())
        lines += [f"crop offsets   {offsets}", "", *_OFFSETS]
    return lines


def _window(row: Row) -> str:
    if row.offset is not None:
        return f"offset {row.offset}"
    if row.coefficients:
        return " + ".join(f"{c:g}" for c in row.coefficients)
    if row.kernel is None:
        return ""
    marks = (("s", row.stride, 1), ("p", row.pad, 0), ("d", row.dilation, 1), ("g", row.groups, 1))
    shown = [f"{letter}{value}" for letter, value, usual in marks if value not in (None, usual)]
    return " ".join([f"{row.kernel}x{row.kernel}", *shown])


def _field(value: float) -> str:
    return "all" if math.isinf(value) else f"{value:g}"


def _short(count: int) -> str:
    for factor, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= factor:
            return f"{count / factor:.2f} {letter}"
    return str(count)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _right(texts: list[str]) -> list[str]:
    width = max(len(text) for text in texts)
    return [text.rjust(width) for text in texts]
