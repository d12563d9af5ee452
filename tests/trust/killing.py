"""Work that is killed and begun again, in processes forked from one that has everything loaded.

    python killing.py WORK FOLDER [--kills N | --each K [--event NAME]]

``--kills N`` kills after random spans of time, again and again, until N have struck; ``--each K``
at every K-th moment at which the work opens, renames, removes or syncs a file (or only at those of
one kind), once at each. Every time the same command is given again until it ends well, and what it
made is compared with what one quiet run made. What was seen is printed as JSON. Works are the
commands that promise to survive this, and the same with a promise broken on purpose, which must be
caught.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image

EVENTS = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.fsync", "half.written"}
)
TRIES = 60
"""Beginnings of one work; a kill that comes before anything is saved must not go on for ever."""


@dataclass(frozen=True)
class Work:
    begin: Callable[[Path], object]
    """Does it all, or goes on with what a killed process has left."""
    made: Callable[[Path], dict[str, bytes]]
    """What must be the same however often it was killed."""
    final: bool = True
    """Whether a file that lies there, at any moment, is as it will be in the end."""


# -- killing --------------------------------------------------------------------------------------
def forked(
    work: Callable[[], object],
    at: int | None = None,
    kinds: frozenset[str] = EVENTS,
    counted: Path | None = None,
) -> int:
    """A child that does the work; ``at`` kills it before its so many-th event of those kinds."""
    pid = os.fork()
    if pid:
        return pid
    try:
        seen = watched(at, kinds)
        work()
        if counted:
            counted.write_text(str(seen[0]))
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - it is told, and the child ends
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(9)


def watched(at: int | None, kinds: frozenset[str]) -> list[int]:
    """Counts the events of this process that touch a file's name or content."""
    seen, sync = [0], os.fsync

    def audited(event: str, arguments: tuple[Any, ...]) -> None:
        if event in kinds and not (event == "open" and reads(arguments)):
            seen[0] += 1
            if seen[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

    def synced(handle: int) -> None:
        sys.audit("os.fsync", handle)
        sync(handle)

    os.fsync = synced
    sys.addaudithook(audited)
    return seen


def reads(arguments: tuple[Any, ...]) -> bool:
    """Whether an ``open`` event is of a file that is only read."""
    _, mode, flags = arguments
    if isinstance(mode, str):
        return not set(mode) & set("wax+")
    return not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)


