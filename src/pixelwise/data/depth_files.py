"""Depth pictures in files: read, doubted where their unit cannot be meant, and encoded as HHA."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pixelwise.data.dataset import no_partner
from pixelwise.data.depth import MILLIMETRE, as_depth, median_metres, read_cameras
from pixelwise.data.hha import NYUD_SIZES, Camera, hha, nyud_camera
from pixelwise.data.listing import by_stem, pictures
from pixelwise.errors import DataError, UsageError, hxw, raise_all
from pixelwise.machine.signals import caught
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.pictures.images import text_in, write_image
from pixelwise.pictures.reading import decode
from pixelwise.pictures.recognise import SUFFIXES

ROOM = 10.0  # metres; farther than a Kinect sees, and than most rooms go
MADE_BY, MAKER, MADE_FROM = "made_by", "pixelwise data hha", "made_from"
"""What the files say of themselves."""


@dataclass(frozen=True)
class Job:
    """A depth picture, and where its HHA picture goes."""

    depth: Path
    raw: Path | None
    out: Path


@dataclass
class Done:
    """What was done."""

    made: int = 0
    skipped: int = 0
    far: dict[Path, float] = field(default_factory=dict)
    """Median metres of pictures that hardly show a room: the unit may be another."""
    uncut: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Sizes that NYUDv2's camera, which was taken, does not belong to."""


def plan(depth: Path, raw: Path | None, out: Path) -> tuple[Job, ...]:
    """A file, or each picture of a folder by its stem.

    Raises:
        UsageError: U002 a file beside a folder, or ``out`` is a picture but no PNG; U003
            it would replace what is read.
        DataError: D010 nothing there; D030, D031 depth pictures of one stem, or without raw depth.
    """
    if out.suffix.lower() in SUFFIXES - {".png"} and not out.is_dir():
        raise UsageError(
            "U002", f"-o {out}: HHA is written as PNG", f"-o {out.with_suffix('.png')}"
        )
    if depth.is_dir():
        jobs = _of_folders(depth, raw, out)
    else:
        if raw is not None and raw.is_dir():
            raise UsageError("U002", f"{depth} is a file and {raw} a folder", "give two of a kind")
        single = out.suffix.lower() == ".png"
        jobs = (Job(depth, raw, out if single else out / f"{depth.stem}.png"),)
    sources = {p.resolve() for job in jobs for p in (job.depth, job.raw) if p}
    for job in jobs:
        if job.out.resolve() in sources:
            raise UsageError("U003", f"{job.out} is a depth picture to read", "choose another -o")
    return jobs


def _of_folders(depth: Path, raw: Path | None, out: Path) -> tuple[Job, ...]:
    problems: list[DataError] = []
    files = by_stem(pictures(depth), problems)
    if raw is not None and not raw.is_dir():
        raise UsageError("U002", f"{depth} is a folder, {raw} is none", "give two of a kind")
    raws = by_stem(pictures(raw), problems) if raw else {}
    if raw:
        alone = [path for stem, path in files.items() if stem not in raws]
        problems += [no_partner(path, f"raw depth {raw / path.stem}.*") for path in alone]
    raise_all(depth, problems)
    if not files:
        raise DataError("D010", f"{depth} holds no picture", "depth pictures are 16-bit PNG files")
    return tuple(Job(p, raws.get(stem), out / f"{stem}.png") for stem, p in files.items())


