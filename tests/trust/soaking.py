"""A service at 80 % of what it can do, for a long time, among clients of every kind.

    python tests/trust/soaking.py MODEL SECONDS

Whole pictures of many sizes and formats, pictures that are none, clients that go away in the middle
of sending or before the answer, clients that send a byte now and then; and a worker that is killed
with a request in its hands. As JSON: how requests ended, times, and the memory, files and threads
of the service a quarter of the way in and in the end.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from time import perf_counter, sleep
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from service import ask

LOAD = 0.8
BETWEEN_KILLS = 30.0
"""Seconds: the service gives up after five ends within a minute (docs/service.md)."""
DRIP = 0.25
"""Seconds between two bytes of a slow client, who goes away after twelve."""
HEAD = (
    b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    b"Content-Length: %d\r\n"
)
SIZES = ((24, 32), (64, 64), (97, 131), (160, 120))
WISHES = ("png", "json", "npz", "overlay", "confidence", "heat", "huggingface")


@dataclass
class Seen:
    """What clients saw."""

    ends: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    """Answers that should not have come."""
    taken: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)


# -- clients --------------------------------------------------------------------------------------
async def sent(port: int, body: bytes, path: str) -> tuple[int, bytes]:
    """Status and body of the answer; status 0 where the connection ended before one came."""
    try:
        reply = await ask(port, body, path=path, method="POST" if body else "GET")
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0, b""
    return reply.status, reply.body


async def whole(port: int, seen: Seen, rng: random.Random, bodies: dict[str, bytes]) -> None:
    """A picture, which must be labelled, or refused for want of a place, in a way to be read."""
    body, wish = rng.choice([*bodies.values()]), rng.choice(WISHES)
    began = perf_counter()
    status, content = await sent(port, body, f"/v1/predict?format={wish}")
    seen.ends[f"whole {status}"] += 1
    if status == 200:
        seen.taken.append(perf_counter() - began)
    elif status not in (429, 503) or json.loads(content)["status"] != status:
        seen.odd.append(f"{wish} {status} {content[:200]!r}")


async def broken(port: int, seen: Seen, rng: random.Random, bodies: dict[str, bytes]) -> None:
    """What is no picture is refused as such."""
    body = bytearray(rng.choice([*bodies.values()]))
    body = rng.choice([body[: len(body) // 3], bytearray(b"no picture" * rng.randint(1, 5000))])
    status, content = await sent(port, bytes(body), "/v1/predict")
    seen.ends[f"broken {status}"] += 1
    if (not 400 <= status < 500 and status != 503) or json.loads(content)["status"] != status:
        seen.odd.append(f"broken {status} {content[:200]!r}")


async def leaving(port: int, seen: Seen, rng: random.Random, bodies: dict[str, bytes]) -> None:
    """Gone in the middle of sending."""
    body = rng.choice([*bodies.values()])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD % len(body) + b"\r\n" + body[: rng.randrange(len(body))])
    await asyncio.sleep(rng.random() / 10)
    writer.close()
    seen.ends["left"] += 1


async def dripping(port: int, seen: Seen, rng: random.Random, bodies: dict[str, bytes]) -> None:
    """A byte now and then, of headers or of a body; then gone."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD % 100_000 + rng.choice([b"X-Slow: ", b"\r\n"]))
    for _ in range(12):
        await asyncio.sleep(DRIP)
        writer.write(b"a")
    writer.close()
    seen.ends["dripped"] += 1


async def looking(port: int, seen: Seen, rng: random.Random, bodies: dict[str, bytes]) -> None:
    """The page and what it asks."""
    path = rng.choice(["/", "/v1/models", "/metrics", "/readyz", "/openapi.json", "/../etc/passwd"])
    status, _ = await sent(port, b"", path)
    seen.ends[f"look {status}"] += 1
    wanted = {"/../etc/passwd": (404,), "/readyz": (200, 503)}.get(path, (200,))
    if status not in wanted:
        seen.odd.append(f"GET {path} {status}")


Client = Callable[[int, Seen, random.Random, dict[str, bytes]], Coroutine[Any, Any, None]]
CLIENTS: dict[Client, float] = {whole: 70, broken: 10, leaving: 6, dripping: 4, looking: 10}