def ended(pid: int) -> int:
    """0, 9 for an error, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# -- what is seen ---------------------------------------------------------------------------------
@dataclass
class Seen:
    kills: int = 0
    lives: int = 0
    """Works that came to an end, each begun from nothing."""
    stuck: int = 0
    """Lives that could not be ended: the command that goes on failed."""
    different: int = 0
    torn: int = 0
    """Kills after which a file lay there that was not as it should be."""
    left: int = 0
    """Lives that left files of their own behind."""


def at_random(work: Work, folder: Path, kills: int, seed: int = 0) -> Seen:
    whole, span = quietly(work, folder, EVENTS)
    chance, seen = random.Random(seed), Seen()
    while seen.kills < kills:
        out = folder / f"life-{seen.lives}" / "out"
        for attempt in range(TRIES):
            pid = forked(lambda out=out: work.begin(out))
            if seen.kills < kills:  # longer and longer, so that each life has an end
                time.sleep(span * (1 + attempt / 4) * chance.uniform(0, 1))
                os.kill(pid, signal.SIGKILL)
            state = ended(pid)
            if state != -signal.SIGKILL:
                break
            struck(seen, work, out, whole)
        judge(seen, work, out, whole, state)
    return seen


def at_each(work: Work, folder: Path, every: int, kinds: frozenset[str]) -> Seen:
    whole, _ = quietly(work, folder, kinds)
    events, seen = int((folder / "events").read_text()), Seen()
    for at in range(1, events + 1, every):
        out = folder / f"life-{at}" / "out"
        state = ended(forked(lambda out=out: work.begin(out), at, kinds))
        if state == -signal.SIGKILL:
            struck(seen, work, out, whole)
            state = ended(forked(lambda out=out: work.begin(out)))
        judge(seen, work, out, whole, state)
    return seen


def quietly(work: Work, folder: Path, kinds: frozenset[str]) -> tuple[dict[str, bytes], float]:
    """What an undisturbed run makes, and its seconds."""
    out, start = folder / "quiet" / "out", time.monotonic()
    assert ended(forked(lambda: work.begin(out), kinds=kinds, counted=folder / "events")) == 0
    return work.made(out), time.monotonic() - start


def struck(seen: Seen, work: Work, out: Path, whole: dict[str, bytes]) -> None:
    seen.kills += 1
    if work.final and out.exists():
        lying = work.made(out).items()
        seen.torn += any(whole.get(name, raw) != raw for name, raw in lying)


def judge(seen: Seen, work: Work, out: Path, whole: dict[str, bytes], state: int) -> None:
    seen.lives += 1
    if state:
        seen.stuck += 1
    elif work.made(out) != whole:
        seen.different += 1
    left = [p for p in out.parent.rglob("*") if ".tmp" in p.name or ".part" in p.name]
    seen.left += bool(left)
    for path in left:
        print(f"left behind: {path}", file=sys.stderr)
    shutil.rmtree(out.parent)


# -- the works ------------------------------------------------------------------------------------
def training(folder: Path) -> Work:
    from pixelwise.training import loop
    from pixelwise.training.recipe import Optim, Recipe
    from pixelwise.training.state import generations

    pictures(folder / "data" / "images", 6)
    label_maps(folder / "data" / "labels", 6)
    plan = Recipe(
        data=str(folder / "data"),
        net="fcn8s-vgg16-tight",  # with dropout, which is random in each step
        width=1 / 64,
        iterations=5,
        batch=2,
        crop=(32, 32),
        ema=0.9,
        save_every=1,
        validate_every=2,
        threads=1,
        optim=Optim("adamw", lr=1e-3),
    )

    def made(run: Path) -> dict[str, bytes]:
        from safetensors.torch import load_file

        from pixelwise.folders import read_journal

        tensors = {}
        for path in (generations(run)[-1], run / "weights" / "last.safetensors"):
            tensors |= {f"{path.name}/{k}": v.numpy().tobytes() for k, v in load_file(path).items()}
        losses = [
            (e["step"], e["loss"]) for e in read_journal(run / "journal.jsonl") if "loss" in e
        ]
        return {**tensors, "losses": json.dumps(losses).encode()}

    loop.train(replace(plan, iterations=1), folder / "warm")  # its kernels are compiled once
    return Work(lambda out: loop.train(plan, out, resume=True), made, final=False)


def prediction(folder: Path) -> Work:
    from pixelwise.predict import model
    from pixelwise.predict.jobs import carry_out, plan
    from small_model import save_model

    pictures(folder / "pictures", 8)
    net = model.load(save_model(folder / "net.safetensors"))
    return Work(
        lambda out: carry_out(plan([str(folder / "pictures")], out, save="labels,overlay"), net),
        files,
    )


def conversion(folder: Path) -> Work:
    pictures(folder / "data" / "images", 8)
    label_maps(folder / "data" / "labels", 8)

    def begin(out: Path) -> None:
        from pixelwise.cli.app import run

        status = run(["data", "convert", str(folder / "data"), str(out)])
        assert status == 0 or (status == 2 and out.exists()), status

    return Work(begin, files)


def preparation(folder: Path) -> Work:
    import published
    from pixelwise.data.prepare import voc
    from pixelwise.data.prepare.work import prepare

    names = [f"2007_{i:06}" for i in range(8)]
    published.tar(published.voc(2012, {"train": names[:5], "val": names[5:]}), folder / "voc.tar")

    def begin(out: Path) -> None:
        if not (out / "dataset.json").exists():
            prepare(voc.RECORD, voc.plan, [folder / "voc.tar"], out)

    return Work(begin, files)


def files(out: Path) -> dict[str, bytes]:
    """All bytes below a folder, without what says when and how long."""
    return {
        p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()
    }


def pictures(folder: Path, count: int) -> None:
    from small_model import photo

    for i in range(count):
        photo(folder / f"{i}.png", seed=i)


def label_maps(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        labels = np.random.default_rng(i).integers(0, 3, (5, 7), np.uint8)
        Image.fromarray(labels.repeat(8, 0).repeat(8, 1)).save(folder / f"{i}.png")


# -- promises broken on purpose -------------------------------------------------------------------
def in_place(work: Callable[[Path], Work]) -> Callable[[Path], Work]:
    """Files are written where they stand, and a state over the one before."""

    @contextmanager
    def written(path: Path, content: Any) -> Iterator[tuple[Path, Any]]:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name.startswith("step-"):
            path = path.with_name("step-000000001.safetensors")
        if isinstance(content, str):
            content = content.encode()
        with path.open("wb") as f:
            if isinstance(content, bytes):
                f.write(content[: len(content) // 2])
                f.flush()
                sys.audit("half.written")
                f.write(content[len(content) // 2 :])
            else:
                content(f)
                f.flush()
                os.ftruncate(f.fileno(), f.tell() // 2)
                sys.audit("half.written")
                f.seek(0)
                content(f)
            yield path, f

    def broken(folder: Path) -> Work:
        from pixelwise.machine import files

        sound = work(folder)
        files._written = written
        replace = Path.replace
        Path.replace = lambda self, to: self if self.name.startswith("step-") else replace(self, to)
        return sound

    return broken


def ambient(folder: Path) -> Work:
    """Dropout draws from the process's own generator, which no state holds."""
    from contextlib import nullcontext

    from pixelwise.training import step

    step.seeded = lambda *_: nullcontext()
    return training(folder)


WORKS: dict[str, Callable[[Path], Work]] = {
    "train": training,
    "train-in-place": in_place(training),
    "train-ambient": ambient,
    "predict": prediction,
    "predict-in-place": in_place(prediction),
    "convert": conversion,
    "prepare": preparation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--event", choices=sorted(EVENTS))
    told = parser.parse_args()
    torch.set_num_threads(1)
    work = WORKS[told.work](told.folder)
    if told.kills:
        seen = at_random(work, told.folder, told.kills)
    else:
        kinds = frozenset({told.event}) if told.event else EVENTS
        seen = at_each(work, told.folder, told.each, kinds)
    json.dump(vars(seen), sys.stdout)


if __name__ == "__main__":
    main()
