"""Memory that is freed and taken again at every step need not go back to the system in between.

Large blocks are mapped anew each time by glibc, and the system clears each page at its first touch:
with maps of a hundred megabytes that is a fifth of a forward pass on a processor (docs/lab-log.md).
Elsewhere than on glibc nothing is changed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
# What glibc arrives at by itself in a process that frees large blocks; the count is its default.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block the process keeps what is freed, at its end it gives it back.

    It holds for the whole process, as torch's number of threads does. Do not nest it: the inner
    end is the end.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
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
