"""A service on a port: started when its models are loaded, stopped when nothing is left to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pixelwise.errors import ResourceError
from pixelwise.serving.app import application
from pixelwise.serving.crew import Crew, Order
from pixelwise.serving.gate import Gate
from pixelwise.serving.limits import Limits
from pixelwise.serving.runs import Runs

HEADERS = 16 << 10  # bytes of a request's headers
LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


class Hasty(H11Protocol):
    """uvicorn's protocol, that does not wait for ever for the end of a request's headers."""

    def __init__(self, *arguments: Any, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seconds = seconds
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Someone connects."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Bytes come."""
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop_clock()
        super().connection_lost(exc)

    def _look(self) -> None:
        """The clock runs while headers are expected, and does not start anew with each byte."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_clock()
        elif self._clock is None:
            self._clock = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class Server(uvicorn.Server):
    """uvicorn's server, whose readiness ends with the first signal."""

    draining: Any = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came."""
        self.draining.state.draining = True
        super().handle_exit(sig, frame)


def listening(host: str, port: int) -> socket.socket:
    """A socket on a port, 0 for one that is free.

    Raises:
        ResourceError: R012 it is taken, not allowed, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        what = f"cannot listen on {host}, port {port}: {reason}"
        raise ResourceError("R012", what, "--port 0 takes one that is free") from error


def configured(gate: Gate, limits: Limits) -> uvicorn.Config:
    """uvicorn, as a service has it: nothing told of itself, nothing believed of proxies."""
    return uvicorn.Config(
        gate,
        http=partial(Hasty, seconds=limits.reading),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.keep_alive,
        timeout_graceful_shutdown=limits.grace,
        h11_max_incomplete_event_size=HEADERS,
    )


async def serve(
    order: Order,
    limits: Limits,
    sock: socket.socket,
    *,
    hosts: frozenset[str],
    token: str = "",
    workers: int = 1,
    runs: Path | None = None,
    started: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve until a signal comes; nothing is answered before all models are loaded.

    ``started`` is told what is served and where, once that is so.

    Raises:
        PixelwiseError: a model cannot be loaded; R010 workers ended again and again.
    """
    crew = Crew(order, limits, workers)
    try:
        await crew.start()
        shown = Runs(runs) if runs else None
        gate = application(crew, limits, hosts=hosts, token=token, runs=shown)
        server = Server(configured(gate, limits))
        server.draining = gate.app
        names = ", ".join(m["name"] for m in crew.models)
        host, port = sock.getsockname()[:2]
        started(f"serving {names} on http://{f'[{host}]' if ':' in host else host}:{port}")
        watch = asyncio.create_task(_given_up(crew, server))
        await server.serve(sockets=[sock])
        watch.cancel()
    finally:
        await crew.stop()
        sock.close()
    if crew.failure:
        raise crew.failure


async def _given_up(crew: Crew, server: Server) -> None:
    while crew.failure is None:
        await asyncio.sleep(0.1)
    server.should_exit = True
