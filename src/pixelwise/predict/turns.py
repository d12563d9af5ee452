"""The turn of a picture in a plan: it is read, labelled and written.

While one picture is labelled the next is read and the one before is written.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pixelwise.errors import PixelwiseError, Stopped, UsageError
from pixelwise.machine import memory
from pixelwise.machine.files import resumed_folder, sha256
from pixelwise.machine.overlap import overlapped
from pixelwise.machine.signals import Caught
from pixelwise.pictures import reading
from pixelwise.pictures.imagefile import MAX_MEGAPIXELS, file_bytes, orientation_in
from pixelwise.pictures.large import open_large
from pixelwise.pictures.recognise import SUFFIXES
from pixelwise.pictures.shards import archive_of
from pixelwise.pictures.videos import is_camera
from pixelwise.predict import prediction_records, saving, videos
from pixelwise.predict.addresses import fetch_picture
from pixelwise.predict.claim import Work
from pixelwise.predict.exports import CVAT, LABELME, Original
from pixelwise.predict.large import PartLabels, refuse_other_kinds
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.prediction_records import Record
from pixelwise.predict.saving import Target
from pixelwise.predict.sources import Job


@dataclass(frozen=True)
class Outcome:
    """How the turn of a picture ended."""

    job: Job
    result: dict[str, Any] | None = None
    kept: dict[str, str] | None = None
    error: PixelwiseError | None = None
    partly: bool = False
    """Whether there are outputs in spite of the error."""
    large: bool = False
    """Whether the picture was labelled in parts, as ``watch`` was told while it was."""

    @property
    def reached(self) -> bool:
        """False: a signal came before."""
        return self.there or self.error is not None

    @property
    def there(self) -> bool:
        """Whether the picture has outputs."""
        return self.result is not None or self.kept is not None or self.partly


Source = Callable[[Work, Caught, Callable[..., object]], Generator[Outcome]]
"""How each picture of a plan ends, in order, until a signal comes; what is called within long ones
is last."""


def outcomes(work: Work, stop: Caught, watch: Callable[..., object]) -> Generator[Outcome]:
    """How each picture of the plan ends, in order, until a signal comes."""

    def staged(stage: _Stage, turn: _Turn | Outcome) -> _Turn | Outcome:
        if isinstance(turn, Outcome):
            return turn
        try:
            return stage(work, turn)
        except PixelwiseError as error:
            return Outcome(turn.job, error=error)

    def label(turn: _Turn | Outcome) -> _Turn | Outcome:
        if stop.signal and not isinstance(turn, Outcome):
            return Outcome(turn.job)
        if turn.job.video:
            return _video(work, turn.job, stop, watch)
        return staged(partial(_label, stop=stop, watch=watch), turn)

    turns = (_Turn(job) for job in takewhile(lambda _: not stop.signal, work.plan.jobs))
    for ended in overlapped(turns, partial(staged, _read), label, partial(staged, _write)):
        assert isinstance(ended, Outcome)
        if ended.reached:
            yield ended


@dataclass
class _Turn:
    """A picture on its way through reading, labelling and writing."""

    job: Job
    image: NDArray[Any] | None = None
    made_from: dict[str, Any] = field(default_factory=dict)
    kinds: Sequence[str] = ()
    """``saving.parts`` that are to be made."""
    unsure: bool = False
    """How sure the net is is asked for, and not known."""
    original: Original = None
    prediction: Prediction | None = None


_Stage = Callable[[Work, _Turn], _Turn | Outcome]


def _read(work: Work, turn: _Turn) -> _Turn | Outcome:
    """What there is to do, and the picture, if anything is."""
    job, out, inputs = turn.job, work.plan.out, work.model.inputs
    if job.video:
        return turn
    if job.address:
        fetch_picture(job.address, job.source)
    files = job.files(inputs)
    # Alone it is read, maybe in parts, in its turn; from a tar it is read whole.
    alone = memory.process_limit() and len(files) == 1 and not archive_of(job.source)
    # Read once: what is hashed is what is decoded; of several pages, for all of them.
    read = file_bytes if job.place is None else work.kept_bytes
    data = {} if alone else {name: read(path) for name, path in files.items()}
    sums = {"source_sha256": sha256(job.source)} if alone else _digests(data)
    turn.made_from = {**sums, **work.identity}
    known = prediction_records.read(out, job.name)
    same = known.of(turn.made_from)
    turn.kinds = work.wanted if work.force else prediction_records.missing(out, same, work.wanted)
    turn.unsure = bool(work.plan.uncertain) and same.uncertainty is None
    if not turn.kinds and not turn.unsure:
        return Outcome(job, _result(work, job, same, made=False))
    if kept := _kept(work, job, known, same, turn.kinds):
        return Outcome(job, kept=kept)
    if alone:
        return turn
    if {LABELME, CVAT}.intersection(work.plan.kinds):
        turn.original = _original(job, data)
    with _named(files):
        turn.image = work.model.image(job.given(data, inputs))
    return turn


def _label(
    work: Work, turn: _Turn, *, stop: Caught, watch: Callable[..., object]
) -> _Turn | Outcome:
    job, model = turn.job, work.model
    soft = turn.unsure or saving.needs_probabilities(turn.kinds)
    with _named(job.files(model.inputs)):
        if turn.image is None:
            folder = prediction_records.place(work.plan.out, job.name).parent
            form = model.predictor.preprocess.values, folder, model.predictor.bands
            picture = open_large(job.source, job.place, *form)
            blocks, area = model.predictor.blocks(picture.size), math.prod(picture.size)
            if blocks or picture.tags or area > MAX_MEGAPIXELS * 1e6:
                refuse_other_kinds(turn.kinds, job.source)
                labels = PartLabels(Path(), model, picture, blocks)
                return _in_parts(work, turn, labels, stop, watch)
            turn.image = model.image(picture.part(slice(None), slice(None)))
        turn.prediction = model.label(turn.image, probabilities=soft)
    return turn


def _in_parts(
    work: Work, turn: _Turn, labels: PartLabels, stop: Caught, watch: Callable[..., object]
) -> Outcome:
    """A picture that is cut, or too large to be written at once; what is made stays."""
    job, out = turn.job, work.plan.out
    if not turn.kinds:  # how sure the net is is not known of such pictures
        return Outcome(job, _result(work, job, prediction_records.read(out, job.name), made=False))

    def told(share: float) -> None:
        watch(share, job.source.name)
        stop.refuse("stopped within a picture", "run the same command again to go on")

    place = prediction_records.place(out, job.name).with_suffix(".parts")
    key = json.dumps([turn.made_from, *(s.columns for s in labels.blocks)], sort_keys=True)
    try:
        with resumed_folder(place, key) as folder:
            labels = replace(labels, folder=folder)
            labels.make(told)
            prediction_records.begin(out, job.name, turn.kinds)
            to, seen = Target(out, job.name, work.model.header, work.drawing), labels.overview()
            written = {kind: labels.save(kind, seen, to) for kind in turn.kinds}
            areas = labels.areas()
            now = prediction_records.record(out, job.name, turn.made_from, written, areas)
    except Stopped:  # is told for all
        return Outcome(job)
    place.rmdir()
    return Outcome(job, _result(work, job, now, made=True), large=True)


def _write(work: Work, turn: _Turn) -> Outcome:
    job, out, prediction = turn.job, work.plan.out, turn.prediction
    assert prediction is not None
    # Only now: a picture that cannot be labelled leaves its earlier outputs and record.
    prediction_records.begin(out, job.name, turn.kinds)
    to = Target(out, job.name, work.model.header, work.drawing, turn.original)
    written = {kind: saving.write(kind, prediction, to) for kind in turn.kinds}
    areas = {h: own.areas() for h, own in (prediction.heads or {"": prediction}).items()}
    sure = None
    if work.plan.uncertain and prediction.probabilities is not None:
        sure = prediction.uncertainty()
    now = prediction_records.record(out, job.name, turn.made_from, written, areas, sure)
    return Outcome(job, _result(work, job, now, made=bool(turn.kinds)))


def _video(work: Work, job: Job, stop: Caught, watch: Callable[..., object]) -> Outcome:
    """A video, which is made whole or again; of a damaged one what can be read stays."""
    out, header = work.plan.out, work.model.header
    parts = [part for part in work.wanted if part.rpartition("/")[2] in videos.KINDS]
    try:
        camera = is_camera(job.shown)
        made_from = {"source_sha256": "" if camera else sha256(job.source), **work.identity}
        known = prediction_records.read(out, job.record)
        same = known.of(made_from)
        if not (camera or work.force or prediction_records.missing(out, same, parts)):
            return Outcome(job, _result(work, job, same, made=False))
        if kept := _kept(work, job, known, same, parts):
            return Outcome(job, kept=kept)
        prediction_records.begin(out, job.record, parts)
        to = Target(out, job.name, header, work.drawing)
        made = videos.label_video(work.model, job.shown, parts, to, stop, watch)
        if made.problem is not None:
            return Outcome(job, error=made.problem, partly=True)
        now = prediction_records.record(out, job.record, made_from, made.files, {"": {}})
    except Stopped:  # is told for all
        return Outcome(job)
    except PixelwiseError as error:
        return Outcome(job, error=error)
    return Outcome(job, {**_result(work, job, now, made=True), "frames": made.frames})


def _kept(
    work: Work, job: Job, known: Record, same: Record, kinds: Sequence[str]
) -> dict[str, str] | None:
    """An output that was changed by hand, as it is told; ``same`` is what is known of now."""
    at_stake = same.files(kinds) if same.kinds else known.files()
    altered = None if work.force else prediction_records.altered(work.plan.out, at_stake)
    if altered and same.kinds and _is_picture(altered):
        return {"path": job.shown, "kept": str(altered)}
    if altered:  # and of another picture or model now, or damaged: someone must decide
        raise UsageError(
            "U003",
            f"{altered} was changed since it was made from {job.shown}",
            "move it away and run again, or --force to make everything anew",
        )
    return None


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


@contextmanager
def _named(files: Mapping[str, Path]) -> Iterator[None]:
    """Errors about bytes, which do not know whose they are, name the files."""
    try:
        yield
    except PixelwiseError as error:
        text = str(error).removeprefix(f"{reading.UNNAMED}: ")
        for name, path in files.items():
            text = text.replace(f"input `{name}`", str(path))
        first = str(next(iter(files.values())))
        error.args = (text if len(files) > 1 and first in text else f"{first}: {text}",)
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
