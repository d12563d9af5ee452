"""Many pictures through one model: a plan that can be printed, then carried out.

Every output is written whole or not at all. Beside the outputs stands ``manifest.json`` with the
model's checksum: outputs of another model are not taken for finished.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise import images, labels
from pixelwise.errors import DataError, PixelwiseError, UsageError, unknown_name
from pixelwise.files import atomic_write, remove_leftovers, write_json
from pixelwise.inference.prediction import Prediction
from pixelwise.model import Model

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
KINDS = {
    "labels": ".png",
    "overlay": "_overlay.jpg",
    "scores": "_scores.npz",
    "heatmaps": "_heat",
}
"""What can be saved, and the end of its file name."""
MANIFEST = "manifest.json"
TOP = 3  # heat maps drawn when no class is named


@dataclass(frozen=True)
class Job:
    """One picture and the name of its outputs."""

    source: Path
    name: str


@dataclass(frozen=True)
class Plan:
    """What will be done."""

    jobs: tuple[Job, ...]
    out: Path
    kinds: tuple[str, ...]


@dataclass
class Done:
    """What was done."""

    made: int = 0
    skipped: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return vars(self)


def plan(sources: Sequence[str], out: Path, *, save: str, shard: str = "1/1") -> Plan:
    """Find the pictures; two that would write one file are refused before anything is made.

    Raises:
        UsageError: unknown outputs, a bad shard, the output folder among the inputs.
        DataError: a source that is not there, no picture at all, colliding names.
    """
    kinds = tuple(k.strip() for k in save.split(",") if k.strip())
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("output", kind, tuple(KINDS))
    if not kinds:
        raise UsageError("U002", "--save names no output", f"--save {','.join(KINDS)}")
    found = [path for source in sources for path in _expand(source)]
    if out.resolve() in {path.parent.resolve() for path in found}:
        raise UsageError("U003", f"{out} is also a folder of input pictures", "choose another -o")
    jobs = _named(list(dict.fromkeys(found)))
    return Plan(_part(jobs, shard), out, kinds)


def _expand(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise DataError("D010", f"{path} holds no picture", f"known: {' '.join(SUFFIXES)}")
        return inside
    if path.exists():
        return [path]
    matches = sorted(Path(p) for p in glob.glob(source, recursive=True))  # noqa: PTH207 - a pattern
    if not matches:
        raise DataError("D010", f"{source} does not exist and matches nothing", "check the path")
    return matches


def _named(paths: list[Path]) -> list[Job]:
    """Names by stem; where stems collide the suffix or folder would be lost, so that is refused."""
    taken: dict[str, Path] = {}
    for path in paths:
        if path.stem.lower() in taken:
            raise DataError(
                "D030",
                f"{taken[path.stem.lower()]} and {path} would both be written as {path.stem}.png",
                "predict them into different folders",
            )
        taken[path.stem.lower()] = path
    return [Job(path, path.stem) for path in taken.values()]


def _part(jobs: list[Job], shard: str) -> tuple[Job, ...]:
    try:
        part, parts = (int(v) for v in shard.split("/"))
    except ValueError as error:
        raise UsageError("U002", f"--shard is {shard}, expected I/N", "--shard 1/4") from error
    if not 1 <= part <= parts:
        raise UsageError("U002", f"--shard is {shard}, expected 1 <= I <= N", "--shard 1/4")
    return tuple(jobs[part - 1 :: parts])


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
        UsageError: U003 the folder holds another model's outputs; U001 an unknown class.
    """
    for name in heat:
        if name not in model.classes:
            raise unknown_name("class", name, model.classes)
    _claim(plan.out, model, force=force)
    done = Done()
    for job in plan.jobs:
        if not force and all(_path(plan.out, job, kind).exists() for kind in plan.kinds):
            done.skipped += 1
        else:
            _one(job, plan, model, heat, done)
        watch()
    lines = "".join(json.dumps(f, ensure_ascii=False) + "\n" for f in done.failures)
    failures = plan.out / "failures.jsonl"
    if lines:
        atomic_write(failures, lines)
    else:
        failures.unlink(missing_ok=True)
    return done


def _claim(out: Path, model: Model, *, force: bool) -> None:
    """Note which model the folder belongs to, or refuse to mix two."""
    identity = {"sha256": model.header.sha256, "precision": model.predictor.precision}
    manifest = out / MANIFEST
    if manifest.exists() and not force:
        known = json.loads(manifest.read_text(encoding="utf-8"))
        if {k: known.get(k) for k in identity} != identity:
            raise UsageError(
                "U003",
                f"the outputs in {out} were made by another model ({known.get('model')})",
                "choose another -o, or --force to make them anew",
            )
    facts = {"model": str(model.path), "net": model.header.net, "classes": list(model.classes)}
    write_json(manifest, {**identity, **facts})
    remove_leftovers(out)


def _path(out: Path, job: Job, kind: str) -> Path:
    return out / f"{job.name}{KINDS[kind]}"


def _one(job: Job, plan: Plan, model: Model, heat: Sequence[str], done: Done) -> None:
    try:
        found = model.predict(
            job.source, probabilities=bool({"scores", "heatmaps"} & set(plan.kinds))
        )
        for kind in plan.kinds:
            _write(kind, _path(plan.out, job, kind), found, model, heat)
    except PixelwiseError as error:
        if error.exit_code == 5:  # a full disk will not get better with the next picture
            raise
        done.failures.append({"path": str(job.source), **error.as_dict()})
        return
    done.made += 1
    digest = hashlib.sha256(job.source.read_bytes()).hexdigest()
    done.results.append({"path": str(job.source), "sha256": digest, "areas": found.areas()})


def _write(kind: str, path: Path, found: Prediction, model: Model, heat: Sequence[str]) -> None:
    match kind:
        case "labels":
            text = {"model": model.header.sha256, "net": model.header.net}
            images.write_labels(path, found.labels, np.asarray(found.palette, np.uint8), text=text)
        case "overlay":
            images.write_image(path, found.overlay_array())
        case "scores":
            assert found.probabilities is not None
            scores = found.probabilities.astype(np.float16)
            atomic_write(path, lambda f: np.savez_compressed(f, probabilities=scores))
        case "heatmaps":
            assert found.probabilities is not None
            for name in heat or _largest(found):
                of = found.probabilities[found.classes.index(name)]
                images.write_image(path / f"{_file_name(name)}.png", heat_map(found.image, of))


def heat_map(image: NDArray[np.uint8], share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A probability map over its picture: blue is none, red is the map's highest value.

    Args:
        image: (H, W, 3) uint8.
        share: (H, W) in [0, 1].
    """
    level = np.asarray(share, np.float32) / max(float(share.max()), 1e-6)
    hot = labels.heat_colours(level)
    grey = image.mean(axis=2, keepdims=True)
    mixed: NDArray[np.uint8] = (0.45 * grey + 0.55 * hot).round().clip(0, 255).astype(np.uint8)
    return mixed


def _largest(found: Prediction) -> list[str]:
    assert found.probabilities is not None
    order = found.probabilities.mean(axis=(1, 2)).argsort()[::-1]
    return [found.classes[int(i)] for i in order[:TOP]]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80] or "class"
