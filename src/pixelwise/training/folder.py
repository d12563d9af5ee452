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
from pixelwise.folders import JOURNAL, RECIPE, REPORT, WEIGHTS, read_journal, stages
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
        raise write_error(run, error) from error
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
    begun = _holds_a_run(run)
    if not begun and not _journal_begun(run):
        _refuse_what_is_no_runs(run)
    elif resume and (run / RECIPE).exists():
        refuse_other_recipe(read_recipe(run / RECIPE), recipe, run)
    elif begun:
        refuse_taken(run)


def refuse_taken(run: Path) -> None:
    """U003 of a folder that holds a run; asked before work is done for a new one."""
    if _holds_a_run(run):
        raise UsageError(
            "U003", f"{run} already holds a run", "add --resume to go on, or choose another -o"
        )


def _holds_a_run(run: Path) -> bool:
    return is_begun(run) or any(map(is_begun, stages(run)))


def is_begun(run: Path) -> bool:
    """Whether a run of one piece has something to go on from."""
    return bool(generations(run)) or (run / WEIGHTS).exists()


def _journal_begun(run: Path) -> bool:
    journal = run / JOURNAL
    return journal.is_file() and any(e.get("event") == "start" for e in read_journal(journal))


def _refuse_what_is_no_runs(run: Path) -> None:
    """Loose files, such as a log of this run, may be there; folders and names of ours may not."""
    ours = [name for name in (RECIPE, JOURNAL, REPORT) if (run / name).exists()]
    others = sorted(p.name for p in run.iterdir() if p.is_dir() and not p.name.startswith("."))
    if ours or others:
        message = f"{run} holds {others[0]}/, which is not of a run" if others else ""
        if ours:
            message = f"{run / ours[0]} exists and is not of a run"
        raise UsageError("U003", message, "choose a new folder: -o runs/first")


def refuse_other_recipe(begun: Recipe, recipe: Recipe, run: Path) -> None:
    """What a resumed run may change: where its data lies, and how it is computed.

    Raises:
        UsageError: U004 something else.
    """
    before, now = flat(begun), flat(recipe)
    changed = {
        name: f"{name} {before.get(name, 'unset')} -> {now.get(name, 'unset')}"
        for name in before | now
        if before.get(name) != now.get(name) and _of_stage(name) not in FREE
    }
    inexact = sorted(name for name in changed if _of_stage(name) in INEXACT)
    for name in inexact:  # said, not refused: one may have no choice
        log.warning(
            "%s was begun with another setting (%s): sums may be rounded otherwise, and the "
            "weights differ in their last bits from those of a run that was never stopped",
            run,
            changed.pop(name),
        )
    if changed:
        place, hint = shlex.quote(str(run)), resume_command(run)
        if changed.keys() <= set(LENGTHS):  # a run of another length can start from this one
            lengths = [f" --{n} {now[n]}" for n in LENGTHS if getattr(recipe, n)]
            file = shlex.quote(str(run / RECIPE))
            hint = f"pixelwise train {file} -o NEW --weights {place}{''.join(lengths)}"
        message = f"{run} was begun with other settings: {', '.join(changed.values())}"
        raise UsageError("U004", message, hint)


def _of_stage(name: str) -> str:
    """The setting that one of a stage changes: its name without the stage's."""
    return name.split(".", 2)[2] if name.startswith("stages.") else name


def resume_command(run: Path) -> str:
    """What goes on with a run."""
    recipe, folder = (shlex.quote(str(p)) for p in (run / RECIPE, run))
    return f"pixelwise train {recipe} -o {folder} --resume"
