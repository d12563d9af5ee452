"""``pixelwise data``: look at data folders, count them, split them, convert them, make one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli import hha
from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import DataPath, Json, NewFolder
from pixelwise.cli.prepare import app as prepare
from pixelwise.errors import hxw
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.data.inspect import Inspection

app = typer.Typer(no_args_is_help=True, help="Check, count, split, convert and make data sets.")
make = typer.Typer(no_args_is_help=True, help="Make the embedded data set.")
app.add_typer(make, name="make")
app.add_typer(prepare, name="prepare")
app.command("hha")(hha.hha)


@app.command("inspect")
def inspect_data(data: DataPath, json: Json = False) -> None:
    """Read every file: layout, classes, sizes, splits, and every problem by file.

    Exits 3 when training would refuse the data, 0 when there are only warnings.
    """
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.inspect import inspect
    from pixelwise.errors import raise_all

    dataset = open_dataset(data, strict=False)
    with progress("reading", len(dataset.all_items()), quiet=json) as advance:
        inspection = inspect(dataset, watch=advance)
    if json and not inspection.problems:
        emit_json(inspection.as_dict())
    elif not json:
        _print(inspection)
    raise_all(data, inspection.problems)


def _print(inspection: Inspection) -> None:
    d, sizes = inspection.dataset, inspection.sizes()
    facts: list[tuple[object, ...]] = [
        ("layout", f"{d.layout} ({d.evidence})"),
        ("pictures", len(d.all_items())),
        ("read without a problem", sizes.total()),
        ("sizes (HxW)", ", ".join(f"{hxw(s)}: {n:,}" for s, n in sizes.most_common(5))),
        *(("note", note) for note in d.notes),
    ]
    table(str(d.root), ("what", "found"), facts)
    table("splits", ("split", "pictures"), [(s, len(items)) for s, items in d.splits.items()])
    for head, classes in d.classes_by_head.items():
        counts = inspection.pixels(head)
        rows = [(name, *(int(c[i]) for c in counts.values())) for i, name in enumerate(classes)]
        table(f"pixels by class{d.of_head(head)}", ("class", *counts), rows)
    for warning in inspection.warnings:
        say(f"warning: {warning}")
    if not inspection.problems:
        say("no problems: this data can be trained on")


@app.command("stats")
def stats(
    data: DataPath,
    split: Annotated[str, typer.Option(help="split to count")] = "train",
    json: Json = False,
) -> None:
    """Pixels and pictures by class, mean and deviation of the channels."""
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.statistics import statistics

    dataset = open_dataset(data)
    with progress("counting", len(dataset.items(split)), quiet=json) as advance:
        counted = statistics(dataset, split, watch=advance)
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
    held: Annotated[float, typer.Option(help="share of pictures to hold out")] = 0.2,
    seed: Annotated[int, typer.Option(help="another seed, another split")] = 0,
    json: Json = False,
) -> None:
    """Draw train and val, and write the lists into a data folder that has none."""
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.data.listing import write_splits
    from pixelwise.data.splits import by_seed
    from pixelwise.errors import UsageError

    if not 0 < held < 1:
        what = f"--held is {held}, expected a share between 0 and 1"
        raise UsageError("U002", what, "--held 0.2")
    dataset = open_dataset(data)
    if not dataset.drawn:
        hint = "its folders or lists say what the splits are; remove splits/ to draw others"
        raise UsageError("U002", f"{data} ({dataset.layout}) comes with splits of its own", hint)
    items = dataset.all_items()
    if len(items) < 2:
        what = f"{data} holds one picture, expected at least two to split"
        raise UsageError("U002", what, "add pictures")
    fit, out = by_seed(items, seed, held=held)
    folder = dataset.root / (
        "ImageSets/Segmentation" if dataset.layout in ("voc", "cvat") else "splits"
    )
    write_splits(folder, {"train": [i.name for i in fit], "val": [i.name for i in out]})
    if json:
        emit_json({"folder": str(folder), "train": len(fit), "val": len(out)})
    say(f"train {len(fit)}, val {len(out)}, in {folder}")


@app.command("convert")
def convert_data(data: DataPath, out: NewFolder, json: Json = False) -> None:
    """To the canonical layout: images/, labels/ (palette PNG), splits/, dataset.json."""
    from pixelwise.data.convert import convert
    from pixelwise.data.formats.layouts import open_dataset

    dataset = open_dataset(data)
    for note in dataset.notes:
        say(f"note: {note}")
    count = len(dataset.all_items())
    with progress("writing", count, quiet=json) as advance:
        convert(dataset, out, watch=advance)
    if json:
        splits = {name: len(items) for name, items in dataset.splits.items()}
        emit_json({"folder": str(out), "pictures": count, "splits": splits})
    say(f"wrote {count} pictures to {out}")


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

    write.make_scenes(out, count=count, size=parse_size(size), seed=seed)
    if json:
        emit_json({"folder": str(out), "scenes": count, "seed": seed})
    say(f"made {count} scenes in {out}")
