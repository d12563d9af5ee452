"""Many pictures through one model: a plan that can be printed, then carried out.

Every output is written whole or not at all, and counts as made by its record
(``prediction_records``). ``manifest.json`` names the model: two models in one folder are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.errors import DataError, PixelwiseError, UsageError, unknown_name
from pixelwise.folders import MAKER, MANIFEST, is_predictions
from pixelwise.machine.files import atomic_write, remove_leftovers, write_json
from pixelwise.machine.signals import caught
from pixelwise.pictures import reading
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.predict import prediction_records, saving
from pixelwise.predict.model import Model
from pixelwise.predict.prediction import Prediction, find_class
from pixelwise.predict.prediction_records import Record
from pixelwise.predict.sources import APART, Job, find, folded
from pixelwise.settings import as_dict


@dataclass(frozen=True)
class Plan:
    """What will be done."""

    jobs: tuple[Job, ...]
    out: Path
    kinds: tuple[str, ...]
    failures: str = "failures.jsonl"
    """File name for what fails; each shard has its own."""
    left_out: tuple[str, ...] = ()
    """Folders among the sources that are not taken for pictures, with the reason."""


@dataclass
class Done:
    """What was done."""

    made: int = 0
    skipped: int = 0
    kept: list[dict[str, str]] = field(default_factory=list)
    """Pictures with an output that was changed by hand: nothing of theirs was touched."""
    failures: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)


def plan(
    sources: Sequence[str], out: Path, *, save: str, shard: str = "1/1", split: str = ""
) -> Plan:
    """Find the pictures and name what will be made of them; see ``sources.find``.

    Raises:
        UsageError: unknown outputs, a bad shard, and as ``find``.
        DataError: as ``find``.
    """
    kinds = tuple(dict.fromkeys(k.strip() for k in save.split(",") if k.strip()))
    for kind in kinds:
        if kind not in saving.ENDS:
            raise unknown_name("output", kind, tuple(saving.ENDS))
    if not kinds:
        raise UsageError("U002", "--save names no output", f"--save {','.join(saving.ENDS)}")
    part, parts = _shard(shard)  # before pictures are looked for, which may take long
    jobs, left_out = find(sources, out, split=split)
    if saving.HEAT in kinds:
        _refuse_heat_collisions(jobs)
    failures = "failures.jsonl" if parts == 1 else f"failures-{part}-of-{parts}.jsonl"
    return Plan(tuple(jobs[part - 1 :: parts]), out, kinds, failures, tuple(left_out))


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match and 1 <= int(match[1]) <= int(match[2]):
        return int(match[1]), int(match[2])
    message = f"--shard is {text}, expected I/N with 1 <= I <= N"
    raise UsageError("U002", message, "--shard 1/4")


def _refuse_heat_collisions(jobs: Sequence[Job]) -> None:
    """``a.jpg`` has its heat maps in ``a_heat/``, where the labels of ``a_heat/b.jpg`` would go."""
    folders = {folded(f"{job.name}{saving.ENDS[saving.HEAT]}"): job for job in jobs}
    for job in jobs:
        for parent in Path(job.name).parents:
            if other := folders.get(folded(parent.as_posix())):
                where = f"among the outputs of {job.source}"
                message = f"the heat maps of {other.source} would lie {where}"
                raise DataError("D030", message, APART)


def carry_out(
    plan: Plan,
    model: Model,
    *,
    heat: Sequence[str] = (),
    force: bool = False,
    watch: Callable[[], object] = lambda: None,
) -> Done:
    """Predict what is not there yet; ``watch`` is called after each picture.

    Heat maps are drawn of the classes in ``heat``, or else of the ``TOP`` largest of each picture.
    With ``force`` everything is made anew, also over another model's outputs.

    Raises:
        UsageError: U003 the folder holds another model's outputs, or files that are not ours; U001
            an unknown class; U002 a net of several heads.
        ResourceError: the disk is full or not writable.
        Stopped: a signal came; finished outputs are kept.
    """
    _ = model.predictor.net.output  # one label map a picture is written: several are refused
    shown = [find_class(name, model.classes) for name in heat]
    view, precision = as_dict(model.predictor.view), model.predictor.runner.precision
    if view["stitch"] == 1:  # folders of versions without it stay as they are
        del view["stitch"]
    identity = {"sha256": model.header.sha256, "precision": precision, "view": view}
    work = _Work(plan, model, saving.parts(plan.kinds, shown), identity, force)
    _claim(work)
    done = Done()
    with caught() as stop:
        for job in plan.jobs:
            _one(work, job, done)
            watch()
            if stop.signal:
                break
    path = plan.out / plan.failures
    if done.failures:
        atomic_write(path, "".join(json.dumps(f) + "\n" for f in done.failures))
    else:
        path.unlink(missing_ok=True)
    count = done.made + done.skipped + len(done.kept) + len(done.failures)
    message = f"stopped after {count} of {len(plan.jobs)} pictures; finished outputs are kept"
    stop.refuse(message, "run the same command again to go on")
    return done


@dataclass(frozen=True)
class _Work:
    plan: Plan
    model: Model
    wanted: tuple[str, ...]
    """``saving.parts`` that are asked for."""
    identity: Mapping[str, Any]
    """What outputs depend on beside the picture."""
    force: bool


def _claim(work: _Work) -> None:
    """Note which model the folder belongs to; refuse to mix two, or to replace foreign files."""
    model, out = work.model, work.plan.out
    problem = "" if work.force else _belongs_to_others(work)
    if problem:
        raise UsageError("U003", problem, "choose another -o, or --force to make everything anew")
    facts = {"model": str(model.path), "net": model.header.net, "classes": list(model.classes)}
    write_json(out / MANIFEST, {"made_by": MAKER, **work.identity, **facts})
    written = {out}
    for name in (job.name for job in work.plan.jobs):
        written |= {(out / name).parent, prediction_records.place(out, name).parent}
        written.add(saving.path(out, name, saving.HEAT))
    for folder in written:
        remove_leftovers(folder)


def _belongs_to_others(work: _Work) -> str:
    """Why outputs may not be written into the folder, if so."""
    plan, out = work.plan, work.plan.out
    if not is_predictions(out):
        outputs = (saving.path(out, job.name, kind) for job in plan.jobs for kind in plan.kinds)
        foreign = next((path for path in outputs if path.exists()), None)
        return f"{foreign} exists and was not made by pixelwise" if foreign else ""
    before = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    differing = {k: v for k, v in work.identity.items() if before.get(k) != v}
    how = ", ".join(f"{k} was {before.get(k)}, is {v}" for k, v in differing.items())
    if "sha256" in differing:
        how = f"by another model, {before.get('model')}"
    return f"the outputs in {out} were made otherwise ({how})" if differing else ""


def _one(work: _Work, job: Job, done: Done) -> None:
    out, wanted, header = work.plan.out, work.wanted, work.model.header
    try:
        data = file_bytes(job.source)  # read once: what is hashed is what is decoded
        digest = hashlib.sha256(data).hexdigest()
        made_from = {"source_sha256": digest, **work.identity}
        known = prediction_records.read(out, job.name)
        same = known.of(made_from)
        kinds = wanted if work.force else prediction_records.missing(out, same, wanted)
        if not kinds:
            done.skipped += 1
            done.results.append(_result(work, job, same, made=False))
            return
        at_stake = same.files(kinds) if same.kinds else known.files()
        altered = None if work.force else prediction_records.altered(out, at_stake)
        if altered and same.kinds and _is_picture(altered):
            done.kept.append({"path": str(job.source), "kept": str(altered)})
            return
        if altered:  # and of another picture or model now, or damaged: someone must decide
            raise UsageError(
                "U003",
                f"{altered} was changed since it was made from {job.source}",
                "move it away and run again, or --force to make everything anew",
            )
        prediction = _predict(work.model, job, data, kinds)
        # Only now: a picture that cannot be labelled leaves its earlier outputs and record.
        prediction_records.begin(out, job.name, kinds)
        written = {k: saving.write(k, out, job.name, prediction, header) for k in kinds}
        areas = prediction.areas()
        now = prediction_records.record(out, job.name, made_from, written, areas)
    except PixelwiseError as error:
        # A full disk will not get better with the next picture; a smaller picture may fit.
        if error.exit_code == 5 and (error.code != "R003" or len(work.plan.jobs) == 1):
            raise
        done.failures.append({"path": str(job.source), **error.as_dict()})
        return
    done.made += 1
    done.results.append(_result(work, job, now, made=True))


def _predict(model: Model, job: Job, data: bytes, kinds: Sequence[str]) -> Prediction:
    try:
        return model.predict(data, probabilities=saving.needs_probabilities(kinds))
    except PixelwiseError as error:  # of bytes it does not know whose they are
        error.args = (f"{job.source}: {str(error).removeprefix(f'{reading.UNNAMED}: ')}",)
        raise


def _result(work: _Work, job: Job, known: Record, *, made: bool) -> dict[str, Any]:
    """What ``--json`` tells of a picture whose outputs are there, now or before."""
    return {
        "path": str(job.source),
        "sha256": known.made_from["source_sha256"],
        "made": made,
        "outputs": [str(work.plan.out / path) for path in known.files(work.wanted)],
        "areas": known.areas,
    }


def _is_picture(path: Path) -> bool:
    """Whole and readable: what was changed by hand is, what was damaged is not."""
    try:
        reading.read(path)
    except PixelwiseError:
        return False
    return True
