"""The machine's memory: how much can still be taken, and freed memory that is kept at hand.

Large blocks are mapped anew each time by glibc, and the system clears each page at its first touch:
with maps of a hundred megabytes that is a quarter of a forward pass on a processor (ADR 0014). So
memory that is freed and taken again at every step need not go back to the system in between.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import ResourceError

if TYPE_CHECKING:
    import torch

# malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = -1
_DONTNEED = 4  # MADV_DONTNEED, sys/mman.h
# What glibc arrives at by itself in a process that frees large blocks; the count is its default.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_CHOSEN_BY_USER = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


# -- what can be taken ------------------------------------------------------------------------
def require(needed: int, device: torch.device, what: str, hint: str) -> None:
    """Refuse work of so many bytes that does not fit, before anything of it is allocated.

    ``what`` names the work and its bytes, as the message begins.

    Raises:
        ResourceError: R003 with what is available.
    """
    left = available(device)
    if left is not None and 2 * needed > left and device.type == "cpu":
        give_back()  # what is kept counts as taken, and need not fit what comes
        left = available(device)
    if left is not None and needed > left:
        raise ResourceError("R003", f"{what}, {left:,} are available on {device.type}", hint)


def available(device: torch.device) -> int | None:
    """Bytes that can still be taken, or None where the system does not say."""
    if device.type == "cuda":
        import torch

        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held  # what torch keeps to give again
    known = (_of_machine(), _of_group(), _of_process(), _of_limit())
    bounds = [n for n in known if n is not None]
    return min(bounds, default=None)


_limits: list[int] = []


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Within the block the process counts on no more than so many bytes in all; 0: on all."""
    _limits.append(size)
    try:
        yield
    finally:
        _limits.pop()


def process_limit() -> int:
    """The bytes of ``limited``; 0: there is no limit."""
    return _limits[-1] if _limits else 0


def _of_limit() -> int | None:
    pages, limit = _lines("/proc/self/statm"), process_limit()
    held = int(pages[0].split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages else 0
    return max(0, limit - held) if limit else None


@contextmanager
def failed_allocations(hint: str) -> Iterator[None]:
    """An allocation that fails all the same, whoever reports it, becomes R003."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        # torch.OutOfMemoryError is CUDA's; on a processor torch raises a plain RuntimeError.
        short = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not short and "allocate memory" not in text:
            raise
        first, *_ = text.splitlines() or ["an allocation failed"]
        raise ResourceError("R003", f"not enough memory: {first[:200]}", hint) from error


def _of_machine() -> int | None:
    lines = [line for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    return int(lines[0].split()[1]) * 1024 if lines else None  # given in kB


def _of_group(folder: str = "/sys/fs/cgroup") -> int | None:
    """What a container's limit leaves; cached files count as free, as they give way."""
    limit = "".join(_lines(f"{folder}/memory.max")).strip()
    used = "".join(_lines(f"{folder}/memory.current")).strip()
    if not (limit.isdigit() and used.isdigit()):  # "max" is no limit
        return None
    facts = dict(line.split() for line in _lines(f"{folder}/memory.stat"))
    return max(0, int(limit) - int(used) + int(facts.get("inactive_file", 0)))


def _of_process() -> int | None:
    """What ``ulimit -v`` leaves."""
    limit, pages = _address_space(), _lines("/proc/self/statm")
    if limit is None or not pages:
        return None
    return max(0, limit - int(pages[0].split()[0]) * os.sysconf("SC_PAGE_SIZE"))


def _address_space() -> int | None:
    """The limit of ``ulimit -v`` in bytes; None: there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


# -- what is kept -----------------------------------------------------------------------------
_lock, _blocks = threading.Lock(), list[None]()  # an item for each block the process is in


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block the process keeps what its main thread frees; at the end it gives it back.

    It holds for the whole process, as torch's number of threads does, and from then on glibc no
    longer moves its thresholds by itself. Of blocks within each other the last end counts. Nothing
    is changed without glibc, under a limit of address space (``ulimit -v``), where kept blocks
    would stand in the way, or if GLIBC_TUNABLES or a variable such as MALLOC_MMAP_MAX_ is set.
    """
    libc = _glibc()
    chosen = any(name in os.environ for name in _CHOSEN_BY_USER)
    if libc is None or chosen or _address_space() is not None:
        yield
        return
    with _lock:
        _blocks.append(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        with _lock:
            _blocks.pop()
            if not _blocks:
                for parameter, value in _USUAL.items():
                    libc.mallopt(parameter, value)
                libc.malloc_trim(0)


def give_back() -> None:
    """Return to the system what is free, at once."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def give_back_pages(numbers: torch.Tensor) -> None:
    """Let go of the pages of a mapped file that ``numbers``, contiguous, lie in: read when needed.

    Memory of another kind stays, and so does all of a piece to whose pages something was written.
    """
    if numbers.device.type == "cpu":
        _let_go(numbers.data_ptr(), numbers.data_ptr() + numbers.nbytes)


def give_back_code(library: str) -> None:
    """The same of the code of a library that has done its work, by a part of its file's name."""
    for line in _lines("/proc/self/maps"):
        if library in line and " r-xp " in line:
            first, end = line.split()[0].split("-")
            _let_go(int(first, 16), int(end, 16))


def _let_go(first: int, end: int) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    first, end = -(first // -page), end // page
    if first >= end:
        return
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as f:
            f.seek(8 * first)
            entries = array("Q", f.read(8 * (end - first)))
    except OSError:  # another system
        return
    # Bits 63 and 62: the page is in memory or swapped; 61: it is a file's (admin-guide/mm/pagemap).
    # A page that was written to is the process's own, and would be lost.
    if not {entry >> 61 for entry in entries} & {0b010, 0b100, 0b110}:
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(page * first), ctypes.c_size_t(page * (end - first)), _DONTNEED
        )


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
