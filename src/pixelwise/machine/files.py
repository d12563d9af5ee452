"""The one way by which pixelwise writes a file: whole or not at all; and what goes into one.

Temporary name in the same folder, fsync, rename, fsync of the folder, mode by umask. Whatever
moment the process dies, the old file or the new one is there, never half of one. Folders that make
sense only as a whole, such as a converted data set, are filled in hiding; long work on one can go
on where it was killed. The exception is a file
that grows by lines, the journal: the last one may be cut short, and whoever reads it knows.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from pixelwise.errors import PixelwiseError, ResourceError, UsageError

Writer = Callable[[BinaryIO], object]
Content = bytes | str | Writer
PREFIX = ".pixelwise-"
"""Of temporary names; a killed process leaves such a file behind, and nothing else."""


def atomic_write(path: Path, content: Content) -> Path:
    """Put ``content`` at ``path``, which is returned; readers see the old file or the new one.

    Missing parent folders are made. Content is bytes, text (UTF-8; half surrogates of odd file
    names become ``\\udcxx``), or a function that writes to the open binary file.

    Raises:
        ResourceError: no space (R001) or no permission (R002); what stood at ``path`` stands still.
    """
    return write_together({Path(path): content})[0]


def write_together(contents: Mapping[Path, Content]) -> tuple[Path, ...]:
    """Several files that belong to each other, each as ``atomic_write`` puts it there.

    All are on the disk before the first takes its place, so that an error leaves none of them.

    Raises:
        ResourceError: no space (R001) or no permission (R002); what stood there stands still.
    """
    with ExitStack() as waiting:
        written = [(p, *waiting.enter_context(_written(p, c))) for p, c in contents.items()]
        for path, temporary, f in written:
            with _write_errors(path):
                if os.name == "nt":  # an open file cannot be renamed there
                    f.close()
                temporary.replace(path)
    for folder in {path.parent for path in contents}:
        with _write_errors(folder):
            _sync_folder(folder)
    return tuple(contents)


@contextmanager
def _written(path: Path, content: Content) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file beside ``path`` that holds ``content``, gone at the end if not renamed."""
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    with _write_errors(path):
        if path.exists() and not path.is_file():  # a rename would put a file in a device's place
            kind = "a folder" if path.is_dir() else "no regular file"
            what = f"{path}: cannot be written (it is {kind})"
            raise ResourceError("R002", what, "choose another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, f = _temporary(path.parent)
    try:
        with f:
            with _write_errors(path):
                if isinstance(content, bytes):
                    f.write(content)
                else:
                    content(f)
                f.flush()
                os.fsync(f.fileno())
            yield temporary, f
    finally:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)


@contextmanager
def marked(folder: Path) -> Iterator[Path]:
    """A file in a folder, by which other machines see for the length of the block that it is it."""
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        mark, f = _temporary(folder)
    try:
        with f:
            yield mark
    finally:
        mark.unlink(missing_ok=True)


