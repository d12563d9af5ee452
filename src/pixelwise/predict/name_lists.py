"""Names of pictures in a list: a ``.txt`` file, ``@file``, or standard input; one a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pixelwise.errors import DataError
from pixelwise.pictures.recognise import is_picture

STDIN = "-"
LARGEST = 2**28
"""Bytes of a list: a million names of the longest that file systems allow."""


def is_list(source: str) -> bool:
    """``-``, ``@file``, or a text file."""
    if source == STDIN:
        return True
    if os.path.isfile(source):  # noqa: PTH113 - any text may come here, also too long for a name
        return source.lower().endswith(".txt") and not is_picture(Path(source))
    return source.startswith("@") and not os.path.isdir(source)  # noqa: PTH112


def names_in(source: str) -> list[str]:
    """The names in a list; relative ones are seen from the current folder, else from the list's.

    Raises:
        DataError: D010 it cannot be read, D034 it is too long or names nothing.
    """
    path = Path(source.removeprefix("@"))
    try:
        if source == STDIN:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with path.open("rb") as f:
                data = f.read(LARGEST + 1)
    except OSError as error:
        raise DataError(
            "D010", f"{path}: cannot be read ({error.strerror})", "name a list"
        ) from error
    where = "standard input" if source == STDIN else str(path)
    # Names of files may be no UTF-8; not splitlines(), which splits at letters that names may hold.
    lines = data.decode("utf-8-sig", "surrogateescape").split("\n")
    names = [name for line in lines if (name := line.strip("\r"))]
    if not names or len(data) > LARGEST or "\0" in names[0]:
        what = (
            f"{where}: {len(data):,} bytes that are no list, expected names of pictures, one a line"
        )
        raise DataError("D034", what, "find photos -name '*.jpg' > list.txt")
    beside = Path() if source == STDIN else path.parent
    return [_seen(name, beside) for name in names]


def _seen(name: str, beside: Path) -> str:
    """A name as it can be opened."""
    other = os.path.join(beside, name)  # noqa: PTH118 - names of the web and patterns stay as they are
    return other if not os.path.exists(name) and os.path.exists(other) else name  # noqa: PTH110


def common_folder(names: Sequence[str]) -> Path:
    """The deepest folder that holds all these files, so that equal names in it stay apart."""
    folders = {Path(name).absolute().parent for name in names}
    return Path(os.path.commonpath(folders)) if folders else Path()