# -- the service ----------------------------------------------------------------------------------
def children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def held(pid: int) -> dict[str, float]:
    """Bytes, open files and threads of the process that clients speak to; bytes of workers."""

    def resident(of: int) -> int:
        text = Path(f"/proc/{of}/status").read_text()
        of_living = text.partition("VmRSS:")[2].split()
        return 1024 * int(of_living[0]) if of_living else 0

    files, threads = (len([*Path(f"/proc/{pid}/{kind}").iterdir()]) for kind in ("fd", "task"))
    workers = sum(map(resident, children(pid)))
    return {"bytes": resident(pid), "workers": workers, "files": files, "threads": threads}


async def killed_at_work(port: int, pid: int, body: bytes, seen: Seen) -> None:
    """A worker dies with a request in its hands, which is carried out by the next one."""
    asked = asyncio.create_task(sent(port, body, "/v1/predict"))
    await asyncio.sleep(0.03)
    for worker in children(pid):
        os.kill(worker, signal.SIGKILL)
    status, content = await asked
    seen.ends[f"killed {status}"] += 1
    if status not in (200, 429, 503):
        seen.odd.append(f"after a kill: {status} {content[:200]!r}")


async def soaked(port: int, pid: int, seconds: float) -> dict[str, Any]:
    rng, seen, bodies = random.Random(0), Seen(), pictures()
    alone = Seen()
    for _ in range(20):
        await whole(port, alone, rng, bodies)
    service = fmean(alone.taken[4:])
    mean_work = service * CLIENTS[whole] / sum(CLIENTS.values())  # the others take little
    rate, tasks, early = LOAD / mean_work, set[asyncio.Task[None]](), held(pid)
    start = perf_counter()
    next_look, next_kill = start, start + min(BETWEEN_KILLS, seconds / 3)
    while (now := perf_counter()) < start + seconds:
        client = rng.choices([*CLIENTS], [*CLIENTS.values()])[0]
        tasks.add(asyncio.create_task(client(port, seen, rng, bodies)))
        if now > next_look:
            next_look = now + 1
            status, _ = await sent(port, b"", "/healthz")
            seen.health.append(perf_counter() - now)
            seen.odd += [f"GET /healthz {status}"] if status != 200 else []
        if now > next_kill:
            next_kill = now + BETWEEN_KILLS
            tasks.add(asyncio.create_task(killed_at_work(port, pid, bodies["large"], seen)))
        if now < start + seconds / 4 and (now_held := held(pid))["workers"]:
            early = now_held
        for task in {t for t in tasks if t.done()}:
            tasks.remove(task)
            task.result()
        await asyncio.sleep(rng.expovariate(rate))
    await asyncio.gather(*tasks)
    await asyncio.sleep(12)  # idle connections are closed after five seconds, and threads that
    await sent(port, b"", "/")  # read files for the page end after ten, when it is next asked
    await asyncio.sleep(6)
    return {
        "seconds": round(perf_counter() - start, 1),
        "alone_ms": round(1e3 * service, 2),
        "offered_per_second": round(rate, 1),
        "ends": dict(sorted(seen.ends.items())),
        "odd": seen.odd[:20],
        **{f"p{p}_ms": round(1e3 * float(np.percentile(seen.taken, p)), 1) for p in (50, 95, 99)},
        "health_p99_ms": round(1e3 * float(np.percentile(seen.health, 99)), 1),
        "early": early,
        "late": held(pid),
    }


def pictures() -> dict[str, bytes]:
    """Encoded pictures by their names; the last one takes a worker the longest."""
    made = {}
    for size in (*SIZES, (480, 640)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
        for kind in ("PNG", "JPEG", "WEBP"):
            file = io.BytesIO()
            image.save(file, kind)
            made[f"{kind} {size}"] = file.getvalue()
    made["large"] = made.pop("PNG (480, 640)")
    return made


def main() -> None:
    model, seconds = sys.argv[1], float(sys.argv[2])
    command = [sys.executable, "-m", "pixelwise", "serve", model, "--port", "0"]
    more = ["--per-client", "64", "--threads", "1"]
    with (
        tempfile.NamedTemporaryFile("r") as log,  # a pipe that nobody reads would hold it up
        Path(log.name).open("w") as into,
        subprocess.Popen([*command, *more], stderr=into) as process,
    ):
        try:
            while not (first := Path(log.name).read_text().partition("\n"))[1]:
                assert process.poll() is None, first
                sleep(0.1)
            told = asyncio.run(soaked(int(first[0].rpartition(":")[2]), process.pid, seconds))
        finally:
            process.terminate()
        told["end"] = process.wait(30)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
