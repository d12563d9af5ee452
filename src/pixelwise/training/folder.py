"""The run folder: one trainer at a time, one recipe for good."""

from __future__ import annotations

import logging
import os
import platform
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pixelwise.errors import ResourceError, UsageError
from pixelwise.folders import JOURNAL, RECIPE, REPORT, WEIGHTS, read_journal
from pixelwise.machine.files import write_error
from pixelwise.training.recipe import LENGTHS, Recipe
from pixelwise.training.recipe_text import flat, read_recipe
from pixelwise.training.state import generations

try:
    import fcntl
except ImportError:  # Windows has no flock; there two trainers are not kept apart
    fcntl = None  # type: ignore[assignment]


FREE = {"data", "workers", "cache", "save_every"}
"""Settings that change no bit of a run: its data may have moved, and hands may be added."""
INEXACT = {"threads", "device"}
"""Settings that change only how sums are rounded."""

log = logging.getLogger(__name__)


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold ``RUN/.lock`` for the length of the block; it dies with the process.

    A folder that was made for it, and stayed empty, goes as well.

    Raises:
        ResourceError: R001 no space, R002 the folder cannot be written, R007 another process
            holds it.
    """
    path, new = run / ".lock", not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            "R002", f"{run}: cannot be written ({reason})", "choose another -o folder"
        ) from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise ResourceError(
                    "R007", f"{run} is in use by {holder}", "wait for it, or choose another -o"
                ) from error
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        except OSError as error:
            raise write_error(path, error) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            if new:  # and nothing was written
                with suppress(OSError):
                    run.rmdir()


@contextmanager
def resumable() -> Iterator[None]:
    """A disk that is full ends a run, which then goes on from its last state."""
    try:
        yield
    except ResourceError as error:
        if error.code == "R001":
            error.hint = "free some space; the same command with --resume goes on"
        raise


def _foreign_folder(run: Path) -> Path | None:
    """A folder in ``run`` that no run has; loose files, such as a log of this one, may be there."""
    if not run.is_dir() or (run / RECIPE).exists() or (run / JOURNAL).exists():
        return None
    inside = sorted(p for p in run.iterdir() if p.is_dir() and not p.name.startswith("."))
    return next(iter(inside), None)


def _refuse_others_files(run: Path) -> None:
    """A recipe that someone wrote into the folder is no run's, nor is a journal without a start."""
    if generations(run) or (run / WEIGHTS).exists():
        return
    journal = run / JOURNAL
    if journal.is_file() and any(e.get("event") == "start" for e in read_journal(journal)):
        return
    for name in (RECIPE, JOURNAL, REPORT):
        if (run / name).exists():
            told = f"{run / name} exists and is not of a run"
            raise UsageError("U003", told, "choose a new folder: -o runs/first")


def claim(recipe: Recipe, run: Path, *, resume: bool) -> None:
    """Refuse to mix two runs in a folder; a resumed run must be the one that was begun.

    Raises:
        UsageError: U002 no data is named, U003 the folder holds a run, U004 it was begun with
            other settings.
    """
    if not recipe.data:
        raise UsageError("U002", "the recipe names no data", "data: FOLDER, in the recipe")
    if run.resolve() == Path(recipe.data).resolve():
        raise UsageError("U003", f"{run} is the data itself", "choose another -o, as runs/first")
    _refuse_others_files(run)
    if resume and (run / RECIPE).exists():
        _refuse_other_recipe(read_recipe(run / RECIPE), recipe, run)
        return
    if generations(run) or (run / WEIGHTS).exists():
        raise UsageError(
            "U003", f"{run} already holds a run", "add --resume to go on, or choose another -o"
        )
    foreign = _foreign_folder(run)
    if foreign:
        raise UsageError(
            "U003",
            f"{run} holds {foreign.name}/, which is not of a run",
            "choose a new folder: -o runs/first",
        )


def _refuse_other_recipe(begun: Recipe, recipe: Recipe, run: Path) -> None:
    """What a resumed run may change: where its data lies, and how it is computed."""
    before, now = flat(begun), flat(recipe)
    changed = {
        name: f"{name} {before.get(name, 'unset')} -> {now.get(name, 'unset')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name) and name not in FREE
    }
    for name in sorted(changed.keys() & INEXACT):
        log.warning(
            "%s was begun with another setting (%s): sums may be rounded otherwise, and the "
            "weights differ in their last bits from those of a run that was never stopped",
            run,
            changed.pop(name),
        )
    if not changed:
        return
    place = shlex.quote(str(run))
    command = f"pixelwise train {shlex.quote(str(run / RECIPE))} "
    if changed.keys() <= set(LENGTHS):  # a run of another length can start from this one
        lengths = [f" --{n} {now[n]}" for n in LENGTHS if getattr(recipe, n)]
        command += f"-o NEW --weights {place}{''.join(lengths)}"
    else:
        command += f"-o {place} --resume"
    raise UsageError(
        "U004", f"{run} was begun with other settings: {', '.join(changed.values())}", command
    )
