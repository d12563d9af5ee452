"""Threads for the kernels, as many as torch uses, whose own are idle meanwhile."""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import torch

Job = Callable[[int, "Scratch"], object]
"""What is called with the number of a part and memory to work in."""


_outside = threading.local()
"""Of a thread that is within ``alone``: the threads that torch uses outside."""


def threads() -> int:
    """How many may work at a time."""
    return getattr(_outside, "threads", 0) or torch.get_num_threads()


@contextmanager
def alone() -> Iterator[None]:
    """Within, torch's operations of this thread are carried out by it alone.

    torch's other threads keep their processors busy for milliseconds after each operation, waiting
    for more (libgomp), where the workers should be: FCN-8s-EfficientNet-Lite0 at 500x500 took 190
    to 390 ms of processor time on two threads, now 75 to 95.
    """
    count = _outside.threads = torch.get_num_threads()
    _set_torchs(1)
    try:
        yield
    finally:
        _set_torchs(count, 0)  # MKL's is that of all threads again
        _outside.threads = 0


def _set_torchs(count: int, mkls: int = 1) -> None:
    """OpenMP's number for this thread, and MKL's; ``torch.set_num_threads`` sets new ones' too."""
    for call, number in zip(_setters(), (count, mkls), strict=False):
        call(number)


@cache
def _setters() -> list[Callable[[int], object]]:
    try:
        library = ctypes.CDLL(torch._C.__file__)
        return [library.omp_set_num_threads, library.MKL_Set_Num_Threads_Local]
    except (OSError, AttributeError):  # torch was built without, or is looked up in another way
        return []


class Scratch:
    """Memory of one worker, as large as it has been asked for."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.float32)

    def address(self, numbers: int) -> int:
        """Where so many numbers may be written; the next call may write there too."""
        return self.numbers(numbers).data_ptr()

    def numbers(self, *shape: int) -> torch.Tensor:
        """The same memory as a tensor."""
        size = math.prod(shape)
        if self._memory.numel() < size:
            self._memory = torch.zeros(size, dtype=torch.float32)
        return self._memory[:size].view(shape)


class Workers:
    """Carries out the parts of a job side by side, each by whoever is free."""

    def __init__(self) -> None:
        self._scratch: list[Scratch] = []
        self._shared = Scratch()
        self._pool: ThreadPoolExecutor | None = None
        self._of: tuple[int, int] = (0, 0)

    def each(self, parts: int, job: Job) -> None:
        """Call the job for parts 0 to ``parts`` - 1; what fails is raised here."""
        count = min(threads(), parts)
        while len(self._scratch) < count:
            self._scratch.append(Scratch())
        left = iter(range(parts))
        if count == 1:
            _work(left, job, self._scratch[0])
            return
        helpers = self._threads(threads() - 1)
        futures = [helpers.submit(_work, left, job, s) for s in self._scratch[1:count]]
        _work(left, job, self._scratch[0])
        for future in futures:
            if not future.cancel():  # one that has not begun finds nothing left
                future.result()

    def shared(self, numbers: int) -> int:
        """The address of memory that all workers see."""
        return self._shared.address(numbers)

    def _threads(self, count: int) -> ThreadPoolExecutor:
        wanted = (os.getpid(), count)  # the threads of a parent process are not in its child
        if self._pool is None or self._of != wanted:
            self._pool, self._of = ThreadPoolExecutor(count, "pixelwise", _set_torchs, (1,)), wanted
        return self._pool


def _work(left: Iterator[int], job: Job, scratch: Scratch) -> None:
    for part in left:  # one iterator for all: a part is taken once
        job(part, scratch)
