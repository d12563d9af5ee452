"""MATLAB files of a published data set, in folders or in archives."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pixelwise.data.matfile import MatReader
from pixelwise.data.prepare.archives import Entry
from pixelwise.errors import DataError


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
        with self._turn:
            self._reader = self._reader or MatReader()
            with entry.on_disk(self.scratch) as path:
                try:
                    return self._reader.read(path, *keys)
                except DataError as error:
                    error.args = (str(error).replace(str(path), str(entry)),)
                    raise
