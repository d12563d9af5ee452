"""``pixelwise train``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.console import emit_json, remarks_said, say, table
from pixelwise.cli.options import (
    ClassMapFile,
    Device,
    Json,
    Log,
    NetName,
    Settings,
    Threads,
    Values,
)
from pixelwise.errors import UsageError
from pixelwise.folders import RATES, RECIPE, REPORT, STATE, stages
from pixelwise.machine.progress import percent, progress

if TYPE_CHECKING:
    from pixelwise.training.draft import Plan
    from pixelwise.training.recipe import Recipe


def train(
    source: Annotated[
        str, typer.Argument(metavar="DATA|RECIPE", help="data folder or YAML recipe")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="run folder")],
    net: NetName = "",
    weights: Annotated[str, typer.Option(help="weights or run to start from")] = "",
    values: Values = "",
    class_map: ClassMapFile = None,
    epochs: Annotated[float, typer.Option(help="length in passes over the data")] = 0,
    iterations: Annotated[int, typer.Option(help="length in optimizer steps")] = 0,
    minutes: Annotated[float, typer.Option(help="length in time")] = 0,
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "",
    device: Device = "",
    threads: Threads = 0,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where the run stopped")] = False,
    log: Log = "",
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="only look for a rate: RUN/find-lr.html")
    ] = False,
    json: Json = False,
) -> None:
    """Train a net; what is not said is planned from DATA, and told.

    Of --net, or a recipe, the rest has its defaults. --resume goes on bit
    for bit. RUN gets recipe.yaml, journal.jsonl, weights/, state/,
    evaluation/ and report.html; of stages a folder of these for each.
    """
    from pixelwise.training import processes

    number = processes.launched()
    resume = resume or (number > 0 and not find_lr)  # torchrun gives the same command again
    named = {
        "net": net,
        "weights": weights,
        "values": values,
        "epochs": epochs,
        "iterations": iterations,
        "minutes": minutes,
        "precision": precision,
        "device": device,
        "threads": threads,
        "devices": number if number > 1 else 0,
    }
    settings = [*_map_settings(class_map), *(settings or [])]
    if not (resume or find_lr):
        from pixelwise.training.folder import refuse_taken

        refuse_taken(out)  # before a plan is made, which takes seconds
    plan = _plan(source, out, _joined(named, settings), resume=resume)
    if find_lr:
        _find_rate(plan.recipe, out, steps=iterations, json=json)
    else:
        _train(plan, out, resume=resume, log=log, json=json)


def _train(plan: Plan, out: Path, *, resume: bool, log: str, json: bool) -> None:
    from pixelwise.adapters.loggers import logged, logger
    from pixelwise.training import processes
    from pixelwise.training.loop import train as carry_out
    from pixelwise.training.watching import watch_on

    first = processes.is_first()  # of several processes it alone speaks
    if first:
        _introduce(plan, out, resume=resume)
    level, quiet = (logging.INFO, json) if first else (logging.ERROR, True)
    with remarks_said(level), progress("training", 1.0, amount=percent, quiet=quiet) as bar:
        names = log.split(",") if log and first else ()
        loggers = [logger(name, out) for name in names]
        with logged(out, loggers, watch_on(bar)) as watch:
            best = carry_out(plan.recipe, out, resume=resume, watch=watch, reasons=plan.lines)
    if first:
        say(f"weights: {best}\nreport:  {out / REPORT}")
    if first and json:
        emit_json(_outcome(best, out, plan))


def _map_settings(path: Path | None) -> list[str]:
    if path is None:
        return []
    from pixelwise.data.class_merging import read_map

    return [f"map.{old}={new}" for old, new in read_map(path).items()]


def _outcome(best: Path, out: Path, plan: Plan) -> dict[str, object]:
    """What a run kept, and each of its stages; why it was planned so."""
    from pixelwise.weights.checkpoint import read_header
    from pixelwise.weights.sniff import weight_file

    def facts(weights: Path) -> dict[str, object]:
        header = read_header(weights)
        return {"weights": str(weights), "step": header.step, "scores": dict(header.scores)}

    each = [{"stage": s.name.partition("-")[2], **facts(weight_file(s))} for s in stages(out)]
    told = {"stages": each, "plan": [asdict(choice) for choice in plan.choices]}
    return {**facts(best), "report": str(out / REPORT), **{k: v for k, v in told.items() if v}}


def _joined(named: Mapping[str, object], settings: list[str]) -> list[str]:
    """Options and ``--set`` as one list of settings; what is given in both ways is refused."""
    given = {key: f"{key}={value}" for key, value in named.items() if value}
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if key in given:
            message = f"--{key} and --set {setting} both give {key}"
            raise UsageError("U002", message, "give it once")
    return [*given.values(), *settings]


def _plan(source: str, out: Path, settings: list[str], *, resume: bool) -> Plan:
    """What is meant: a YAML file, the run's own recipe when resuming, or a plan for a folder."""
    from pixelwise.training.draft import Plan
    from pixelwise.training.planning import planned
    from pixelwise.training.recipe_text import read_recipe

    if source.endswith((".yaml", ".yml")):
        return Plan(read_recipe(Path(source), settings))
    if resume and (out / RECIPE).exists():
        return Plan(read_recipe(out / RECIPE, [f"data={source}", *settings]))
    if not source:
        raise UsageError("U002", "the name of the data folder is empty", "check its variable")
    return planned(str(Path(source)), settings)


