"""What was measured, kept by version and machine; ratios of today against those that were kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pixelwise.errors import DataError, UsageError
from pixelwise.machine.files import write_json
from pixelwise.pages.bench import write_bench

SLACK = 0.15
"""By how much of itself a ratio may fall before it counts: two runs of one hour on a machine with
two cores differ by up to a tenth."""


def keep(document: Mapping[str, Any], folder: Path) -> Path:
    """Write a document among others of its version and machine, and the page of them all.

    Raises:
        ResourceError: R001 no space, R002 not writable.
    """
    place: Path = folder / document["versions"]["pixelwise"] / _plain(document["machine"])
    parts = (document["benchmark"], document["net"], document["size"], f"{document['threads']}t")
    path = place / f"{'-'.join(map(str, parts))}.json"
    place.mkdir(parents=True, exist_ok=True)
    write_json(path, document)
    write_bench(place / "index.html", [read(file) for file in sorted(place.glob("*.json"))])
    return path


def read(path: Path) -> dict[str, Any]:
    """A document that was kept.

    Raises:
        DataError: D010 it is not there, D011 it is no such document.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = [(row["way"], float(row["ms"])) for row in document["rows"]]
    except OSError as error:
        raise DataError("D010", f"{path} cannot be read ({error})", "pixelwise bench -o") from error
    except (ValueError, KeyError, TypeError) as error:
        what = f"{path} holds no measurement ({error})"
        raise DataError("D011", what, "pixelwise bench -o FOLDER writes one") from error
    return document


def fallen(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """Where ours is less ahead of another way than it was, in words; seconds are not compared.

    Raises:
        UsageError: U002 they measured different things.
    """
    for fact in ("benchmark", "net", "size", "threads"):
        if now[fact] != before[fact]:
            what = f"{fact} was {before[fact]}, is {now[fact]}: these do not compare"
            raise UsageError("U002", what, "measure the same again")
    was = {row["way"]: row.get("times_first") for row in before["rows"]}
    for row in now["rows"]:
        ratio, old = row.get("times_first"), was.get(row["way"])
        if ratio and old and ratio < old * (1 - SLACK):
            yield f"{row['way']} took {old:.2f} times our time, takes {ratio:.2f} times now"


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"
