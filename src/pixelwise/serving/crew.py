"""Worker processes: started, given work, ended when they take too long, started again."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from pixelwise import errors
from pixelwise.errors import PixelwiseError, ResourceError
from pixelwise.serving import frames
from pixelwise.serving.limits import Limits

MINUTE = 60.0
LINE = 1 << 20  # bytes that a pipe's reader holds


class Ended(Exception):
    """A worker ended before it had answered."""


@dataclass(frozen=True)
class Order:
    """What every worker of a service is started with."""

    models: Mapping[str, str]
    """Name to path."""
    device: str = "auto"
    precision: str = ""
    memory: str = "fast"
    threads: int = 0
    corrections: str = ""
    """Folder for label maps that clients corrected; empty: none are taken."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """One request, from its arrival to its answer."""

    id: str
    wish: dict[str, Any]
    files: dict[str, bytes]
    client: str
    answer: asyncio.Future[frames.Frame]
    arrived: float = field(default_factory=monotonic)
    tried: bool = False
    """Whether a worker ended while it had it: it is then computed alone, and not a third time."""

    @property
    def head(self) -> dict[str, Any]:
        """What the worker reads."""
        return {**self.wish, "id": self.id, "files": list(self.files)}


class Worker:
    """One process; its owner alone speaks with it."""

    def __init__(self, order: Order) -> None:
        self.order, self.models = order, list[dict[str, Any]]()
        self.nets = dict[str, Any]()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Load the models; what they are stands in ``models``.

        Raises:
            PixelwiseError: as the models' loading raised it; R010 the process ended.
        """
        order = self.order
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pixelwise.serving.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
            env={**order.environment},
            start_new_session=True,  # Ctrl-C is for the service, which ends its workers itself
        )
        names = ("device", "precision", "memory", "threads", "corrections")
        options = {name: getattr(order, name) for name in names}
        try:
            await self._send({"models": dict(order.models), **options}, [])
            head, _ = await frames.received(self._out)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ResourceError("R010", "a worker ended while it loaded the models") from error
        if "error" in head:
            kind = getattr(errors, head["kind"])
            raise kind(head["error"]["code"], head["error"]["error"], head["error"]["hint"])
        self.models, self.nets = head["models"], head["nets"]

    async def compute(self, jobs: Sequence[Job], seconds: float) -> None:
        """Answer jobs, one after another.

        Raises:
            Ended: the process ended, or was ended after ``seconds`` for one of them.
        """
        waiting = {job.id: job for job in jobs}
        try:
            async with asyncio.timeout(seconds):
                blobs = [data for job in jobs for data in job.files.values()]
                await self._send({"jobs": [job.head for job in jobs]}, blobs)
            while waiting:
                async with asyncio.timeout(seconds):
                    head, contents = await frames.received(self._out)
                job = waiting.pop(head["id"])
                if not job.answer.done():
                    job.answer.set_result((head, contents))
        except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            late = isinstance(error, TimeoutError)
            await self.stop()
            raise Ended("slow" if late else "crashed") from error

    async def stop(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return self._process.pid if self._process else 0

    @property
    def _out(self) -> asyncio.StreamReader:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout

    async def _send(self, head: dict[str, Any], blobs: Sequence[bytes]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.writelines(frames.packed(head, blobs))
        await self._process.stdin.drain()


class Refused(Exception):
    """A request that was not taken on; ``args`` are status and seconds after which to ask again."""


class Crew:
    """The queue of a service and the workers that empty it."""

    def __init__(self, order: Order, limits: Limits, count: int = 1) -> None:
        self.limits, self.workers = limits, [Worker(order) for _ in range(count)]
        self.corrected = bool(order.corrections)
        """Whether label maps that clients corrected are taken."""
        self.waiting = deque[Job]()
        self.computed = list[Job]()
        self.restarts = 0
        self.seconds = 1.0
        """That a request has taken lately, for telling others when to come back."""
        self.failure: PixelwiseError | None = None
        self._arrival = asyncio.Event()
        self._ends = deque[float]()
        self._tasks = list[asyncio.Task[None]]()
        self._up = 0

    @property
    def models(self) -> list[dict[str, Any]]:
        """What is served."""
        return self.workers[0].models

    @property
    def ready(self) -> bool:
        """Whether a worker can take the next request."""
        return self._up > 0 and self.failure is None

    async def start(self) -> None:
        """Load the models in every worker; raises what the first raised."""
        for worker in self.workers:
            await worker.start()
        self._up = len(self.workers)
        self._tasks = [asyncio.create_task(self._work(w)) for w in self.workers]

    async def stop(self) -> None:
        """End all workers; who still waits is refused."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self.workers:
            await worker.stop()
        self._turn_away()

    def full(self, client: str) -> Refused | None:
        """Why a request of this client is not taken on now."""
        # What a worker took besides the one that it computes waits as well.
        if len(self.waiting) + len(self.computed) >= self.limits.queue + len(self.workers):
            return Refused(503, self._wait())
        own = sum(job.client == client for job in (*self.waiting, *self.computed))
        return Refused(429, self._wait()) if own >= self.limits.per_client else None

    async def answered(self, job: Job) -> frames.Frame:
        """The answer to a request, in its turn; without its body's end no turn is taken.

        Raises:
            Refused: the queue is full, or the service gave up.
        """
        if refused := self.full(job.client):
            raise refused
        if self.failure:
            raise Refused(503, self._wait())
        self.waiting.append(job)
        self._arrival.set()
        try:
            return await job.answer
        finally:
            if job in self.waiting:  # the client went away
                self.waiting.remove(job)

    def _wait(self) -> int:
        ahead = (len(self.waiting) + len(self.computed)) / len(self.workers)
        return max(1, round(ahead * self.seconds))

    async def _work(self, worker: Worker) -> None:
        while self.failure is None:
            while not self.waiting:
                self._arrival.clear()
                await self._arrival.wait()
            jobs = self._taken()
            begun = monotonic()
            self.computed += jobs
            try:
                await worker.compute(jobs, self.limits.computing)
                self.seconds += ((monotonic() - begun) / len(jobs) - self.seconds) / 4
            except Ended as error:
                self._give_back(jobs, slow=str(error) == "slow")
                await self._again(worker)
            finally:
                self.computed = [job for job in self.computed if job not in jobs]

    def _taken(self) -> list[Job]:
        """The first that waits, and those behind it for the same model."""
        first = self.waiting.popleft()
        if first.tried:
            return [first]
        more = [j for j in self.waiting if j.wish["model"] == first.wish["model"] and not j.tried]
        more = more[: self.limits.batch - 1]
        for job in more:
            self.waiting.remove(job)
        return [first, *more]

    def _give_back(self, jobs: Sequence[Job], *, slow: bool) -> None:
        """Those without an answer: the one that took too long is told so, others come again."""
        open_ones = [job for job in jobs if not job.answer.done()]
        for place, job in enumerate(open_ones):
            if (slow and place == 0) or job.tried:
                told = {"ended": "slow" if slow else "crashed"}
                job.answer.set_result((told, []))
            else:
                job.tried = True
        self.waiting.extendleft(reversed([job for job in open_ones if not job.answer.done()]))

    async def _again(self, worker: Worker) -> None:
        now = monotonic()
        self.restarts += 1
        self._ends.append(now)
        while self._ends[0] < now - MINUTE:
            self._ends.popleft()
        self._up -= 1
        try:
            if len(self._ends) > self.limits.crashes:
                what = f"workers ended {len(self._ends)} times within a minute"
                raise ResourceError("R010", what, "see what the service said before")
            await worker.start()
            self._up += 1
        except PixelwiseError as error:
            self.failure = error
            self._turn_away()

    def _turn_away(self) -> None:
        for job in (*self.waiting, *self.computed):
            if not job.answer.done():
                job.answer.set_exception(Refused(503, 1))
        self.waiting.clear()
