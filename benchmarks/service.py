"""`pixelwise serve` under load: requests that do not wait for one another (an open loop).

    python benchmarks/service.py [MODEL|NET] [--size 375x500] [--seconds 20] [--json]

First the time of one direct call and of one request, one after another; then requests at a quarter,
half, 0.8, once and four times the rate that the service can answer: those that were accepted, their
p50, p95 and p99, how refusals came, how long /healthz took, and memory. At overload the bound is
(queue + 1) service times and a tenth: who is accepted waits for no more than the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from pixelwise.predict.model import load
from pixelwise.workflows.bench.timing import seconds as timed
from pixelwise.workflows.bench.ways import random_checkpoint

RATES = (0.25, 0.5, 0.8, 1.0, 4.0)
QUEUE = 8


async def request(port: int, body: bytes, path: str) -> tuple[int, float, bool]:
    """Status (0: none came), seconds, and whether the answer could be read as one."""
    begun = perf_counter()
    status, whole = 0, False
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    head += f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        top, _, content = answer.partition(b"\r\n\r\n")
        status = int(top.split()[1])
        length = int(re.search(rb"content-length: (\d+)", top.lower())[1])
        whole = length == len(content)
        if status >= 400:
            whole = whole and json.loads(content)["status"] == status
    except (OSError, ValueError, IndexError, TypeError, asyncio.IncompleteReadError):
        pass
    return status, perf_counter() - begun, whole


async def load_of(
    port: int, body: bytes, rate: float, seconds: float, pids: list[int]
) -> dict[str, Any]:
    """Requests at a rate, however slowly they are answered."""
    count = max(3, round(rate * seconds))
    tasks, health, memory = [], [], [resident(pids)]
    begun = perf_counter()
    for i in range(count):
        await asyncio.sleep(max(0.0, begun + i / rate - perf_counter()))
        tasks.append(asyncio.create_task(request(port, body, "/v1/predict?format=png")))
        if i % max(1, count // 20) == 0:
            health.append((await request(port, b"", "/healthz"))[1])
            memory.append(resident(pids))
    done = await asyncio.gather(*tasks)
    taken = sorted(s for status, s, _ in done if status == 200)
    refused = [s for status, s, _ in done if status in (429, 503)]
    return {
        "offered_per_second": round(rate, 2),
        "answered_per_second": round(len(taken) / (perf_counter() - begun), 2),
        "statuses": {str(k): v for k, v in Counter(status for status, _, _ in done).items()},
        "unreadable": sum(not whole for _, _, whole in done),
        **{f"p{p}_ms": round(1e3 * float(np.percentile(taken, p)), 1) for p in (50, 95, 99)},
        "refused_p99_ms": round(1e3 * float(np.percentile(refused, 99)), 1) if refused else None,
        "health_p99_ms": round(1e3 * float(np.percentile(health, 99)), 1),
        "memory_mb": [round(memory[0] / 1e6), round(max(memory) / 1e6)],
    }


def resident(pids: list[int]) -> int:
    """Bytes that processes hold."""
    total = 0
    for pid in pids:
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        total += 1024 * int(match[1]) if match else 0
    return total


def photo(size: tuple[int, int]) -> bytes:
    """A JPEG as smooth as photos are."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1.5)).save(file, "JPEG", quality=90)
    return file.getvalue()


async def measured(port: int, body: bytes, seconds: float, pids: list[int]) -> dict[str, Any]:
    alone = [await request(port, body, "/v1/predict?format=png") for _ in range(12)]
    service = float(np.median([s for _, s, _ in alone[2:]]))
    rows = [await load_of(port, body, f / service, seconds, pids) for f in RATES]
    bound = 1e3 * 1.1 * (QUEUE + 1) * service
    return {"request_ms": round(1e3 * service, 1), "bound_ms": round(bound, 1), "loads": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="fcn8s-efficientnetlite0")
    parser.add_argument("--size", default="375x500")
    parser.add_argument("--threads", default="1", help="of the worker; the load takes the others")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    body = photo((height, width))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(options.model)
        path = path if path.exists() else random_checkpoint(options.model, Path(scratch))
        torch.set_num_threads(int(options.threads))
        model = load(path)
        model.predict(body)
        direct = float(np.median([timed(lambda: model.predict(body)) for _ in range(10)]))
        command = [sys.executable, "-m", "pixelwise", "serve", str(path), "--port", "0"]
        with subprocess.Popen(
            [*command, "--queue", str(QUEUE), "--threads", options.threads], stderr=subprocess.PIPE
        ) as process:
            port = int(process.stderr.readline().decode().rpartition(":")[2])
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            pids = [process.pid, *map(int, children.split())]
            told = asyncio.run(measured(port, body, options.seconds, pids))
            process.terminate()
    told = {"net": options.model, "size": options.size, "direct_ms": round(1e3 * direct, 1)} | told
    if options.json:
        print(json.dumps(told, indent=1))
        return
    print({k: v for k, v in told.items() if k != "loads"})
    for row in told["loads"]:
        print(row)


if __name__ == "__main__":
    main()
