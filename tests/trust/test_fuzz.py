"""Damaged files of every kind are read, or refused by an error of ours, whatever the damage.

The full counts are those of docs/trust.md; `PIXELWISE_TRUST` is the share of them that is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from trust_counts import share

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
SCRIPT = Path(__file__).parent / "fuzzing.py"
COPIES = {
    "pictures": 150_000,
    "labels": 50_000,
    "caffemodels": 50_000,
    "checkpoints": 10_000,
    "torch": 10_000,
    "mats": 5_000,
    "archives": 10_000,
    "documents": 20_000,
}
GUIDED_SECONDS = 300


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k == "mats" else k for k in COPIES]
)
def test_damaged_copies_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(tmp_path), str(share(COPIES[kind], least=40))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PIXELWISE_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"], done.stderr
    assert found["refused"] >= 1
    assert found["read"] + found["refused"] >= 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pictures", "labels", "caffemodels", "checkpoints", "documents"])
def test_files_that_are_led_by_our_lines_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("atheris")
    seconds = str(share(GUIDED_SECONDS, least=10))
    done = subprocess.run(
        [sys.executable, str(SCRIPT.with_name("guided.py")), kind, str(tmp_path), seconds],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PIXELWISE_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert not list(tmp_path.glob("found-*"))
    reached = re.findall(r"\bcov: (\d+)", done.stderr)
    assert int(reached[-1]) > 100  # our lines are seen at all


async def answers(count: int) -> list[bytes]:
    """What a service says to damaged requests, the first line of each; then it must still work."""
    from fuzzing import damaged

    from pixelwise.serving.limits import Limits
    from service import Puppet, ask, running

    told = []
    async with running(Puppet(), Limits()) as port:
        seeds = [
            f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
            for line, kind, body in REQUESTS
        ]
        for number in range(count):
            wild = random.Random(number)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(damaged(wild.choice(seeds), wild))
                writer.write_eof()
                told.append(await asyncio.wait_for(reader.readline(), 30))
            except ConnectionError:  # closed while we still spoke, which is an answer too
                told.append(b"")
            finally:
                writer.close()
        assert (await ask(port, b"hello")).status == 200
    return told


BOUNDARY = "multipart/form-data; boundary=x"
PART = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    b"hello\r\n--x--\r\n"
)
REQUESTS = [
    ("POST /v1/predict", "image/png", b"hello"),
    ("POST /v1/predict?model=run&format=json&size=640", "image/png", b"hello"),
    ("POST /v1/predict", BOUNDARY, PART),
    ("GET /v1/models", "text/plain", b""),
    ("GET /readyz", "text/plain", b""),
    ("GET /", "text/plain", b""),
]


# The file of a form without its end mark is left to the garbage collector (Starlette 1.10).
@pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.Spooled:ResourceWarning")
def test_damaged_requests_are_answered_or_closed_and_end_nothing() -> None:
    told = asyncio.run(answers(share(5000, least=100)))
    assert all(re.match(rb"HTTP/1\.1 [1-4]\d\d ", line) for line in told if line), set(told)
    assert any(line.startswith(b"HTTP/1.1 200") for line in told)
    assert any(line.startswith(b"HTTP/1.1 4") for line in told)