@contextmanager
def growing_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A file that may take several tries: ``path.part``, open at its end, kept until it is whole.

    ``path`` appears when the block ends well; what an interrupted block has written stays.

    Raises:
        ResourceError: no space (R001) or no permission (R002).
    """
    part = path.with_name(f"{path.name}.part")
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as f:
            yield part, f
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
        _sync_folder(path.parent)


def allocated(path: Path, size: int) -> Path:
    """A file of so many bytes, which is made of zeros if it is not there; the disk has them all.

    Raises:
        ResourceError: no space (R001) or no permission (R002).
    """
    with _write_errors(path):
        if not path.is_file() or path.stat().st_size != size:
            with path.open("wb") as f:
                reserve = getattr(os, "posix_fallocate", None)  # what is mapped must not run out
                reserve(f.fileno(), 0, size) if reserve else f.truncate(size)
    return path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder's content: all of it appears when the block ends well, and none of it else.

    What is yielded is a hidden folder to be filled. A new folder gets its content all at once; one
    that is there, and empty (see ``refuse_taken``), entry by entry.

    Raises:
        ResourceError: no space (R001) or no permission (R002).
    """
    new = not path.exists()
    place = path.parent if new else path
    part = place / f"{PREFIX}{secrets.token_hex(8)}.part"
    try:
        with _write_errors(path):
            for left in place.glob(f"{PREFIX}*.part"):
                if not _in_use(left):
                    shutil.rmtree(left, ignore_errors=True)
            part.mkdir(parents=True)
            with _held(part):
                yield part
                if new:
                    part.rename(path)
                else:
                    for made in sorted(part.iterdir()):
                        made.rename(path / made.name)
            _sync_folder(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # empty or gone, unless something failed


@contextmanager
def resumed_folder(path: Path, key: str) -> Iterator[Path]:
    """A new folder's content in many steps: a killed process leaves what is done to the next one.

    What is yielded is a hidden folder beside ``path``, or in it where it is there (and empty, see
    ``refuse_taken``). Its ``content`` becomes ``path`` when the block ends well; else all of it is
    kept, and yielded again to whoever comes with the same ``key``.

    Raises:
        ResourceError: no space (R001), no permission (R002), another process works here (R007).
    """
    new = not path.exists()
    place = path.parent if new else path
    work = place / f"{PREFIX}{path.name}.work"
    with _write_errors(path):
        work.mkdir(parents=True, exist_ok=True)
    if _in_use(work) and os.name != "nt":
        what = f"{path} is being written by another process"
        raise ResourceError("R007", what, "wait for it, or choose another folder")
    with _write_errors(path), _held(work):
        label, content = work / "key", work / "content"
        if not label.is_file() or label.read_text(encoding="utf-8") != key:
            for left in work.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            atomic_write(label, key)
        content.mkdir(exist_ok=True)
        for folder in (work, *(f for f in work.rglob("*") if f.is_dir())):
            remove_leftovers(folder)
        yield work
        if new:
            content.rename(path)
        else:
            for made in sorted(content.iterdir(), key=lambda p: p.is_file()):  # files last
                made.rename(path / made.name)
        _sync_folder(place)
    shutil.rmtree(work, ignore_errors=True)


def refuse_taken(path: Path) -> None:
    """A new folder's place must be free: nothing there, or an empty folder.

    What a killed process left of ``whole_folder`` does not count, what a living one fills does.

    Raises:
        UsageError: U003 with what is there.
    """
    if path.exists() and not path.is_dir():
        raise UsageError("U003", f"{path} is a file, expected a new folder", "choose another")
    inside = path.iterdir() if path.exists() else ()
    if any(not p.name.startswith(PREFIX) or _in_use(p) for p in inside):
        raise UsageError("U003", f"{path} is not empty", "choose a new folder")


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """A folder, made if need be, locked against other processes and threads, which wait.

    On file systems without locks, and on Windows, nothing is locked.

    Raises:
        ResourceError: no space (R001) or no permission (R002).
    """
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _held(folder, wait=True):
        yield


@contextmanager
def _held(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """The folder locked for the length of the block; the lock dies with the process.

    Raises:
        OSError: it is held already, and is not waited for.
    """
    if os.name == "nt":  # a folder cannot be opened there
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError) if wait else nullcontext():  # a file system without locks
            _lock(handle, wait=wait)
        yield
    finally:
        os.close(handle)


def _in_use(folder: Path) -> bool:
    if os.name == "nt":  # that cannot be asked there; nothing of a living process is removed
        return True
    try:
        with _held(folder):
            return False
    except OSError:
        return True


def append_line(path: Path, text: str) -> None:
    """Add a line to a file, made if need be; half surrogates are written as ``\\udcxx``.

    After a line that a crash cut short it begins anew, so that only that one is lost.

    Raises:
        ResourceError: no space (R001) or no permission (R002).
    """
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as f:
            if f.tell() and (f.seek(-1, 2), f.read(1))[1] != b"\n":
                text = "\n" + text
            f.write(f"{text}\n".encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> Path:
    """``atomic_write`` of ``value`` as indented JSON."""
    return atomic_write(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def maker(path: Path) -> str:
    """What a JSON file of ours says in ``made_by``; empty for any other, or none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(content.get("made_by", "")) if isinstance(content, dict) else ""


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: text keys, lists, and null for what is not a finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def sha256(path: Path) -> str:
    """The SHA-256 of a whole file, as ``sha256sum`` prints it."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in ``folder`` (not in subfolders).

    What a living process still writes is locked by it, and stays.
    """
    for left in folder.glob(f"{PREFIX}*.tmp"):
        with suppress(OSError), left.open("rb") as f:
            _lock(f)
            left.unlink()


def _temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file, locked; its short name leaves a target's name all the length there is."""
    while True:
        path = folder / f"{PREFIX}{secrets.token_hex(8)}.tmp"
        f = path.open("xb")
        with suppress(OSError):  # a file system without locks
            _lock(f, wait=True)
        if os.name == "nt" or os.fstat(f.fileno()).st_nlink:
            return path, f
        f.close()  # ``remove_leftovers`` of another process came between open and lock


def _lock(f: IO[bytes] | int, *, wait: bool = False) -> None:
    if os.name == "nt":  # an open file cannot be deleted there
        return
    import fcntl

    fcntl.flock(f, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle for a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """What the system says within the block is told as ``write_error`` of ``path``."""
    try:
        yield
    except PixelwiseError:
        raise
    except Exception as error:
        # Encoders wrap the system's error in their own; the number is in what they wrapped.
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError):
            raise write_error(path, cause) from error
        raise


def write_error(path: Path, cause: OSError) -> ResourceError:
    """What to tell when ``path`` cannot be written: R001 no space, or R002."""
    if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space and run the same command again; finished files are kept"
        return ResourceError("R001", f"{path}: no space left on the device", hint)
    reason = cause.strerror or str(cause)
    if isinstance(cause, FileExistsError | NotADirectoryError):
        reason = "a file stands where a folder is needed"
    hint = "make it writable, or choose another place"
    return ResourceError("R002", f"{path}: cannot be written ({reason})", hint)
