"""``pixelwise serve``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import say
from pixelwise.cli.options import Device, Precision, Threads
from pixelwise.errors import DataError, ResourceError, UsageError

Models = Annotated[
    list[str], typer.Argument(metavar="MODEL", help="runs or checkpoints, or NAME=MODEL")
]
Host = Annotated[str, typer.Option("--host", help="address to listen on")]
Port = Annotated[
    int, typer.Option("--port", metavar="N", min=0, max=65535, help="0: one that is free")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="its line comes with each request")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="no token")]
AllowHost = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", help="a further name of it")
]
RunsFolder = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="runs to look at and compare")
]
Corrections = Annotated[
    Path | None,
    typer.Option("--corrections", metavar="DIR", help="keep label maps corrected in the page"),
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, max=64, help="processes that compute")
]
Queue = Annotated[int, typer.Option("--queue", metavar="N", min=1, help="requests that may wait")]
PerClient = Annotated[int, typer.Option("--per-client", metavar="N", min=1, help="of one address")]
Body = Annotated[str, typer.Option("--max-body", metavar="SIZE", help="of a request")]
Pixels = Annotated[int, typer.Option("--max-megapixels", metavar="N", min=1, help="of a picture")]
Seconds = Annotated[
    float, typer.Option("--max-seconds", metavar="S", min=0.1, help="for one picture")
]


def serve(
    models: Models,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    allow_host: AllowHost = None,
    runs: RunsFolder = None,
    corrections: Corrections = None,
    workers: Workers = 1,
    queue: Queue = 8,
    per_client: PerClient = 8,
    max_body: Body = "16MiB",
    max_megapixels: Pixels = 16,
    max_seconds: Seconds = 60.0,
    precision: Precision = "",
    device: Device = "auto",
    threads: Threads = 0,
) -> None:
    """Label pictures over HTTP, by one or more models.

    POST /v1/predict; GET /v1/models, /openapi.json, /healthz, /readyz, /metrics.
    Other machines reach it with --host and a token.
    """
    if missing := [n for n in ("fastapi", "uvicorn", "prometheus_client") if not find_spec(n)]:
        hint = 'pip install "pixelwise[serve]"'
        raise ResourceError("R008", f"the package {missing[0]} is not installed", hint)
    import asyncio
    import os

    from pixelwise.cli.arguments import parse_bytes
    from pixelwise.pictures.imagefile import LIMIT
    from pixelwise.serving.crew import Order
    from pixelwise.serving.limits import Limits
    from pixelwise.serving.server import LOOPBACK, listening
    from pixelwise.serving.server import serve as serving

    named, token = _named(models), _token(token_file)
    private = host in LOOPBACK or bool(token)
    _refuse(runs, alone=private or insecure, writes=bool(corrections) and not private, host=host)
    body = parse_bytes(max_body)
    limits = Limits(body=body, queue=queue, per_client=per_client, computing=max_seconds)
    environment = os.environ | {LIMIT: str(max_megapixels)}
    kept = str(corrections.resolve()) if corrections else ""
    order = Order(
        named, device, precision, threads=threads, corrections=kept, environment=environment
    )
    sock = listening(host, port)
    hosts = LOOPBACK | {host.lower(), *(name.lower() for name in allow_host or ())}
    made = serving(
        order, limits, sock, hosts=hosts, token=token, workers=workers, runs=runs, started=say
    )
    asyncio.run(made)


def _refuse(runs: Path | None, *, alone: bool, writes: bool, host: str) -> None:
    if runs and not runs.is_dir():
        raise DataError("D010", f"--runs {runs} is no folder", "a folder that holds run folders")
    if not alone:
        what = f"--host {host} lets other machines in, expected a token"
        raise UsageError("U002", what, "--token-file FILE, or --insecure")
    if writes:
        what = f"--corrections on --host {host} lets anyone write, expected a token"
        raise UsageError("U002", what, "--token-file FILE")


def _named(models: list[str]) -> dict[str, str]:
    """Path by name: the one given, or that of the folder or file."""
    named: dict[str, str] = {}
    for model in models:
        name, _, path = model.rpartition("=")
        name = name or Path(path).resolve().with_suffix("").name
        if name in named:
            raise UsageError("U002", f"two models are called {name}", f"NAME={path}")
        named[name] = path
    return named


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        token = file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise UsageError("U002", f"--token-file {file}: {error}", "a file with one line") from error
    if not token or not (token.isascii() and token.isprintable()):
        what = f"--token-file {file}: its first line is no token of ASCII letters and signs"
        raise UsageError("U002", what, "openssl rand -hex 16 > token")
    return token
