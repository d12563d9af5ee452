"""Work in three stages, of which reading runs ahead and writing behind, in threads of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")

AHEAD = 1
"""Items that wait before and behind the work: one keeps it busy, each more costs its memory."""


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Made],
    write: Callable[[Made], Written],
) -> Iterator[Written]:
    """``write(work(read(item)))`` of each item, in order; ``work`` is called in this thread.

    What a stage raises is raised here when its item's turn has come; what has begun to be written
    is finished before.
    """
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        coming, going = deque[Future[Read]](), deque[Future[Written]]()
        try:
            for item in items:
                coming.append(reader.submit(read, item))
                if len(coming) > AHEAD:
                    going.append(writer.submit(write, work(coming.popleft().result())))
                if len(going) > AHEAD:
                    yield going.popleft().result()
            while coming:
                going.append(writer.submit(write, work(coming.popleft().result())))
            while going:
                yield going.popleft().result()
        finally:
            for future in coming:
                future.cancel()