def carry_out(
    jobs: tuple[Job, ...],
    *,
    unit: float = MILLIMETRE,
    camera: Camera | Mapping[str, Camera] | None = None,
    force: bool = False,
    watch: Callable[[], object] = lambda: None,
) -> Done:
    """Encode what is not there yet; what cannot be read is told at the end, all of it.

    Args:
        jobs: of ``plan``.
        unit: metres of one count.
        camera: of all pictures, or of each by its stem; by default NYUDv2's.
        force: make again what is there, whatever it is.
        watch: called after each picture.

    Raises:
        DataError: of all pictures that could not be encoded; the others are made.
        UsageError: U003 a file is in the place of an output that was made otherwise, or elsewhere.
        ResourceError: the disk is full or not writable.
        Stopped: a signal came; finished files are kept.
    """
    done, problems = Done(), []
    with caught() as stop:
        for job in jobs:
            try:
                _one(job, unit, _of_picture(camera, job), force, done)
            except DataError as error:
                problems.append(error)
            watch()
            if stop.signal:
                break
    count = done.made + done.skipped + len(problems)
    stop.refuse(
        f"stopped after {count} of {len(jobs)} pictures; finished ones are kept",
        "run the same command again to go on",
    )
    raise_all(f"{done.made + done.skipped} of {len(jobs)} depth pictures were encoded", problems)
    return done


def _of_picture(camera: Camera | Mapping[str, Camera] | None, job: Job) -> Camera | None:
    if not isinstance(camera, Mapping):
        return camera
    if job.depth.stem not in camera:
        message = f"{job.depth}: there is no camera for `{job.depth.stem}`"
        raise DataError("D034", message, "add it to the file of --camera")
    return camera[job.depth.stem]


def _one(job: Job, unit: float, camera: Camera | None, force: bool, done: Done) -> None:
    data = {path: file_bytes(path) for path in (job.depth, job.raw) if path}
    facts = {
        "sha256": [hashlib.sha256(content).hexdigest() for content in data.values()],
        "unit": unit,
        "camera": list(astuple(camera)) if camera else "NYUDv2",
    }
    made_from = json.dumps(facts)
    if job.out.exists() and not force:
        said = text_in(job.out)
        if said.get(MADE_FROM) == made_from:
            done.skipped += 1
            return
        ours = said.get(MADE_BY) == MAKER
        what = "was made from other depth, or otherwise" if ours else "exists and is no HHA of ours"
        raise UsageError("U003", f"{job.out} {what}", "choose another -o, or --force to replace it")
    depth = depth_in(data[job.depth], job.depth)
    raw = depth_in(data[job.raw], job.raw) if job.raw else None
    if raw is not None and raw.shape != depth.shape:
        sizes = f"{job.depth} is {hxw(depth.shape)}, {job.raw} is {hxw(raw.shape)} (HxW)"
        raise DataError("D013", f"{sizes}; expected the same size", "cut both alike")
    if (median := median_metres(depth, unit, job.depth)) > ROOM:
        done.far[job.depth] = median
    size = depth.shape[0], depth.shape[1]
    if camera is None and size not in NYUD_SIZES:
        done.uncut[job.depth] = size
    made = hha(depth, raw, unit=unit, camera=camera or nyud_camera(size))
    write_image(job.out, made, text={MADE_BY: MAKER, MADE_FROM: made_from})
    done.made += 1


def depth_in(data: bytes, path: Path) -> NDArray[Any]:
    """The numbers of a depth picture, (H, W), of 16 bits or float.

    Raises:
        DataError: D018 several bands; D019 of 8 bits, which hold no depth in a known unit; those of
            ``decode``.
    """
    return as_depth(decode(data, path, values="stored").shown, path)


def parse_camera(text: str) -> Camera | dict[str, Camera]:
    """``fx,fy,cx,cy``; or a file of cameras by picture, as made scenes have.

    Raises:
        UsageError: U002 another form, or a focal length that is not above zero.
        DataError: D034 a file of another form.
    """
    if Path(text).is_file():
        return read_cameras(Path(text))
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        fx = fy = cx = cy = math.nan
    if not (math.isfinite(fx + fy + cx + cy) and fx > 0 and fy > 0):
        message = f"--camera is `{text}`, expected fx,fy,cx,cy in pixels"
        raise UsageError("U002", message, "--camera 518.86,519.47,325.58,253.74")
    return Camera(fx, fy, cx, cy)


def refuse_unit(unit: float) -> None:
    """U002 of a unit that no length is counted in."""
    if not (math.isfinite(unit) and unit > 0):
        raise UsageError("U002", f"--unit is {unit}, expected metres above 0", "--unit 0.001")
