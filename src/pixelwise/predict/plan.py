"""What ``predict`` will do: a plan that can be printed, and why one cannot be carried out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.errors import DataError, UsageError, unknown_name
from pixelwise.nets.net import Net
from pixelwise.predict import saving
from pixelwise.predict.exports import CVAT, LABELME, flat
from pixelwise.predict.model import Model
from pixelwise.predict.sources import APART, Job, find, folded
from pixelwise.predict.videos import KINDS


@dataclass(frozen=True)
class Plan:
    """What will be done."""

    jobs: tuple[Job, ...]
    out: Path
    kinds: tuple[str, ...]
    shard: str = ""
    """Behind the names of files that each shard has of its own."""
    left_out: tuple[str, ...] = ()
    """Folders among the sources that are not taken for pictures, with the reason."""
    inputs: tuple[str, ...] | None = ()
    """Further inputs whose files were looked for; None: those that a data set has."""
    uncertain: int = 0
    """How many pictures are listed of which the net is least sure."""

    @property
    def failures(self) -> str:
        """File name for what fails."""
        return f"failures{self.shard}.jsonl"

    @property
    def per_picture(self) -> tuple[str, ...]:
        """The kinds of output that each picture has."""
        return tuple(kind for kind in self.kinds if kind in saving.ENDS)


def plan(
    sources: Sequence[str],
    out: Path,
    *,
    save: str,
    shard: str = "1/1",
    split: str = "",
    inputs: Sequence[str] = (),
    download: bool = False,
) -> Plan:
    """Find the pictures and name what will be made of them; see ``sources.find``.

    ``inputs`` are further ones, as ``depth=FOLDER``.

    Raises:
        UsageError: unknown outputs, a bad shard or input, and as ``find``.
        DataError: as ``find``.
    """
    kinds = tuple(dict.fromkeys(k.strip() for k in save.split(",") if k.strip()))
    for kind in kinds:
        if kind not in saving.KINDS:
            raise unknown_name("output", kind, saving.KINDS)
    if not kinds:
        raise UsageError("U002", "--save names no output", f"--save {','.join(saving.KINDS)}")
    if set(kinds) & set(saving.OF_ALL) and "labels" not in kinds:  # of which they are made
        kinds = (*kinds, "labels")
    part, parts = _shard(shard)  # before pictures are looked for, which may take long
    folders = _input_folders(inputs, split)
    jobs, left_out = find(sources, out, split=split, inputs=folders, download=download)
    if any(job.video for job in jobs):
        jobs = _without_vain_videos(jobs, kinds, left_out)
    _refuse_folder_collisions(jobs, heat=saving.HEAT in kinds)
    if {LABELME, CVAT} & set(kinds):
        _refuse_flat_collisions(jobs)
    suffix = "" if parts == 1 else f"-{part}-of-{parts}"
    chosen, named = tuple(jobs[part - 1 :: parts]), None if split else tuple(folders)
    return Plan(chosen, out, kinds, suffix, tuple(left_out), named)


def _input_folders(inputs: Sequence[str], split: str) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in inputs:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder) or name in folders:
            what = f"--input {text}: expected NAME=FOLDER, each input once"
            raise UsageError("U002", what, "--input depth=FOLDER")
        folders[name] = Path(folder)
    if folders and split:
        what = "--input and --split both say where inputs lie"
        raise UsageError("U002", what, "leave --input out: a data set names its inputs itself")
    return folders


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match and 1 <= int(match[1]) <= int(match[2]):
        return int(match[1]), int(match[2])
    message = f"--shard is {text}, expected I/N with 1 <= I <= N"
    raise UsageError("U002", message, "--shard 1/4")


def _without_vain_videos(jobs: list[Job], kinds: Sequence[str], left_out: list[str]) -> list[Job]:
    """The jobs that give something; U002 if all are videos of which nothing is saved."""
    first = next(job.shown for job in jobs if job.video)
    if others := [k for k in kinds if k not in (*KINDS, saving.AREAS)]:
        left_out.append(f"{', '.join(others)} of videos, such as {first}")
    if set(kinds) & set(KINDS):
        return jobs
    if pictures := [job for job in jobs if not job.video]:
        return pictures
    what = f"{first} is a video, of which {' and '.join(KINDS)} are saved"
    raise UsageError("U002", what, f"--save {','.join(KINDS)}")


def _refuse_folder_collisions(jobs: Sequence[Job], *, heat: bool) -> None:
    """``a.jpg`` has its heat maps in ``a_heat/``, where the labels of ``a_heat/b.jpg`` would go;
    so have videos their label maps.
    """
    folders = {folded(job.name): job for job in jobs if job.video}
    if heat:
        folders |= {folded(f"{job.name}{saving.ENDS[saving.HEAT]}"): job for job in jobs}
    for job in jobs:
        for parent in Path(job.name).parents:
            if other := folders.get(folded(parent.as_posix())):
                where = f"among the outputs of {job.shown}"
                what = "label" if other.video and other.name == parent.as_posix() else "heat"
                message = f"the {what} maps of {other.shown} would lie {where}"
                raise DataError("D030", message, APART)


def _refuse_flat_collisions(jobs: Sequence[Job]) -> None:
    """Labelme's and CVAT's folders have no folders in them."""
    taken: dict[str, Job] = {}
    for job in jobs:
        first = taken.setdefault(folded(flat(job.name)), job)
        if first is not job:
            message = f"{first.shown} and {job.shown} would both be exported as {flat(job.name)}"
            raise DataError("D030", message, APART)


def refuse_other_inputs(plan: Plan, model: Model) -> None:
    """Refuse inputs that the model has not, and want of those that it has (U001, U002)."""
    first, *further = model.inputs
    if plan.inputs is None:
        return
    for name in plan.inputs:
        if name not in model.inputs:
            raise unknown_name(f"input of {model.path}", name, model.inputs)
    for name in further:
        if name not in plan.inputs:
            what = f"{model.path} takes {first} and {', '.join(further)}; where {name} lies is not"
            raise UsageError("U002", f"{what} known", f"--input {name}=FOLDER")


def measured_heads(plan: Plan, net: Net) -> list[str]:
    """The heads that give numbers; U002 where what is planned is of classes alone."""
    measured = [head for head in net.outputs if net.kind(head).measured]
    if any(job.video for job in plan.jobs):
        net.only_classes("a video")
    vain = [f"--save {kind}" for kind in plan.kinds if kind not in saving.OF_NUMBERS]
    if len(measured) == len(net.outputs) and (vain or plan.uncertain):
        net.only_classes((vain or ["--uncertain"])[0])
    return measured


def refuse_folder_collisions(jobs: Sequence[Job], further: Sequence[str]) -> None:
    """A head's outputs, and exports, lie in a folder of their name, where a picture of
    ``geometry/`` would go.
    """
    folders = {folded(head): head for head in further}
    for job in jobs:
        parts = Path(job.name).parts
        if len(parts) > 1 and (head := folders.get(folded(parts[0]))):
            message = f"the outputs of `{head}` would lie among those of {job.shown}"
            raise DataError("D030", message, APART)
