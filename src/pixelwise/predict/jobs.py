"""Many pictures through one model: a plan (``plan.py``) carried out.

Every output is written whole or not at all, and counts as made by its record
(``prediction_records``); whose the folder is stands in its manifest (``claim``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from heapq import nlargest
from pathlib import Path
from typing import Any

from pixelwise.errors import PixelwiseError, Stopped, UsageError
from pixelwise.machine.files import atomic_write, sha256
from pixelwise.machine.signals import Caught, caught
from pixelwise.pictures import reading
from pixelwise.pictures.imagefile import file_bytes, orientation_in
from pixelwise.pictures.recognise import SUFFIXES
from pixelwise.pictures.videos import is_camera
from pixelwise.predict import prediction_records, saving, summaries, videos
from pixelwise.predict.addresses import fetch_picture, is_address
from pixelwise.predict.claim import LOOK, Work, claim
from pixelwise.predict.exports import CVAT, LABELME, Original
from pixelwise.predict.model import Model
from pixelwise.predict.plan import Plan as Plan
from pixelwise.predict.plan import plan as plan
from pixelwise.predict.plan import refuse_folder_collisions, refuse_other_inputs
from pixelwise.predict.prediction import Prediction, find_class
from pixelwise.predict.prediction_records import Record
from pixelwise.predict.saving import Drawing, Target
from pixelwise.predict.sources import Job
from pixelwise.predict.summaries import Labelled
from pixelwise.settings import as_dict

DEFAULT = Drawing()


@dataclass
class Done:
    """What was done."""

    made: int = 0
    skipped: int = 0
    kept: list[dict[str, str]] = field(default_factory=list)
    """Pictures with an output that was changed by hand: nothing of theirs was touched."""
    failures: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    """Files of all pictures together."""
    uncertain: list[dict[str, Any]] = field(default_factory=list)
    """The pictures of which the net is least sure, the least first, if they were asked for."""


def carry_out(
    plan: Plan,
    model: Model,
    *,
    heat: Sequence[str] = (),
    drawing: Drawing = DEFAULT,
    force: bool = False,
    watch: Callable[..., object] = lambda *_: None,
) -> Done:
    """Predict what is not there yet; ``watch`` is called after each picture, and within videos.

    Heat maps are drawn of the classes in ``heat``, or else of the ``TOP`` largest of each picture.
    With ``force`` everything is made anew, also over another model's outputs.

    Raises:
        UsageError: U003 the folder holds another model's outputs, or files that are not ours; U001
            an unknown class or input; U002 nothing says where an input lies.
        DataError: D030 outputs of further heads would lie among those of pictures.
        ResourceError: the disk is full or not writable.
        Stopped: a signal came; finished outputs are kept.
    """
    refuse_other_inputs(plan, model)
    model, heads = model.coloured(drawing.colours), tuple(model.heads)
    bare = [_shown_class(name, model) for name in drawing.untinted]
    names = tuple(model.heads[head].classes[i] for head, i in bare)
    drawing = replace(drawing, untinted=names)
    refuse_folder_collisions(plan.jobs, [*heads[1:], *{LABELME, CVAT}.intersection(plan.kinds)])
    shown = [_shown_class(name, model) for name in heat]
    view, precision = as_dict(model.predictor.view), model.predictor.runner.precision
    if view["stitch"] == 1:  # folders of versions without it stay as they are
        del view["stitch"]
    identity = {"sha256": model.header.sha256, "precision": precision, "view": view}
    if drawing.facts:
        identity[LOOK] = drawing.facts
    parts = saving.parts(plan.per_picture, shown, heads)
    work = Work(plan, model, parts, identity, drawing, force)
    claim(work)
    done, there = Done(), list[Job]()
    with caught() as stop:
        for job in plan.jobs:
            made = _video(work, job, done, stop, watch) if job.video else _one(work, job, done)
            there += [job] if made else []
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
    folders = dict(zip(heads, work.folders, strict=True))
    of_all = Labelled(there, folders, plan.shard)
    done.summaries = [*map(str, summaries.write(plan.kinds, of_all, model, drawing))]
    done.uncertain = nlargest(plan.uncertain, _unsure(done), key=lambda r: r["uncertainty"])
    if plan.uncertain:
        done.summaries.append(str(_list_uncertain(plan, done)))
    return done


def _list_uncertain(plan: Plan, done: Done) -> Path:
    """A list that ``predict`` takes again, of files each once."""
    paths = dict.fromkeys(str(r["path"]) for r in done.uncertain)
    lines = (p if is_address(p) else str(Path(p).absolute()) for p in paths)
    place = plan.out / f"uncertain{plan.shard}.txt"
    return atomic_write(place, "".join(f"{line}\n" for line in lines))


def _unsure(done: Done) -> list[dict[str, Any]]:
    return [
        {"path": r["path"], "output": r["outputs"][0], "uncertainty": r["uncertainty"]}
        for r in done.results
        if r.get("uncertainty") is not None
    ]


def _shown_class(name: str, model: Model) -> tuple[str, int]:
    """Head and number of a class, in the first head that has one of this name."""
    for head, own in model.heads.items():
        with suppress(UsageError):
            return head, find_class(name, own.classes)
    return next(iter(model.heads)), find_class(name, model.classes)  # says what is there


def _one(work: Work, job: Job, done: Done) -> bool:
    """Whether the picture has its outputs then."""
    out, wanted, header = work.plan.out, work.wanted, work.model.header
    try:
        if job.address:
            fetch_picture(job.address, job.source)
        files = job.files(work.model.inputs)
        # Read once: what is hashed is what is decoded; of several pages, for all of them.
        read = file_bytes if job.place is None else work.kept_bytes
        data = {name: read(path) for name, path in files.items()}
        made_from = {**_digests(data), **work.identity}
        known = prediction_records.read(out, job.name)
        same = known.of(made_from)
        kinds = wanted if work.force else prediction_records.missing(out, same, wanted)
        unsure = bool(work.plan.uncertain) and same.uncertainty is None
        if not kinds and not unsure:
            done.skipped += 1
            done.results.append(_result(work, job, same, made=False))
            return True
        if _is_kept(work, job, done, known, same, kinds):
            return True
        soft = unsure or saving.needs_probabilities(kinds)
        prediction = _predict(work.model, files, job.pictures(data, work.model.inputs), soft)
        # Only now: a picture that cannot be labelled leaves its earlier outputs and record.
        prediction_records.begin(out, job.name, kinds)
        exported = {LABELME, CVAT}.intersection(work.plan.kinds)
        original = _original(job, data) if exported else None
        to = Target(out, job.name, header, work.drawing, original)
        written = {kind: saving.write(kind, prediction, to) for kind in kinds}
        areas = {h: own.areas() for h, own in (prediction.heads or {"": prediction}).items()}
        sure = prediction.uncertainty() if work.plan.uncertain and soft else None
        now = prediction_records.record(out, job.name, made_from, written, areas, sure)
    except PixelwiseError as error:
        _failed(work, job, done, error)
        return False
    done.made += bool(kinds)
    done.skipped += not kinds
    done.results.append(_result(work, job, now, made=bool(kinds)))
    return True


def _video(work: Work, job: Job, done: Done, stop: Caught, watch: Callable[..., object]) -> bool:
    """A video, which is made whole or again; of a damaged one what can be read stays."""
    out, header = work.plan.out, work.model.header
    parts = [part for part in work.wanted if part.rpartition("/")[2] in videos.KINDS]
    try:
        camera = is_camera(job.shown)
        made_from = {"source_sha256": "" if camera else sha256(job.source), **work.identity}
        known = prediction_records.read(out, job.record)
        same = known.of(made_from)
        if not (camera or work.force or prediction_records.missing(out, same, parts)):
            done.skipped += 1
            done.results.append(_result(work, job, same, made=False))
            return True
        if _is_kept(work, job, done, known, same, parts):
            return True
        prediction_records.begin(out, job.record, parts)
        to = Target(out, job.name, header, work.drawing)
        made = videos.label_video(work.model, job.shown, parts, to, stop, watch)
        if made.problem is None:
            now = prediction_records.record(out, job.record, made_from, made.files, {"": {}})
            done.made += 1
            done.results.append({**_result(work, job, now, made=True), "frames": made.frames})
        else:
            _failed(work, job, done, made.problem)
    except Stopped:  # is told for all
        return False
    except PixelwiseError as error:
        _failed(work, job, done, error)
        return False
    return True


def _is_kept(
    work: Work, job: Job, done: Done, known: Record, same: Record, kinds: Sequence[str]
) -> bool:
    """Whether an output was changed by hand, which is told; ``same`` is what is known of now."""
    at_stake = same.files(kinds) if same.kinds else known.files()
    altered = None if work.force else prediction_records.altered(work.plan.out, at_stake)
    if altered and same.kinds and _is_picture(altered):
        done.kept.append({"path": job.shown, "kept": str(altered)})
        return True
    if altered:  # and of another picture or model now, or damaged: someone must decide
        raise UsageError(
            "U003",
            f"{altered} was changed since it was made from {job.shown}",
            "move it away and run again, or --force to make everything anew",
        )
    return False


def _failed(work: Work, job: Job, done: Done, error: PixelwiseError) -> None:
    # A full disk will not get better with the next picture; a smaller picture may fit.
    passing = error.code in ("R003", "R011") and len(work.plan.jobs) > 1
    if error.exit_code == 5 and not passing:
        raise error
    done.failures.append({"path": job.shown, **error.as_dict()})


def _original(job: Job, data: Mapping[str, bytes]) -> Original:
    """The file of a picture, where labels fit it as it stands: alone, and not to be turned."""
    suffix, (first, *others) = job.source.suffix.lower(), data.values()
    fits = not others and job.place is None and suffix in SUFFIXES and orientation_in(first) == 1
    return (suffix, first) if fits else None


def _digests(data: Mapping[str, bytes]) -> dict[str, Any]:
    """What tells the files of a picture from others: the first one's checksum, and the others'."""
    first, *further = (hashlib.sha256(content).hexdigest() for content in data.values())
    several = dict(zip([*data][1:], further, strict=True))
    return {"source_sha256": first, **({"inputs_sha256": several} if several else {})}


def _predict(
    model: Model, files: Mapping[str, Path], data: Mapping[str, Any], probabilities: bool
) -> Prediction:
    picture = data if len(data) > 1 else next(iter(data.values()))
    try:
        return model.predict(picture, probabilities=probabilities)
    except PixelwiseError as error:  # of bytes it does not know whose they are
        text = str(error).removeprefix(f"{reading.UNNAMED}: ")
        for name, path in files.items():
            text = text.replace(f"input `{name}`", str(path))
        first = str(next(iter(files.values())))
        error.args = (text if len(data) > 1 and first in text else f"{first}: {text}",)
        raise


def _result(work: Work, job: Job, known: Record, *, made: bool) -> dict[str, Any]:
    """What ``--json`` tells of a picture whose outputs are there, now or before."""
    return {
        "path": job.shown,
        "sha256": known.made_from["source_sha256"],
        "made": made,
        "outputs": [str(work.plan.out / path) for path in known.files(work.wanted)],
        "areas": known.areas,
        **({"heads": known.head_areas} if known.head_areas else {}),
        **({"uncertainty": known.uncertainty} if work.plan.uncertain else {}),
    }


def _is_picture(path: Path) -> bool:
    """Whole and readable: what was changed by hand is, what was damaged is not."""
    try:
        reading.read(path)
    except PixelwiseError:
        return False
    return True
