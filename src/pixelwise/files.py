"""The one way by which pixelwise writes a file: whole or not at all.

Temporary name in the same folder, fsync, rename, fsync of the folder, mode by umask. Whatever
moment the process dies, the old file or the new one is there, never half of one.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pixelwise.errors import ResourceError

Writer = Callable[[BinaryIO], object]


def atomic_write(path: Path, content: bytes | str | Writer) -> Path:
    """Put ``content`` at ``path``; readers see the old file or the new one.

    Args:
        path: target; missing parent folders are made.
        content: bytes, text (UTF-8), or a function that writes to the open binary file.

    Returns:
        ``path``.

    Raises:
        ResourceError: no space (R001) or no permission (R002); what stood at ``path`` stands still.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as f:
            if isinstance(content, str):
                f.write(content.encode())
            elif isinstance(content, bytes):
                f.write(content)
            else:
                content(f)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError):
            raise _write_error(path, cause) from error
        raise
    return path


def write_json(path: Path, value: Any) -> Path:
    """``atomic_write`` of ``value`` as indented JSON."""
    return atomic_write(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in ``folder`` (not in subfolders)."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle for a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_error(path: Path, cause: OSError) -> ResourceError:
    if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space and run the same command again; finished files are kept"
        return ResourceError("R001", f"{path}: no space left on the device", hint)
    reason = cause.strerror or str(cause)
    return ResourceError(
        "R002", f"{path}: cannot be written ({reason})", "choose another -o folder"
    )
