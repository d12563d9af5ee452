"""Who is let in, and how much a request may bring."""

import asyncio
import gzip
from dataclasses import replace

import pytest
from tests.service import Puppet, Reply, ask, running

from pixelwise.serving.gate import runs_cookie
from pixelwise.serving.limits import Limits

pytest.importorskip("fastapi")
SMALL = Limits(body=1000, reading=0.5, writing=0.5)


def replied(*arguments: object, limits: Limits = SMALL, token: str = "", **named: object) -> Reply:
    async def scenario() -> Reply:
        async with running(Puppet(), limits, token) as port:
            return await ask(port, *arguments, **named)  # type: ignore[arg-type]

    return asyncio.run(scenario())


def test_a_picture_is_answered_with_headers_that_keep_it_from_other_pages() -> None:
    reply = replied(b"hello")
    assert (reply.status, reply.told) == (200, "hello")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert "server" not in reply.headers
    assert len(reply.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "U005"),
        ({"Host": "[::1"}, 421, "U005"),
        ({"Origin": "http://evil.example"}, 403, "U005"),
        ({"Origin": "http://[evil"}, 403, "U005"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "U005"),
        ({"Content-Encoding": "gzip"}, 415, "U005"),
        ({"Content-Type": "text/plain"}, 415, "D015"),
        ({"Content-Type": "multipart/form-data"}, 400, "U002"),
    ],
)
def test_a_request_that_is_not_permitted_is_told_why(
    headers: dict[str, str], status: int, code: str
) -> None:
    reply = replied(gzip.compress(b"x"), headers=headers)
    assert (reply.status, reply.told["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.told["request"] == reply.headers["x-request-id"]


def test_the_own_page_may_ask() -> None:
    assert replied(b"x", headers={"Origin": "http://127.0.0.1:1"}).status == 200


def test_a_token_is_asked_of_everything_but_health() -> None:
    async def scenario() -> list[int]:
        async with running(Puppet(), SMALL, "secret") as port:
            replies = [
                await ask(port, b"x"),
                await ask(port, b"x", headers={"Authorization": "Bearer Secret"}),
                await ask(port, b"x", headers={"Authorization": "Bearer secret"}),
                await ask(port, path="/v1/models", method="GET"),
                await ask(port, path="/healthz", method="GET", headers={"Host": "10.0.0.1"}),
            ]
            return [reply.status for reply in replies]

    assert asyncio.run(scenario()) == [401, 401, 200, 401, 200]


def test_the_page_needs_no_token_and_its_cookie_opens_the_pages_of_runs_alone() -> None:
    cookie = runs_cookie("secret").partition(";")[0]

    async def scenario() -> list[int]:
        async with running(Puppet(), SMALL, "secret") as port:
            asked = [
                ("/", "GET", ""),
                ("/page/page.js", "GET", ""),
                ("/page/none.js", "GET", ""),
                ("/openapi.json", "GET", ""),
                ("/v1/runs/page?name=x", "GET", ""),
                ("/v1/runs/page?name=x", "GET", cookie),  # 404: the service has no runs
                ("/v1/runs/page?name=x", "GET", f"{cookie}0"),
                ("/v1/runs", "GET", cookie),
                ("/v1/models", "GET", cookie),
                ("/v1/predict", "POST", cookie),
            ]
            sent = [
                await ask(port, path=path, method=method, headers={"Cookie": held})
                for path, method, held in asked
            ]
            bearer = {"Authorization": "Bearer secret"}
            listed = await ask(port, path="/v1/runs", method="GET", headers=bearer)
            assert listed.headers["set-cookie"] == runs_cookie("secret").lower()
            return [reply.status for reply in sent]

    expected = [200, 200, 401, 401, 401, 404, 401, 401, 401, 401]
    assert asyncio.run(scenario()) == expected


def test_a_body_that_is_too_long_is_refused_and_the_refusal_can_be_read() -> None:
    reply = replied(b"x" * 3000)
    assert reply.status == 413
    assert "1,000 bytes" in reply.told["detail"]
    endless = "".join(f"{200:x}\r\n{'y' * 200}\r\n" for _ in range(20)) + "0\r\n\r\n"
    head = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert replied(raw=(head + endless).encode()).status == 413


def test_who_sends_slowly_is_told_and_holds_no_place() -> None:
    async def scenario() -> tuple[list[int], int]:
        puppet = Puppet()
        limits = replace(SMALL, queue=1, per_client=1)
        head = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        raw = (head + "Content-Length: 100\r\n\r\nxyz").encode()
        async with running(puppet, limits) as port:
            slow = [asyncio.create_task(ask(port, raw=raw)) for _ in range(20)]
            await asyncio.sleep(0.2)
            quick = await ask(port, b"x")
            return [(await task).status for task in slow], quick.status

    slow, quick = asyncio.run(scenario())
    assert slow == [408] * 20
    assert quick == 200


def test_headers_that_do_not_end_close_the_connection() -> None:
    async def scenario() -> bytes:
        async with running(Puppet(), SMALL) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/pre")
            for _ in range(2):  # a byte now and then does not help
                await asyncio.sleep(0.2)
                writer.write(b"d")
            async with asyncio.timeout(2):
                rest = await reader.read()
            writer.close()
            return rest

    assert asyncio.run(scenario()) == b""


def test_uploads_of_all_together_have_a_limit() -> None:
    async def scenario() -> list[int]:
        limits = replace(SMALL, uploads=1500)
        head = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        raw = (head + "Content-Length: 900\r\n\r\n" + "x" * 700).encode()
        async with running(Puppet(), limits) as port:
            replies = await asyncio.gather(*(ask(port, raw=raw) for _ in range(3)))
            after = await ask(port, b"x")
        return sorted(reply.status for reply in (*replies, after))

    assert asyncio.run(scenario()) == [200, 408, 408, 503]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/predict", 405),
        ("GET", "/v1/../etc/passwd", 404),
        ("GET", "/%2e%2e/%00", 404),
        ("POST", "/v1/predict?format=bmp", 400),
        ("POST", "/v1/predict?model=other", 404),
        ("POST", "/v1/predict?head=other", 404),
        ("GET", "/docs", 404),
    ],
)
def test_what_is_not_there_is_a_problem_document(method: str, path: str, status: int) -> None:
    reply = replied(b"x", method=method, path=path)
    assert (reply.status, reply.told["status"]) == (status, status)
    assert reply.headers["content-type"] == "application/problem+json"


def test_numbers_for_prometheus_name_routes_and_never_paths() -> None:
    async def scenario() -> str:
        async with running(Puppet(), SMALL) as port:
            await ask(port, b"x")
            await ask(port, path="/secret-name", method="GET")
            return (await ask(port, path="/metrics", method="GET")).body.decode()

    text = asyncio.run(scenario())
    assert 'pixelwise_requests_total{route="/v1/predict",status="200"} 1.0' in text
    assert 'pixelwise_requests_total{route="other",status="404"} 1.0' in text
    assert "secret" not in text