def _introduce(plan: Plan, out: Path, *, resume: bool) -> None:
    recipe, begun = plan.recipe, (out / STATE).is_dir() or bool(stages(out))
    if resume:
        say(f"going on with {out}" if begun else f"{out} holds no saved state: beginning anew")
    if plan.choices:
        say(f"planned (change with --set NAME=VALUE; kept in {out / RECIPE}):")
    for line in plan.lines:
        say(f"  {line}")
    for number, (name, stage) in enumerate(recipe.by_stage().items(), start=1):
        say(f"stage {number}, {name}: {_described(stage)}")
    if not recipe.stages:
        say(_described(recipe, going_on=resume and begun))


def _described(recipe: Recipe, *, going_on: bool = False) -> str:
    """A run in one line; an unknown net is refused before anything is said of it."""
    from pixelwise.nets.catalog import entry

    entry(recipe.net)
    o = recipe.optim
    start = f"starting from {recipe.weights}" if recipe.weights else "from random weights"
    usual = asdict(type(recipe.loss)())
    losses = {k: v for k, v in asdict(recipe.loss).items() if v != usual[k] or k == "reduction"}
    loss = ", ".join(f"{name} {value}" for name, value in losses.items())
    return (
        f"{recipe.net} on {recipe.data} ({recipe.train_split}){'' if going_on else f', {start}'}; "
        f"{o.name} lr {o.lr:g}, loss: {loss}; "
        f"batch {recipe.batch}x{recipe.passes}, {recipe.precision}"
    )


def _find_rate(recipe: Recipe, out: Path, *, steps: int, json: bool) -> None:
    """Trials of rates, as a table, a page, or JSON; nothing is trained."""
    from pixelwise.pages.rates import write_rates
    from pixelwise.training.line_search import Trial, find_rate

    def told(trial: Trial) -> None:
        loss = "grew without end" if trial.loss is None else f"{trial.loss:.4g}"
        say(f"lr {trial.lr:.3g}: loss {loss}")

    search = find_rate(recipe, out, steps=steps, watch=told)
    facts = search.as_dict()
    page = write_rates(out / RATES, f"Learning rate for {out.name}", facts)
    if json:
        emit_json({**facts, "page": str(page)})
        return
    rows = [(t.lr, "grew without end" if t.loss is None else t.loss) for t in search.trials]
    table(f"{search.steps} steps each", ("learning rate", "loss"), rows)
    if search.proposal is None:
        say(f"no rate lowers the loss in {search.steps} steps: try more, --iterations N")
    else:
        say(f"proposed: --set optim.lr={search.proposal:.2g}")
    say(f"page: {page}")
