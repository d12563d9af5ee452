"""``pixelwise bench``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from pixelwise.cli.console import emit_json, say, table
from pixelwise.cli.options import Json, Threads

Subject = Annotated[
    str, typer.Argument(metavar="[NET|MODEL]", help="net, run, checkpoint, ONNX or OpenVINO file")
]
Only = Annotated[str, typer.Option(help="labels, pixels, threads or classes")]
Ways = Annotated[str, typer.Option(metavar="NAME,...", help="these ways (all that are here)")]
Size = Annotated[str, typer.Option(metavar="HxW", help="of the picture")]
Rounds = Annotated[int, typer.Option(min=1, help="turns of each way")]
NoMemory = Annotated[bool, typer.Option("--no-memory", help="leave peak memory out")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="keep the result in this folder")]
Against = Annotated[Path | None, typer.Option(help="a kept result: exit 1 if a ratio fell")]


def bench(
    subject: Subject = "fcn8s-vgg16",
    only: Only = "labels",
    ways: Ways = "",
    size: Size = "500x500",
    rounds: Rounds = 5,
    threads: Threads = 0,
    no_memory: NoMemory = False,
    out: Out = None,
    against: Against = None,
    json: Json = False,
) -> int:
    """Speed and memory of this machine beside installed peers.

    A net of the catalogue gets random weights. Ways take turns in one run, and only
    their ratios mean anything: what else the machine does is printed.
    """
    from pixelwise.workflows.bench import results

    before = results.read(against) if against else None
    with tempfile.TemporaryDirectory() as scratch:
        made = _measured(subject, only, ways, size, rounds, threads, not no_memory, Path(scratch))
    if out is not None:
        made["kept"] = str(results.keep(made, out))
    worse = list(results.fallen(made, before)) if before else []
    if json:
        emit_json({**made, "fallen": worse})
    else:
        _print(made)
    for text in worse:
        say(text)
    return 1 if worse else 0


def _measured(
    subject: str,
    only: str,
    ways: str,
    size: str,
    rounds: int,
    threads: int,
    memory: bool,
    scratch: Path,
) -> dict[str, Any]:
    from pixelwise.cli.arguments import parse_size
    from pixelwise.errors import UsageError, unknown_name
    from pixelwise.machine.environment import use_threads
    from pixelwise.nets import catalog
    from pixelwise.weights.sniff import weight_file
    from pixelwise.workflows.bench import labels, scaling
    from pixelwise.workflows.bench.timing import threads_used
    from pixelwise.workflows.bench.ways import WAYS, random_checkpoint

    if only not in ("labels", *scaling.ALONG):
        raise unknown_name("measurement", only, ("labels", *scaling.ALONG))
    chosen = tuple(name.strip() for name in ways.split(",")) if ways else WAYS
    for name in chosen:
        if name not in WAYS:
            raise unknown_name("way", name, WAYS)
    use_threads(threads)
    count, shown = threads_used(), parse_size(size)
    if only != "labels":
        catalog.entry(subject)  # a model has one number of classes, and none is needed here
        if ways:
            raise UsageError("U002", f"--ways and --only {only}: it has its own", "leave one out")
        return scaling.scale(only, subject, scratch, size=shown, threads=count, rounds=rounds)
    file = Path(subject)  # nets of the catalogue have no suffix and lie in no folder
    named = file.exists() or bool(file.suffix) or len(file.parts) > 1
    path = weight_file(file) if named else random_checkpoint(subject, scratch)
    return labels.measure(labels.Task(path, shown, count, rounds, chosen, memory), scratch)


def _print(made: dict[str, Any]) -> None:
    say(f"{made['machine']}; {made['threads']} threads; {made['versions']}")
    say(f"cores that other processes kept busy: {made['others_cpu']}")
    for name, why in made["missing"].items():
        say(f"{name}: not measured ({why})")
    along, name = made["benchmark"], made["net"]
    if along != "labels":
        grown = [(r["way"], r[along], r["ms"], r["peak_mb"]) for r in made["rows"]]
        table(f"{name} with more {along}", ("way", along, "ms", "peak MB"), grown)
        return
    say(f"kernels: {made['kernels']}; a product of matrices: {made['ceiling_gflops']} GFLOP/s")
    if made["paper_ms_on_k40"]:
        share = f"{100 * made['paper_of_ceiling']:.0f} % of its peak"
        say(f"the paper: {made['paper_ms_on_k40']} ms on a Tesla K40, {share}")
    columns = ("way", "ms", "quartiles", "times ours", "% of ceiling", "error", "differ", "peak MB")
    table(f"{name}, {made['size']}", columns, [_cells(row) for row in made["rows"]])


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    low, high = row["quartiles"]
    share, error = f"{100 * row['of_ceiling']:.0f}", f"{row['error']:.0e}"
    spread, times = f"{low:.0f} to {high:.0f}", f"{row['times_first']:.2f}"
    return row["way"], row["ms"], spread, times, share, error, row["differ"], row.get("peak_mb")
