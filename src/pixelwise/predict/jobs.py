"""Many pictures through one model: a plan that can be printed, then carried out.

Every output is written whole or not at all, and counts as made by its record
(``prediction_records``). ``manifest.json`` names the model: two models in one folder are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pixelwise.errors import DataError, PixelwiseError, Stopped, UsageError, unknown_name
from pixelwise.folders import MAKER, MANIFEST, is_predictions
from pixelwise.machine.files import atomic_write, remove_leftovers, write_json
from pixelwise.machine.signals import caught
from pixelwise.pictures import reading
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.predict import prediction_records, saving
from pixelwise.predict.model import Model
from pixelwise.predict.prediction import Prediction, find_class
from pixelwise.predict.prediction_records import Record
from pixelwise.predict.sources import Job, find


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

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return vars(self)


def plan(
    sources: Sequence[str], out: Path, *, save: str, shard: str = "1/1", split: str = ""
) -> Plan:
    """Find the pictures; two that would write one file are refused before anything is made.

    With ``split`` the sources are data sets, and the pictures those of one split of them.

    Raises:
        UsageError: unknown outputs, a bad shard, the output folder among the inputs.
        DataError: a source that is not there, no picture at all, colliding names.
    """
    kinds = tuple(dict.fromkeys(k.strip() for k in save.split(",") if k.strip()))
    for kind in kinds:
        if kind not in saving.ENDS:
            raise unknown_name("output", kind, tuple(saving.ENDS))
    if not kinds:
        raise UsageError("U002", "--save names no output", f"--save {','.join(saving.ENDS)}")
    part, parts = _shard(shard)
    jobs, left_out = find(sources, out, split=split)
    if saving.HEAT in kinds:
        _refuse_heat_collisions(jobs)
    failures = "failures.jsonl" if parts == 1 else f"failures-{part}-of-{parts}.jsonl"
    return Plan(tuple(jobs[part - 1 :: parts]), out, kinds, failures, tuple(left_out))


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        message = f"--shard is {text}, expected I/N with 1 <= I <= N"
        raise UsageError("U002", message, "--shard 1/4")
    return part, parts


def _refuse_heat_collisions(jobs: Sequence[Job]) -> None:
    """``a.jpg`` has its heat maps in ``a_heat/``, where the labels of ``a_heat/b.jpg`` would go."""
    folders = {f"{job.name}{saving.ENDS[saving.HEAT]}".casefold(): job for job in jobs}
    for job in jobs:
        for parent in Path(job.name).parents:
            other = folders.get(parent.as_posix().casefold())
            if other:
                raise DataError(
                    "D030",
                    f"the heat maps of {other.source} would lie among the outputs of {job.source}",
                    "predict them into different folders",
                )


def carry_out(
    plan: Plan,
    model: Model,
    *,
    heat: Sequence[str] = (),
    force: bool = False,
    watch: Callable[[], object] = lambda: None,
) -> Done:
    """Predict what is not there yet.

    Args:
        plan: of ``plan``.
        model: to predict with.
        heat: classes whose heat maps are drawn; without them the ``TOP`` largest of each picture.
        force: make everything anew, also over another model's outputs.
        watch: called after each picture.

    Raises:
        UsageError: U003 the folder holds another model's outputs, or files that are not ours; U001
            an unknown class; U002 a net of several heads.
        ResourceError: the disk is full or not writable.
        Stopped: a signal came; finished outputs are kept.
    """
    model.predictor.only_head()  # one label map a picture is written
    shown = [find_class(name, model.classes) for name in heat]
    work = _Work(plan, model, saving.parts(plan.kinds, shown), force)
    _claim(work)
    done = Done()
    with caught() as seen:
        for job in plan.jobs:
            _one(work, job, done)
            watch()
            if seen.signal:
                break
    _list_failures(plan, done)
    if seen.signal:
        count = done.made + done.skipped + len(done.kept) + len(done.failures)
        raise Stopped(
            seen.signal,
            f"stopped after {count} of {len(plan.jobs)} pictures; finished outputs are kept",
            "run the same command again to go on",
        )
    return done


def _list_failures(plan: Plan, done: Done) -> None:
    path = plan.out / plan.failures
    if done.failures:
        atomic_write(path, "".join(json.dumps(f) + "\n" for f in done.failures))
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Work:
    plan: Plan
    model: Model
    wanted: tuple[str, ...]
    """``saving.parts`` that are asked for."""
    force: bool

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What outputs depend on beside the picture."""
        predictor = self.model.predictor
        view, precision = predictor.view.as_dict(), predictor.runner.precision
        return {"sha256": self.model.header.sha256, "precision": precision, "view": view}


def _claim(work: _Work) -> None:
    """Note which model the folder belongs to; refuse to mix two, or to replace foreign files."""
    plan, model, out = work.plan, work.model, work.plan.out
    if is_predictions(out) and not work.force:
        known = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        differing = {k: v for k, v in work.identity.items() if known.get(k) != v}
        how = ", ".join(f"{k} was {known.get(k)}, is {v}" for k, v in differing.items())
        if "sha256" in differing:
            how = f"by another model, {known.get('model')}"
        if differing:
            raise UsageError(
                "U003",
                f"the outputs in {out} were made otherwise ({how})",
                "choose another -o, or --force to make them anew",
            )
    elif not work.force:
        outputs = (saving.path(out, job.name, kind) for job in plan.jobs for kind in plan.kinds)
        foreign = next((path for path in outputs if path.exists()), None)
        if foreign:
            raise UsageError(
                "U003",
                f"{foreign} exists and was not made by pixelwise",
                "choose another -o, or --force to replace it",
            )
    facts = {"model": str(model.path), "net": model.header.net, "classes": list(model.classes)}
    write_json(out / MANIFEST, {"made_by": MAKER, **work.identity, **facts})
    names = {job.name for job in plan.jobs}
    written = {(out / name).parent for name in names}
    written |= {saving.path(out, name, saving.HEAT) for name in names}
    for folder in {out} | written | {prediction_records.place(out, name).parent for name in names}:
        remove_leftovers(folder)


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
        mine = None if work.force else prediction_records.altered(out, at_stake)
        if mine and same.kinds and _is_picture(mine):
            done.kept.append({"path": str(job.source), "kept": str(mine)})
            return
        if mine:
            raise _altered(job, mine)
        prediction = _predict(work.model, job, data, kinds)
        prediction_records.begin(out, job.name, kinds)
        written = {k: saving.write(k, out, job.name, prediction, header) for k in kinds}
        made = prediction_records.summed(out, written)
        record = Record(made_from, made, prediction.areas())
        now = prediction_records.record(out, job.name, record)
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


def _altered(job: Job, path: Path) -> UsageError:
    """Outputs that were changed, and belong to another picture or model now, or are damaged."""
    return UsageError(
        "U003",
        f"{path} was changed since it was made from {job.source}",
        "move it away and run again, or --force to make everything anew",
    )
