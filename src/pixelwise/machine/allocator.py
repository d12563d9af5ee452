"""Memory that is freed and taken again at every step need not go back to the system in between.

Large blocks are mapped anew each time by glibc, and the system clears each page at its first touch:
with maps of a hundred megabytes that is a quarter of a forward pass on a processor (ADR 0014).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
# What glibc arrives at by itself in a process that frees large blocks; the count is its default.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_CHOSEN_BY_USER = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


class _Blocks:
    """How many blocks of ``freed_memory_kept`` the process is in."""

    def __init__(self) -> None:
        self.open = 0
        self.lock = threading.Lock()


_blocks = _Blocks()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block the process keeps what its main thread frees; at the end it gives it back.

    It holds for the whole process, as torch's number of threads does, and from then on glibc no
    longer moves its thresholds by itself. Of blocks within each other the last end counts. Nothing
    is changed without glibc, under a limit of address space (``ulimit -v``), where kept blocks
    would stand in the way, or if GLIBC_TUNABLES or a variable such as MALLOC_MMAP_MAX_ is set.
    """
    libc = _glibc()
    if libc is None or _limited() or any(name in os.environ for name in _CHOSEN_BY_USER):
        yield
        return
    with _blocks.lock:
        _blocks.open += 1
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        with _blocks.lock:
            _blocks.open -= 1
            if not _blocks.open:
                for parameter, value in _USUAL.items():
                    libc.mallopt(parameter, value)
                libc.malloc_trim(0)


def give_back() -> None:
    """Return to the system what is free, at once."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def _limited() -> bool:
    import resource  # not on Windows

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
