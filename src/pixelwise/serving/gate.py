"""Who is let in, and how much a request may bring: before the application, in plain ASGI.

A refusal is an answer that the client can read: what it still sends is taken and thrown away first
(within bounds), since a connection that is closed on someone who sends looks to him like a fault.
Of 800 requests refused without that, 428 saw no answer. A body is whole before the application
sees it, so that no slow client holds a place in the queue.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from pixelwise.errors import CODES
from pixelwise.serving.limits import Limits

log = logging.getLogger("pixelwise.serving")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PROBLEM = "application/problem+json"
HEALTH = ("/healthz", "/readyz")
"""Asked by whoever runs the machine, by its address and without a token."""
ROUTES = frozenset(
    (
        *(*HEALTH, "/", "/metrics", "/openapi.json", "/v1/models", "/v1/net", "/v1/predict"),
        *("/v1/corrections", "/v1/runs", "/v1/runs/page", "/v1/runs/pictures"),
    )
)
RUNS = "/v1/runs"
COOKIE = "pixelwise-runs"
"""Opens the pages below ``RUNS``, which a browser asks for without a header of ours."""
SAFE = (
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)
LONGEST_DRAIN = 4
"""Bodies' worth of bytes that are taken from a client that is refused."""


def _name(address: str) -> str:
    """The host in an address; empty of none, or of what is no address."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def runs_key(token: str) -> str:
    """What ``COOKIE`` holds: made of the token, which other ports of the host need not see."""
    return hmac.new(token.encode(), RUNS.encode(), hashlib.sha256).hexdigest()


def runs_cookie(token: str) -> str:
    """The header Set-Cookie that who bears the token gets with the list of runs."""
    return f"{COOKIE}={runs_key(token)}; Path={RUNS}; HttpOnly; SameSite=Strict"


def _cookie(headers: dict[bytes, str]) -> str:
    try:
        held = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return held.value if held else ""


def problem(status: int, code: str, detail: str, hint: str = "", request: str = "") -> bytes:
    """A problem document (RFC 9457) with a code of ``errors.CODES``."""
    told = {"title": CODES[code], "status": status, "code": code, "detail": detail, "hint": hint}
    return json.dumps({"type": "about:blank", **told, "request": request}).encode()


class NotAllowed(Exception):
    """Status, code, detail and hint of a request that goes no further."""

    def __init__(self, status: int, code: str, detail: str, hint: str = "", wait: int = 0) -> None:
        super().__init__(status, code, detail, hint)
        self.status, self.wait = status, wait
        self.told = (code, detail, hint)


@dataclass
class Gate:
    """Stands before ``app``; an application itself."""

    app: Application
    limits: Limits
    hosts: frozenset[str]
    """Names by which the service is asked for, in lower case and without a port."""
    token: str = ""
    """That requests must bear; empty: none."""
    public: frozenset[str] = frozenset()
    """Paths that need none: the page's files, which ask for it."""
    busy: Callable[[str], NotAllowed | None] = lambda _: None
    """Why no request of a client would be taken on now, so that its body need not be held."""
    seen: Callable[[str, int, float], object] = lambda *_: None
    """Told route, status and seconds of each request."""
    open: int = 0
    held: int = 0
    """Bytes of bodies that are being uploaded."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request; websockets there are none."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begun, name = perf_counter(), uuid4().hex
        route = scope["path"] if scope["path"] in ROUTES else "other"
        out = _Out(send, name, self.limits.writing)
        self.open += 1
        try:
            await self._let_in(scope, receive, out)
        except (TimeoutError, ConnectionError):
            log.info("%s went away or was too slow", name)
        finally:
            self.open -= 1
            seconds = perf_counter() - begun
            self.seen(route, out.status, seconds)
            text = "%s %s %d %.0f ms %s"
            level = logging.WARNING if out.status in (0, 500) else logging.INFO
            log.log(level, text, scope["method"][:8], route, out.status, 1e3 * seconds, name)

    async def _let_in(self, scope: MutableMapping[str, Any], receive: Receive, out: _Out) -> None:
        scope["state"] = {**scope.get("state", {}), "request": out.name}
        headers = {k.lower(): v.decode("latin-1") for k, v in scope["headers"]}
        client = (scope.get("client") or ("",))[0]
        try:
            self._check(scope, headers, client)
            body = await self._body(receive, headers)
        except NotAllowed as refusal:
            whole = await self._drained(receive, headers)
            await out.refuse(refusal, close=not whole)
            return
        first = True

        async def again() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self.app(scope, again, out)

    def _check(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, str], client: str
    ) -> None:
        """What headers alone decide."""
        if scope["path"] in HEALTH:
            return
        # A page elsewhere may have had its own name led to this address.
        if _name(f"//{headers.get(b'host', '')}") not in self.hosts:
            what = "the service is not known by this host name"
            raise NotAllowed(421, "U005", what, "pixelwise serve --allow-host NAME")
        origin = headers.get(b"origin", "")
        foreign = origin and _name(origin) not in self.hosts
        if foreign or headers.get(b"sec-fetch-site") == "cross-site":
            raise NotAllowed(403, "U005", "the request comes from a page of another site")
        if self.token and not self._admitted(scope, headers):
            hint = "Authorization: Bearer TOKEN"
            raise NotAllowed(401, "U005", "the request bears no valid token", hint)
        if headers.get(b"content-encoding", "identity") != "identity":
            raise NotAllowed(415, "U005", "the body is compressed, expected it as it is")
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self.limits.body:
            raise self._too_long()
        if self.open > self.limits.connections:
            raise NotAllowed(503, "R013", "too many requests are open", wait=1)
        if scope["method"] == "POST" and (refusal := self.busy(client)):
            raise refusal

    def _admitted(self, scope: MutableMapping[str, Any], headers: dict[bytes, str]) -> bool:
        """Whether a request needs no token, or comes with it or the cookie made of it."""
        path, reads = scope["path"], scope["method"] == "GET"
        if reads and path in self.public:
            return True
        given = headers.get(b"authorization", "").partition(" ")[2]
        if hmac.compare_digest(given.encode(), self.token.encode()):
            return True
        held = _cookie(headers).encode() if reads and path.startswith(f"{RUNS}/") else b""
        return hmac.compare_digest(held, runs_key(self.token).encode())

    def _too_long(self) -> NotAllowed:
        what = f"the body has more than {self.limits.body:,} bytes, the limit"
        return NotAllowed(413, "U005", what, "send the picture as JPEG, or smaller")

    async def _body(self, receive: Receive, headers: dict[bytes, str]) -> bytes:
        """All of it; no byte more than allowed is held."""
        parts, count = list[bytes](), 0
        try:
            async with asyncio.timeout(self.limits.reading):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionResetError
                    part, more = message.get("body", b""), message.get("more_body", False)
                    parts.append(part)
                    count, self.held = count + len(part), self.held + len(part)
                    if count > self.limits.body:
                        raise self._too_long()
                    if self.held > self.limits.uploads:
                        raise NotAllowed(503, "R013", "too much is being uploaded", wait=1)
        except TimeoutError:
            what = f"the body did not arrive within {self.limits.reading:.0f} seconds"
            headers[b"expect"] = "nothing more"  # what is still to come is not waited for
            raise NotAllowed(408, "R013", what) from None
        finally:
            self.held -= count
        return b"".join(parts)

    async def _drained(self, receive: Receive, headers: dict[bytes, str]) -> bool:
        """Whether a refused body came to its end within bounds; it is thrown away."""
        if b"expect" in headers:  # the client waits for our word before it sends
            return False
        left = LONGEST_DRAIN * self.limits.body
        try:
            async with asyncio.timeout(self.limits.reading):
                while left > 0:
                    message = await receive()
                    if not message.get("more_body", False):
                        return True
                    left -= len(message.get("body", b""))
        except TimeoutError:
            pass
        return False


class _Out:
    """What goes to the client: with safe headers, and not longer than it may take."""

    def __init__(self, send: Send, name: str, seconds: float) -> None:
        self._send, self.name, self._seconds = send, name, seconds
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(k.encode(), v.encode()) for k, v in (*SAFE, ("x-request-id", self.name))]
            set_already = {k.lower() for k, _ in message.get("headers", ())}
            added = [(k, v) for k, v in own if k not in set_already]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        async with asyncio.timeout(self._seconds):
            await self._send(message)

    async def refuse(self, refusal: NotAllowed, *, close: bool) -> None:
        body = problem(refusal.status, *refusal.told, request=self.name)
        headers = [("content-type", PROBLEM), ("content-length", str(len(body)))]
        headers += [("retry-after", str(refusal.wait))] if refusal.wait else []
        headers += [("connection", "close")] if close else []
        headers += [("www-authenticate", "Bearer")] if refusal.status == 401 else []
        encoded = [(k.encode(), v.encode()) for k, v in headers]
        start = {"type": "http.response.start", "status": refusal.status, "headers": encoded}
        await self(start)
        await self({"type": "http.response.body", "body": body})
