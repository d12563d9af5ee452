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
            [math.log2(row[field] or 0.1) for row in rows if row["way"] == way],
            kind,
        )
        for way, kind in zip(ways, KINDS, strict=False)
    ]
    word = "megapixels" if along == "pixels" else along
    drawing = plot(f"{name} over {word}", lines, _axis(lines, "x", word), _axis(lines, "y"))
    return Figure(f"{name}, {unit}", word, drawing, list(zip(KINDS, ways, strict=False)))


def _axis(lines: Sequence[Line], of: str, label: str = "") -> Axis:
    """Of powers of two, with a line at whole ones alone."""
    values = [value for line in lines for value in getattr(line, of)]
    low = math.floor(min(values))
    high = max(math.ceil(max(values)), low + 1)
    return Axis((low, high), label, lambda power: plain(2**power), min(6, high - low + 1))
