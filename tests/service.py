"""A service in this process, with workers that tests control, and requests by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from pixelwise.serving.app import application
from pixelwise.serving.crew import Crew, Ended, Job, Order
from pixelwise.serving.limits import Limits
from pixelwise.serving.runs import Runs
from pixelwise.serving.server import configured, listening

MODEL = {
    "name": "run",
    "inputs": ["image"],
    "heads": {"labels": {"classes": ["sky", "ground"], "palette": [[0, 0, 0], [1, 1, 1]]}},
}
HOSTS = frozenset(("127.0.0.1",))


@dataclass
class Puppet:
    """A worker that does what it is told: each file's content is a word of ``ACTIONS``."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])
    nets: dict[str, Any] = field(default_factory=lambda: {"run": {"layers": []}})
    batches: list[list[str]] = field(default_factory=list)
    starts: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    async def start(self) -> None:
        self.starts += 1

    async def stop(self) -> None: ...

    async def compute(self, jobs: Sequence[Job], seconds: float) -> None:
        self.batches.append([job.id for job in jobs])
        for job in jobs:
            word = next(iter(job.files.values()))
            if word == b"crash":
                raise Ended("crashed")
            if word == b"slow":
                raise Ended("slow")
            await self.hold.wait()
            if not job.answer.done():
                head = {"type": "application/json", "seconds": 0.0}
                job.answer.set_result((head, [json.dumps(word.decode("latin-1")).encode()]))


def crew_of(puppet: Puppet, limits: Limits) -> Crew:
    """A crew of one worker, not yet started."""
    crew = Crew(Order({}), limits)
    crew.workers = [puppet]  # type: ignore[list-item]
    return crew


@asynccontextmanager
async def running(
    puppet: Puppet, limits: Limits, token: str = "", runs: Runs | None = None
) -> AsyncIterator[int]:
    """A service on a port of this machine."""
    crew = crew_of(puppet, limits)
    await crew.start()
    gate = application(crew, limits, hosts=HOSTS, token=token, runs=runs)
    server = uvicorn.Server(configured(gate, limits))
    sock = listening("127.0.0.1", 0)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        await crew.stop()


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


async def ask(
    port: int,
    body: bytes = b"",
    *,
    path: str = "/v1/predict",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    raw: bytes | None = None,
) -> Reply:
    """One request on a connection of its own; ``raw`` is sent as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "image/png",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **(headers or {}),
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    try:
        writer.write("\r\n".join(lines).encode() + body if raw is None else raw)
        await writer.drain()
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        named = dict(line.lower().split(": ", 1) for line in rest if line)
        length = int(named.get("content-length", -1))
        content = await (reader.readexactly(length) if length >= 0 else reader.read())
        return Reply(int(first.split()[1]), named, content)
    finally:
        writer.close()
