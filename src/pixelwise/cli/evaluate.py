"""``pixelwise evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli import options
from pixelwise.cli.console import emit_json, say
from pixelwise.cli.scores import show, show_confidence
from pixelwise.errors import UsageError
from pixelwise.machine.memory import freed_memory_kept
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.data.dataset import DataSet
    from pixelwise.evaluation.evaluate import Evaluation
    from pixelwise.predict.model import Model


def evaluate(
    model: options.ModelPath,
    data: options.DataPath,
    split: Annotated[str, typer.Option(help="split to evaluate on")] = "val",
    values: options.Values = "",
    protocol: options.Protocols = "paper",
    heads: Annotated[str, typer.Option(help="only these heads, after commas")] = "",
    save: Annotated[Path | None, typer.Option(help="folder for the guessed label maps")] = None,
    mask: Annotated[
        str, typer.Option(help="hide by labels: foreground, background, or all but the shape")
    ] = "none",
    others: options.With = None,
    zoom: options.Zoom = "",
    mirror: options.Mirror = False,
    stitch: options.Stitch = None,
    crf: options.Crf = False,
    reject: options.Reject = None,
    calibrate: Annotated[
        str, typer.Option(metavar="SPLIT", help="fit the run's temperature to this split")
    ] = "",
    min_area: options.MinArea = "",
    fill_holes: options.FillHoles = "",
    precision: options.Precision = "",
    device: options.Device = "auto",
    threads: options.Threads = 0,
    ray: options.Ray = False,
    json: options.Json = False,
) -> None:
    """Score a model on a split: the paper's four metrics, per class, other protocols by name."""
    from pixelwise.cli.arguments import load_model, sieve_of
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.metrics.protocols import choose
    from pixelwise.predict import on_data
    from pixelwise.scale import evaluating

    names = choose([name.strip() for name in protocol.split(",") if name.strip()])
    if calibrate:
        _refuse_no_run(model, others or ())
    if ray and (calibrate or reject is not None):
        _refuse_confidence()
    sieve = sieve_of(reject, min_area, fill_holes)
    view = {"zooms": zoom, "mirror": mirror, "stitch": stitch, "sieve": sieve}
    load = partial(load_model, model, others or (), view, crf=crf, precision=precision)
    loaded = load(device="cpu" if ray else device, threads=threads)  # workers have theirs
    chosen = tuple(name.strip() for name in heads.split(",") if name.strip())
    dataset = loaded.fitting(open_dataset(data, values=values), chosen)
    on_cluster = partial(evaluating.evaluate, load, device=device, threads=threads)
    score = on_cluster if ray else partial(on_data.evaluate, loaded)
    bar = progress(f"evaluating {split}", len(dataset.items(split)), quiet=json)
    with bar as advance, freed_memory_kept():
        evaluation = score(dataset, split, keep=save, mask=mask, watch=advance)
    sure = {}
    if calibrate or reject is not None:
        fit = (calibrate, model) if calibrate else None
        sure = _confidence(loaded, dataset, split, fit, quiet=json)
    if json:
        facts = {"model": str(loaded.path), "data": str(data), "split": split, "mask": mask}
        emit_json({**facts, **evaluation.as_dict(names), **({"confidence": sure} if sure else {})})
    else:
        _show(evaluation, names, sure)


def _show(evaluation: Evaluation, names: tuple[str, ...], sure: Mapping[str, Any]) -> None:
    show(evaluation, names)
    show_confidence(sure)
    say(f"{evaluation.seconds_per_image:.3f} s per picture")


def _refuse_confidence() -> None:
    what = "--ray with --calibrate or --reject, which look at probabilities in one process"
    raise UsageError("U002", what, "leave --ray out")


def _refuse_no_run(model: Path, others: Sequence[Path]) -> None:
    if others or not model.is_dir():
        what = "--calibrate keeps a temperature in a run folder, which "
        what += "an ensemble has not" if others else f"{model} is not"
        raise UsageError("U002", what, "pixelwise evaluate RUN DATA --calibrate SPLIT")


def _confidence(
    model: Model, dataset: DataSet, split: str, fit: tuple[str, Path] | None, *, quiet: bool
) -> dict[str, Any]:
    """How sure a model is on a split, after ``fit``: to another split, kept in the run folder."""
    from pixelwise.predict.calibration import calibrated, judged, keep

    if fit:
        count = len(dataset.items(fit[0]))
        with progress(f"calibrating on {fit[0]}", count, quiet=quiet) as advance:
            model = calibrated(model, dataset, fit[0], advance)
    with progress(f"confidence on {split}", len(dataset.items(split)), quiet=quiet) as advance:
        sure = judged(model, dataset, split, advance)
    if fit:
        say(f"wrote {keep(fit[1], model, sure, fitted_on=fit[0], judged_on=split)}")
    return sure
