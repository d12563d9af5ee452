"""``pixelwise data``: look at data folders, count them, split them, convert them, make one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli import hha
from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import ClassMapFile, DataPath, Json, NewFolder, Values
from pixelwise.cli.prepare import app as prepare
from pixelwise.errors import first_few, hxw, raise_all
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.data.dataset import DataSet
    from pixelwise.data.inspect import Inspection
    from pixelwise.data.splitting import Drawn

app = typer.Typer(no_args_is_help=True, help="Check, count, split, convert and make data sets.")
make = typer.Typer(no_args_is_help=True, help="Make the embedded data set.")
app.add_typer(make, name="make")
app.add_typer(prepare, name="prepare")
app.command("hha")(hha.hha)


@app.command("inspect")
def inspect_data(data: DataPath, values: Values = "", json: Json = False) -> None:
    """Read every file: layout, classes, sizes, splits, and every problem by file.

    Exits 3 when training would refuse the data, 0 when there are only warnings.
    """
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.inspect import inspect

    dataset = open_dataset(data, strict=False, values=values)
    with progress("reading", len(dataset.all_items()), quiet=json) as advance:
        inspection = inspect(dataset, watch=advance)
    if json and not inspection.problems:
        emit_json(inspection.as_dict())
    elif not json:
        _print(inspection)
    raise_all(data, inspection.problems)


def _parts(dataset: DataSet) -> list[tuple[object, ...]]:
    """Of what a picture and its labels consist, where that is more than a file each."""
    made = {n: f"{n} (computed of {m.source.of})" for n, m in dataset.computed.items()}
    inputs, heads = (dataset.inputs, dataset.known_inputs), (dataset.heads, [*dataset.class_maps])
    rows: list[tuple[object, ...]] = []
    for kind, (used, known) in (("inputs", inputs), ("heads", heads)):
        said = ", ".join(made.get(n, n) for n in used)
        idle = ", ".join(made.get(n, n) for n in known if n not in used)
        if len(known) > 1:
            rows.append((f"{kind} in use", f"{said}; there too: {idle}" if idle else said))
    if dataset.values != "8-bit":
        rows.append(("numbers of the pictures", f"as {dataset.values} in the files"))
    return rows


def _print(inspection: Inspection) -> None:
    d, sizes = inspection.dataset, inspection.sizes()
    facts: list[tuple[object, ...]] = [
        ("layout", f"{d.layout} ({d.evidence})"),
        ("pictures", len(d.all_items())),
        ("read without a problem", sizes.total()),
        ("sizes (HxW)", ", ".join(f"{hxw(s)}: {n:,}" for s, n in sizes.most_common(5))),
        *_parts(d),
        *(("note", note) for note in d.notes),
    ]
    table(str(d.root), ("what", "found"), facts)
    table("splits", ("split", "pictures"), [(s, len(items)) for s, items in d.splits.items()])
    for head, classes in d.classes_by_head.items():
        counts = {split: own.pixels for split, own in inspection.counts(head).items()}
        rows = [(name, *(int(c[i]) for c in counts.values())) for i, name in enumerate(classes)]
        rows = [row for row in rows if any(row[1:])]  # the warnings name the others
        title = f"pixels by class{d.of_head(head)}, {len(rows)} of {len(classes)} classes"
        table(title, ("class", *counts), rows)
    for warning in inspection.warnings:
        say(f"warning: {warning}")
    if not inspection.problems:
        say("no problems: this data can be trained on")


@app.command("stats")
def stats(
    data: DataPath,
    split: Annotated[str, typer.Option(help="split to count")] = "train",
    values: Values = "",
    json: Json = False,
) -> None:
    """Pixels and pictures by class, mean and deviation of the channels."""
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.inspect import inspect

    dataset = open_dataset(data, values=values)
    with progress("counting", len(dataset.items(split)), quiet=json) as advance:
        inspected = inspect(dataset, [split], watch=advance)
    raise_all(dataset.root, inspected.problems)
    counted = inspected.statistics(split)
    if json:
        emit_json({"data": str(data), "split": split, **counted.as_dict()})
        return
    facts = [
        (f"{name} of the channels", ", ".join(f"{v:.3f}" for v in values))
        for name, values in (("mean", counted.mean), ("std", counted.std))
    ]
    for head, labels in counted.heads.items():
        classes = labels.as_dict()["classes"]
        rows = [(c["name"], c["pixels"], c["share"], c["images"]) for c in classes]
        title = f"{data}, {split}{dataset.of_head(head)}"
        table(title, ("class", "pixels", "share", "pictures with it"), rows)
        facts.append((f"void pixels{dataset.of_head(head)}", f"{labels.void:,}"))
    table("", ("fact", "value"), facts)


@app.command("split")
def split_data(
    data: DataPath,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder for the lists (else in DATA)")
    ] = None,
    held: Annotated[float, typer.Option(help="share of pictures in val")] = 0.2,
    test: Annotated[float, typer.Option(help="share of pictures in test")] = 0,
    folds: Annotated[int, typer.Option(help="cross-validation: foldI-train, foldI-val")] = 0,
    by: Annotated[
        str,
        typer.Option(
            help="what stays whole: group, folder, name, picture, or a REGEX of names; "
            "blocks or pixels of each picture (of one alone: blocks)"
        ),
    ] = "",
    gap: Annotated[int, typer.Option(help="pixels between blocks; -1: fcn-spectral's sight")] = -1,
    stratified: Annotated[
        bool, typer.Option("--stratified", help="each split gets its share of each class")
    ] = False,
    seed: Annotated[int, typer.Option(help="another seed, another split")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace lists that are there")] = False,
    values: Values = "",
    json: Json = False,
) -> None:
    """Draw train, val and test, or folds, and write their lists; groups stay whole."""
    from pixelwise.data import splitting
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.listing import write_splits
    from pixelwise.data.within import write_parts
    from pixelwise.errors import UsageError

    shares = splitting.Shares(held, test, folds)
    dataset = open_dataset(data, values=values)
    folder = out or dataset.lists
    if folder is None:
        what = f"{data} ({dataset.layout}) says itself what its splits are, and reads no lists"
        hint = f"pixelwise data convert {data} OUT, and split OUT; or -o FOLDER"
        raise UsageError("U002", what, hint)
    splitting.refuse_taken_lists(folder, [*shares.splits(dict.fromkeys(shares.parts, ()))], force)
    by = by or ("blocks" if len(dataset.all_items()) == 1 else "group")
    with progress("counting", len(dataset.all_items()), quiet=json) as advance:
        if by in ("blocks", "pixels"):
            drawn = write_parts(folder, dataset, shares, by, gap=gap, seed=seed)
        else:
            drawn = splitting.draw(
                dataset, shares, by=by, seed=seed, stratified=stratified, watch=advance
            )
            lists = {split: [i.name for i in items] for split, items in drawn.splits.items()}
            write_splits(folder, lists)
    if json:
        emit_json({"folder": str(folder), **drawn.as_dict(dataset.classes)})
    else:
        _print_drawn(drawn, dataset.classes)
    counts = ", ".join(f"{split} {len(items)}" for split, items in drawn.splits.items())
    say(f"{counts}, in {folder}")


def _print_drawn(drawn: Drawn, classes: Sequence[str]) -> None:
    """Of folds what each is judged on: it is trained on all else."""
    told = {split: row for split, row in drawn.pixels.items() if not split.endswith("-train")}
    rows = [(name, *(int(row[i]) for row in told.values())) for i, name in enumerate(classes)]
    table("pixels by class", ("class", *told), rows)
    if drawn.grouping.evidence:
        say(f"note: no group is parted: {drawn.grouping.evidence}")
    for note in drawn.notes:
        say(f"note: {note}")
    for split, names in drawn.absent(classes).items():
        if names:
            say(f"warning: no pixel of {first_few([f'`{n}`' for n in names], 10)} in {split}")


@app.command("view")
def view_data(
    data: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE", help="page to write")],
    count: Annotated[int, typer.Option(min=1, help="pictures to show")] = 24,
    values: Values = "",
    json: Json = False,
) -> None:
    """One page to look at: classes with colours and counts, problems, pictures with labels.

    It needs no network and runs no script; of large sets a sample is shown.
    """
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.inspect import inspect
    from pixelwise.pages.data_view import write_view

    dataset = open_dataset(data, strict=False, values=values)
    with progress("reading", len(dataset.all_items()), quiet=json) as advance:
        inspection = inspect(dataset, watch=advance)
    place = write_view(inspection, out, count=count)
    facts = {"problems": len(inspection.problems), "warnings": len(inspection.remarks)}
    if json:
        emit_json({"page": str(place), "pictures": len(dataset.all_items()), **facts})
    else:
        typer.echo(place)
        told = ", ".join(f"{number} {what}" for what, number in facts.items() if number)
        say(f"{told or 'no problems'}; open the page in any browser")


@app.command("convert")
def convert_data(
    data: DataPath,
    out: NewFolder,
    values: Values = "",
    class_map: ClassMapFile = None,
    label_scale: Annotated[int, typer.Option(min=1, help="labels are N times as fine")] = 1,
    shards: Annotated[str, typer.Option(metavar="SIZE", help="in tars of, e.g., 256MiB")] = "",
    json: Json = False,
) -> None:
    """To the canonical layout: images/, labels/ (palette PNG), splits/, dataset.json."""
    from pixelwise.cli.arguments import parse_bytes
    from pixelwise.data.class_merging import merged, read_map
    from pixelwise.data.convert import convert
    from pixelwise.data.formats.layouts import open_dataset

    size = parse_bytes(shards, "--shards")
    before = open_dataset(data, values=values).with_label_scale(label_scale)
    renames = read_map(class_map) if class_map else {}
    dataset = merged(before, renames)
    for note in dataset.notes:
        say(f"note: {note}")
    count = len(dataset.all_items())
    with progress("writing", count, quiet=json) as advance:
        convert(dataset, out, shards=size, watch=advance)
    told = {"before": _pixels(before, json), "after": _pixels(dataset, json)} if renames else {}
    if json:
        splits = {name: len(items) for name, items in dataset.splits.items()}
        facts = {"folder": str(out), "pictures": count, "splits": splits}
        emit_json(facts | ({"pixels": told} if told else {}))
    else:
        for when, pixels in told.items():
            table(f"pixels {when} {class_map}", ("class", "pixels"), [*pixels.items()])
    say(f"wrote {count} pictures to {out}")


def _pixels(dataset: DataSet, quiet: bool) -> dict[str, int]:
    """Class of the first head to its pixels."""
    from pixelwise.data.splitting import class_pixels

    items = dataset.all_items()
    with progress("counting", len(items), quiet=quiet) as advance:
        counts, _ = class_pixels(dataset, items, advance)
    columns = zip(*counts.values(), strict=True)
    return {name: int(sum(column)) for name, column in zip(dataset.classes, columns, strict=False)}


@make.command("scenes")
def make_scenes(
    out: NewFolder,
    count: Annotated[int, typer.Option(help="how many")] = 200,
    size: Annotated[str, typer.Option(metavar="HxW", help="of the pictures")] = "96x128",
    seed: Annotated[int, typer.Option(help="another seed, other scenes")] = 0,
    json: Json = False,
) -> None:
    """Rooms and streets with colour, depth, semantic and geometric labels, known exactly."""
    from pixelwise.cli.arguments import parse_size
    from pixelwise.data.scenes import write

    with progress("making scenes", count, quiet=json) as advance:
        write.make_scenes(out, count=count, size=parse_size(size), seed=seed, watch=advance)
    if json:
        emit_json({"folder": str(out), "scenes": count, "seed": seed})
    say(f"made {count} scenes in {out}")
