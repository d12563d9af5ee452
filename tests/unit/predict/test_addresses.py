"""Pictures of the web, from a server on this machine."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import ResourceError, UsageError
from pixelwise.predict import addresses
from pixelwise.predict import model as models
from pixelwise.predict.jobs import Done, carry_out, plan
from small_model import pixels


class Handler(BaseHTTPRequestHandler):
    """Any ``.png`` is a picture, ``page`` is none, the rest is not there."""

    asked: list[str]

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        if not path.endswith((".png", "page")):
            return self.send_error(404)
        buffer = io.BytesIO()
        Image.fromarray(pixels()).save(buffer, "PNG")
        body = b"<html>log in</html>" if path.endswith("page") else buffer.getvalue()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(Handler, "asked", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def fetched(model: models.Model, out: Path, *sources: str) -> Done:
    return carry_out(plan(sources, out, save="labels", download=True), model)


def test_nothing_is_fetched_unless_it_is_asked_for(site: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{site}/a.png")
    for source in (f"{site}/a.png", str(tmp_path / "list.txt")):
        with pytest.raises(UsageError, match="nothing is downloaded unless") as caught:
            plan([source], tmp_path / "out", save="labels")
        assert caught.value.hint == "add --download"
    assert Handler.asked == []


def test_pictures_of_the_web_are_fetched_once_and_failures_are_listed(
    model: models.Model, site: str, tmp_path: Path
) -> None:
    given = f"{site}/x/caf%C3%A9.png?size=2", f"{site}/gone.jpg", f"{site}/page"
    done = fetched(model, tmp_path / "out", *given)
    assert [(f["path"], f["code"]) for f in done.failures] == [
        (given[1], "R011"),
        (given[2], "D020"),
    ]
    assert given[2] in done.failures[1]["error"]
    assert done.results[0]["path"] == given[0]
    made = np.asarray(Image.open(tmp_path / "out/café.png"))
    assert np.array_equal(made, model.predict(pixels()).labels)
    asked = len(Handler.asked)
    assert fetched(model, tmp_path / "out", given[0]).skipped == 1
    assert len(Handler.asked) == asked


def test_an_address_alone_that_fails_is_the_commands_own_error(
    model: models.Model, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="HTTP 404"):
        fetched(model, tmp_path / "out", f"{site}/gone.jpg")
    monkeypatch.setattr(addresses, "MAX_BYTES", 100)
    with pytest.raises(ResourceError, match="expected at most 100"):
        fetched(model, tmp_path / "out", f"{site}/a.png")
    assert not list((tmp_path / "out").glob("*.png"))
