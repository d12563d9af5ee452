"""MATLAB files of a published data set, in folders or in archives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap
from pixelwise.data.prepare.archives import Entry
from pixelwise.errors import DataError
from pixelwise.labels import VOID
from pixelwise.pictures.matfile import MatReader

T = TypeVar("T")


def counted_from_one(classes: ClassMap) -> ClassMap:
    """The same classes in files where 1 is the first and 0 is void."""
    return replace(classes, values={0: VOID, **{i + 1: i for i in range(len(classes.classes))}})


class MatFiles:
    """Reads them in one child process, which is started with the first; used with ``with``.

    Args:
        scratch: folder for copies of what lies in archives.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._reader: MatReader | None = None
        self._turn = threading.Lock()

    def __enter__(self) -> MatFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader:
            self._reader.close()

    def read(self, entry: Entry, *keys: str) -> tuple[NDArray[Any], ...]:
        """As ``MatReader.read``; messages name the file, or the archive and its place there.

        Raises:
            DataError: D026 damaged, or without a key; as ``Entry.bytes``.
            ResourceError: R008 the extra ``data`` is not installed.
        """
        return self._asked(entry, lambda reader, path: reader.read(path, *keys))

    def variables(self, entry: Entry) -> dict[str, tuple[int, ...]]:
        """As ``MatReader.variables``; raises what ``read`` does."""
        return self._asked(entry, lambda reader, path: reader.variables(path))

    def whole_numbers(self, entry: Entry, key: str, *, least: int = 0) -> NDArray[np.int32]:
        """A label map (H, W): whole numbers of ``least`` to 65535, in whatever type they stand.

        Raises:
            DataError: D026 others; as ``read``.
        """
        (raw,) = self.read(entry, key)
        with np.errstate(invalid="ignore"):  # not a number equals nothing
            flat = raw.ndim == 2 and raw.dtype.kind in "biuf"
            numbers = raw.astype(np.int32) if flat else np.zeros((1, 1), np.int32)
            right = flat & (raw == numbers) & (numbers >= least) & (numbers <= 65535)
        if not right.all():
            what = f"{entry}: `{key}` is {raw.dtype} of shape {raw.shape}"
            what += f", expected (H, W) whole numbers from {least}"
            if flat:
                row, column = (int(i[0]) for i in np.nonzero(~right))
                what += f", not {raw[row, column]:g} as at x={column} y={row}"
            raise DataError("D026", what, "get the archive again")
        return numbers

    def _asked(self, entry: Entry, question: Callable[[MatReader, Path], T]) -> T:
        with self._turn:
            self._reader = self._reader or MatReader()
            with entry.on_disk(self.scratch) as path:
                try:
                    return question(self._reader, path)
                except DataError as error:
                    error.args = (str(error).replace(str(path), str(entry)),)
                    raise
