"""Items carried out by workers on a cluster, their results in order, whoever dies meanwhile.

Ray's actors are used by themselves, not by Ray Data: its pools wait for ever for an actor whose
machine is gone and not replaced (ADR 0034). Here the work of who died goes to who lives.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from pixelwise import __version__
from pixelwise.errors import DataError, PixelwiseError, ResourceError
from pixelwise.machine.signals import Caught
from pixelwise.scale.cluster import Cluster, first_line

Carry = Callable[[Sequence[Any]], Sequence[Any]]
"""A batch of items to the result of each."""

BATCH, SHARES = 16, 8
"""Items that a worker is handed at once, at most, as between two batches nothing is read ahead; and
batches for each worker at the least, so that the last ones end nearly together."""
TRIES = 4
"""Workers that an item may cost. A machine that is taken away costs one, a picture that brings
down whoever reads it all of them."""
GIVEN_UP = (
    f"whoever worked on it died, each of {TRIES} times",
    "memory may be too little: fewer workers by --threads, or --max-memory",
)
STARTS = 3  # workers in a row that may die before they begin
PATIENCE = 60.0  # seconds without a worker that has begun, after which that is said
SHARED = "give paths that all machines of the cluster see, as of a file server"

log = logging.getLogger(__name__)


def named(error: PixelwiseError, place: str) -> PixelwiseError:
    """An error that says where, or of what."""
    error.args = (f"{place}: {error}",)
    return error


class Worker:
    """What runs on the cluster; ``opened`` makes what carries batches out, once.

    Errors are values, as Ray wraps those that are raised.
    """

    def __init__(self, opened: Callable[[], Carry], version: str) -> None:
        self.refusal: PixelwiseError | None = None
        try:
            if version != __version__:
                what = f"pixelwise {__version__} is installed, expected {version} as where it began"
                raise ResourceError("R008", what, f"pip install pixelwise=={version}")
            self._carry = opened()
        except PixelwiseError as error:
            self.refusal = named(error, f"on {platform.node()}, a machine of the cluster")

    def carry_out(self, items: Sequence[Any]) -> Sequence[Any] | PixelwiseError:
        """The result of each item."""
        try:
            return self.refusal or (self._carry(items) if items else [])
        except PixelwiseError as error:
            return error


def spread(
    cluster: Cluster, opened: Callable[[], Carry], items: Sequence[Any], *, stop: Caught
) -> Generator[Any]:
    """The result of each item, in order, until a signal comes; at the end no worker is left.

    An item whose worker died is carried out anew by another one, so it must do no harm to do it
    twice; of one that brings down every worker the result is an error, R010.

    Raises:
        PixelwiseError: what a worker raised.
        ResourceError: R010 workers die before they begin.
    """
    crew = _Crew(cluster, opened)
    left, tries, ended, due = deque(range(len(items))), Counter[int](), dict[int, Any](), 0
    most = max(1, min(BATCH, len(items) // (SHARES * cluster.workers)))
    try:
        while due < len(items) and not stop.signal:
            while left and crew.idle:
                numbers = [left.popleft()]
                # Who was there when a worker died is tried alone, so that others do not die of it.
                while left and len(numbers) < most and not tries[left[0]] + tries[numbers[0]]:
                    numbers.append(left.popleft())
                crew.hand_out(numbers, [items[n] for n in numbers])
            for numbers, results in crew.news():
                if results is None:
                    tries.update(numbers)
                    given_up = [n for n in numbers if tries[n] >= TRIES]
                    ended.update((n, ResourceError("R010", *GIVEN_UP)) for n in given_up)
                    left.extendleft(n for n in reversed(numbers) if n not in given_up)
                else:
                    ended.update(zip(numbers, results, strict=True))
            while due in ended:
                yield ended.pop(due)
                due += 1
    finally:
        for worker in [*crew.idle, *(worker for worker, _ in crew.going.values())]:
            cluster.ray.kill(worker)


class _Crew:
    """The workers of a cluster, idle or with what each has to do."""

    def __init__(self, cluster: Cluster, opened: Callable[[], Carry]) -> None:
        self._ray, self._heard, self._deaths = cluster.ray, time.monotonic(), 0
        gpus = int(cluster.device == "cuda")
        self._kind = self._ray.remote(num_cpus=cluster.threads, num_gpus=gpus)(Worker)
        # Once for all of them: it may hold the names of all pictures of a data set.
        self._opened = self._ray.put(opened)
        self.idle: list[Any] = []
        self.going: dict[Any, tuple[Any, list[int]]] = {}
        """Awaited results to the worker and the numbers of its items, none as it begins."""
        for _ in range(cluster.workers):
            self._start()

    def _start(self) -> None:
        self.idle.append(self._kind.remote(self._opened, __version__))
        self.hand_out([], [])

    def hand_out(self, numbers: list[int], items: Sequence[Any]) -> None:
        """Give a batch to the worker that became idle last."""
        worker = self.idle.pop()
        self.going[worker.carry_out.remote(items)] = worker, numbers

    def news(self) -> Generator[tuple[list[int], Sequence[Any] | None]]:
        """Within a second the numbers of batches that have ended, and their results; None: the
        worker has died.
        """
        ready, _ = self._ray.wait([*self.going], timeout=1.0)
        if ready or any(numbers for _, numbers in self.going.values()):
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > PATIENCE:
            log.warning("no worker has begun: the cluster's processors may be taken by others")
            self._heard = time.monotonic()
        for ref in ready:
            worker, numbers = self.going.pop(ref)
            try:
                results = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError:  # a mistake of ours: as without Ray
                raise
            except self._ray.exceptions.RayError as error:
                self._ray.kill(worker)  # that it cannot be reached does not say it does nothing
                self._replace(numbers, error)
                yield numbers, None
                continue
            if isinstance(results, PixelwiseError):
                raise results
            self._deaths = 0
            self.idle.append(worker)
            yield numbers, results

    def _replace(self, numbers: list[int], error: Exception) -> None:
        self._deaths += not numbers
        if self._deaths >= STARTS:
            what = f"workers of the cluster die before they begin ({first_line(error)})"
            hint = "see the logs of Ray; is pixelwise installed on each machine?"
            raise ResourceError("R010", what, hint) from error
        log.warning("a worker died (%s); its work is done anew", first_line(error))
        self._start()


# -- what workers need on their machines ----------------------------------------------------------
def go_home(home: Path, mark: Path | None) -> None:
    """Work from the folder of the command; refuse a machine that does not see its outputs.

    Raises:
        ResourceError: R002 ``mark``, which is among them, is not there.
    """
    if home.is_dir():
        os.chdir(home)
    if mark and not mark.exists():
        what = f"{mark.parent} is not there, or is another folder than where it began"
        raise ResourceError("R002", what, SHARED)


def refuse_unseen(error: PixelwiseError | None, *files: Path) -> None:
    """A file that a worker does not see is not missing if this machine does: D010 says so."""
    for path in files if error is not None and error.code == "D010" else ():
        if str(path) in str(error) and os.access(path, os.R_OK):
            what = f"{path} is here, but cannot be read on all machines of the cluster"
            raise DataError("D010", what, SHARED) from error
