"""Pictures of the web, fetched only where that is asked for, and each only once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pixelwise.errors import DataError, UsageError
from pixelwise.pictures.imagefile import MAX_BYTES
from pixelwise.pictures.recognise import FORMATS, kind_of
from pixelwise.predict.prediction_records import FOLDER
from pixelwise.weights.fetch import download

HINT = "nothing was kept; open the address in a browser, or save the picture by hand"


def is_address(source: str) -> bool:
    """http:// or https://"""
    return re.match(r"https?://", source, re.IGNORECASE) is not None


def place_of(address: str, out: Path, *, allowed: bool) -> tuple[Path, str]:
    """Where a picture will be kept in the folder of predictions, and the name of its outputs.

    Raises:
        UsageError: U002 downloads were not asked for.
    """
    if not allowed:
        what = (
            f"{address} is an address of the web, and nothing is downloaded unless it is asked for"
        )
        raise UsageError("U002", what, "add --download")
    parts = urlsplit(address)
    stem = PurePosixPath(unquote(parts.path)).stem.replace("\0", "") or parts.netloc
    digest = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()
    return out / FOLDER / "downloads" / digest[:32], stem.lstrip(".") or parts.netloc


def fetch_picture(address: str, path: Path) -> None:
    """Download a picture to its place; one that is there is not fetched again.

    Raises:
        ResourceError: R011 the download failed; the next try goes on with what came.
        DataError: D020 what came is no picture.
    """

    def look(part: Path) -> None:
        if kind_of(part) not in FORMATS:
            what = (
                f"{part}: cannot be read (what came is no picture, or of a format that is not read)"
            )
            raise DataError("D020", what)

    if not path.is_file():
        download(address, path, look, largest=MAX_BYTES, hint=HINT)
