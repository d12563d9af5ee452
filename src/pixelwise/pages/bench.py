"""Measurements on a page: a table with bars of each net and size, curves of what grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.machine.files import atomic_write
from pixelwise.pages.curves import Figure
from pixelwise.pages.markup import render
from pixelwise.pages.plots import Axis, Line, plain, plot

KINDS = ("main", "second")
"""Classes of curves, by way."""


def write_bench(path: Path, documents: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page of documents of one machine.

    Raises:
        ResourceError: R001 no space, R002 not writable.
    """
    tables = [document for document in documents if document["benchmark"] == "labels"]
    growing = [(d, _figures(d)) for d in documents if d["benchmark"] != "labels" and d["rows"]]
    facts = {"title": "Speed and memory", "tables": tables, "growing": growing}
    return atomic_write(path, render("bench.html", **facts))


def _figures(document: Mapping[str, Any]) -> list[Figure]:
    return [
        _figure(document, "ms", "Time", "ms"),
        _figure(document, "peak_mb", "Peak memory", "MB"),
    ]


def _figure(document: Mapping[str, Any], field: str, name: str, unit: str) -> Figure:
    """Both axes are logarithms: what grows in proportion is a line of slope one."""
    along, rows = document["benchmark"], document["rows"]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = [
        Line(
            way,
            [math.log2(row[along]) for row in rows if row["way"] == way],
            [math.log2(row[field] or 1) for row in rows if row["way"] == way],
            kind,
        )
        for way, kind in zip(ways, KINDS, strict=False)
    ]
    word = "megapixels" if along == "pixels" else along
    across = Axis(_range(lines, "x"), word, _power)
    up = Axis(_range(lines, "y"), text=_power)
    drawing = plot(f"{name} over {word}", lines, across, up)
    return Figure(f"{name}, {unit}", word, drawing, list(zip(KINDS, ways, strict=False)))


def _range(lines: Sequence[Line], axis: str) -> tuple[float, float]:
    values = [value for line in lines for value in getattr(line, axis)]
    low, high = math.floor(min(values)), math.ceil(max(values))
    return low, max(high, low + 1)


def _power(value: float) -> str:
    """Of two; between them there are lines without a word."""
    return plain(2**value) if float(value).is_integer() else ""
