"""``pixelwise serve`` as its users start it: a process, a port, real pictures."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from tests.service import Reply, ask
from tests.small_model import save_model

from pixelwise import load

pytest.importorskip("fastapi")
PIXELWISE = (sys.executable, "-m", "pixelwise")
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "small.safetensors")


@pytest.fixture(scope="module")
def service(model: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    command = (*PIXELWISE, "serve", str(model), "--port", "0", "--max-megapixels", "1")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        banner = process.stderr.readline()
        match = re.fullmatch(r"serving small on http://127\.0\.0\.1:(\d+)\n", banner)
        try:
            assert match, banner
            yield int(match[1]), process
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def asked(service: tuple[int, object], body: bytes = b"", **named: object) -> Reply:
    return asyncio.run(ask(service[0], body, **named))  # type: ignore[arg-type]


def test_labels_are_those_of_the_library(
    service: tuple[int, subprocess.Popen[str]], model: Path
) -> None:
    reply = asked(service, png(PHOTO), path="/v1/predict?format=png")
    labels = np.asarray(Image.open(io.BytesIO(reply.body)))
    assert (labels == load(model).predict(PHOTO).labels).all()
    assert re.fullmatch(r"compute;dur=[\d.]+", reply.headers["server-timing"])


def test_a_form_is_as_good_as_a_body(service: tuple[int, subprocess.Popen[str]]) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../<b>.png"\r\n\r\n'
    body = form + png(PHOTO) + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    whole = asked(service, body, headers=kind)
    assert whole.status == 200
    assert whole.told["size"] == [40, 60]
    assert whole.told == asked(service, png(PHOTO)).told


def test_models_are_told_without_paths(
    service: tuple[int, subprocess.Popen[str]], model: Path
) -> None:
    reply = asked(service, path="/v1/models", method="GET")
    (told,) = reply.told["models"]
    (head,) = told["heads"].values()
    assert head["classes"] == ["wall", "tür, door", "floor"]
    assert (told["name"], told["bands"]) == ("small", 3)
    assert str(model.parent) not in reply.body.decode()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no picture", 415, "D015"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "D015"),
        (png(PHOTO)[:-400], 422, "D020"),
        (png(np.zeros((1100, 1000), np.uint8)), 413, "D022"),
    ],
)
def test_what_cannot_be_labelled_is_told_with_its_code(
    service: tuple[int, subprocess.Popen[str]], body: bytes, status: int, code: str
) -> None:
    reply = asked(service, body)
    assert (reply.status, reply.told["code"]) == (status, code)
    assert "Traceback" not in reply.body.decode()
    assert "/" not in reply.told["detail"].replace("HxW", "")


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ("at=59,39", 200, None),
        ("at=59,39&layer=pool3", 200, None),
        ("at=60,39", 422, "U002"),
        ("at=0,40&layer=score_fr", 422, "U002"),
        ("at=0,0&layer=other", 404, "U001"),
        ("at=0", 400, "U002"),
        ("at=٠,٠", 400, "U002"),
    ],
)
def test_a_pixel_outside_the_picture_is_no_fault_of_the_request(
    service: tuple[int, subprocess.Popen[str]], wish: str, status: int, code: str | None
) -> None:
    """400 would say that it does not fit the schema: Schemathesis sends such pixels."""
    reply = asked(service, png(PHOTO), path=f"/v1/predict?format=field&{quote(wish, safe='=&,')}")
    assert (reply.status, code and reply.told["code"]) == (status, code)


def test_a_worker_that_is_killed_is_started_again(
    service: tuple[int, subprocess.Popen[str]],
) -> None:
    process = service[1]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    assert asked(service, png(PHOTO)).status == 200
    metrics = asked(service, path="/metrics", method="GET").body.decode()
    assert "pixelwise_worker_restarts 1.0" in metrics


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("--host", "0.0.0.0"), "U002", 2),
        (("--token-file", "absent"), "U002", 2),
        (("--precision", "fp8"), "U001", 2),
    ],
)
def test_what_would_be_unsafe_or_unknown_is_refused_before_the_port_is_open(
    model: Path, arguments: tuple[str, ...], code: str, exit_code: int
) -> None:
    command = (*PIXELWISE, "serve", str(model), "--port", "0", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, code in done.stderr) == (exit_code, True), done.stderr


def test_a_damaged_model_and_a_taken_port_end_the_command(model: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(model.read_bytes()[:-100])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for path, exit_code, code in ((torn, 4, "M002"), (model, 5, "R012")):
            at = "0" if path == torn else port
            command = (*PIXELWISE, "serve", str(path), "--port", at)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, code in done.stderr) == (exit_code, True), done.stderr
