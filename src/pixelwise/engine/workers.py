"""Threads for the kernels, as many as torch uses, whose own are idle meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

Job = Callable[[int, "Scratch"], object]
"""What is called with the number of a part and memory to work in."""


class Scratch:
    """Memory of one worker, as large as it has been asked for."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.float32)

    def address(self, numbers: int) -> int:
        """Where so many numbers may be written; the next call may write there too."""
        if self._memory.numel() < numbers:
            self._memory = torch.zeros(numbers, dtype=torch.float32)
        return self._memory.data_ptr()


class Workers:
    """Carries out the parts of a job side by side, each by whoever is free."""

    def __init__(self) -> None:
        self._scratch: list[Scratch] = []
        self._shared = Scratch()
        self._pool: ThreadPoolExecutor | None = None
        self._of: tuple[int, int] = (0, 0)

    def each(self, parts: int, job: Job) -> None:
        """Call the job for parts 0 to ``parts`` - 1; what fails is raised here."""
        threads = min(torch.get_num_threads(), parts)
        while len(self._scratch) < threads:
            self._scratch.append(Scratch())
        left = iter(range(parts))
        if threads == 1:
            _work(left, job, self._scratch[0])
            return
        helpers = self._threads(torch.get_num_threads() - 1)
        futures = [helpers.submit(_work, left, job, s) for s in self._scratch[1:threads]]
        _work(left, job, self._scratch[0])
        for future in futures:
            future.result()

    def shared(self, numbers: int) -> int:
        """The address of memory that all workers see."""
        return self._shared.address(numbers)

    def _threads(self, count: int) -> ThreadPoolExecutor:
        wanted = (os.getpid(), count)  # the threads of a parent process are not in its child
        if self._pool is None or self._of != wanted:
            self._pool, self._of = ThreadPoolExecutor(count, "pixelwise"), wanted
        return self._pool


def _work(left: Iterator[int], job: Job, scratch: Scratch) -> None:
    for part in left:  # one iterator for all: a part is taken once
        job(part, scratch)
