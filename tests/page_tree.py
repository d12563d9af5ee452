"""A page as a tree of elements, and what a reader takes from it: tables, colours, pictures."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
from PIL import Image

VOID_ELEMENTS = {"meta", "img", "br", "hr", "input", "link", "source", "col"}


@dataclass
class Element:
    """A tag with its attributes, and the elements and texts in it."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, name: str) -> list[Element]:
        return [e for e in self.walk() if e.name == name]

    @property
    def text(self) -> str:
        """All text in it, with single spaces between."""
        parts = [c.text if isinstance(c, Element) else c for c in self.children]
        return " ".join(" ".join(parts).split())

    def number(self, key: str) -> float:
        return float(self.attributes[key])


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("page")]

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(name, attrs)
        if name not in VOID_ELEMENTS:
            self.open.append(self.open[-1].children[-1])  # type: ignore[arg-type]

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(name, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, name: str) -> None:
        if name not in VOID_ELEMENTS:
            assert self.open.pop().name == name

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def page_tree(source: str) -> Element:
    parser = _Parser()
    parser.feed(source)
    assert len(parser.open) == 1, "elements are left open"
    return parser.open[0]


def table(page: Element, *headers: str) -> list[dict[str, Element]]:
    """Rows of the one table that has these headers: cells by header, wide ones under each."""
    fitting = []
    for element in page.all("table"):
        titles = [th.text for th in element.all("tr")[0].all("th")]
        if set(headers) <= set(titles):
            fitting.append((titles, element))
    ((titles, element),) = fitting
    rows = []
    for row in element.all("tr")[1:]:
        cells = [c for c in row.children if isinstance(c, Element)]
        spread = [c for c in cells for _ in range(int(c.attributes.get("colspan", 1)))]
        rows.append(dict(zip(titles, spread, strict=True)))
    return rows


def swatch(element: Element) -> tuple[int, ...]:
    """The one colour that stands in the styles within an element."""
    colours = set()
    for inner in element.walk():
        style = inner.attributes.get("style", "") + inner.attributes.get("fill", "")
        for hexes in re.findall(r"#([0-9a-fA-F]{6})\b", style):
            colours.add(tuple(bytes.fromhex(hexes)))
        for listed in re.findall(r"rgb\(([^)]*)\)", style):
            colours.add(tuple(int(v) for v in re.findall(r"\d+", listed)))
    (colour,) = colours
    return colour


def number(text: str) -> int:
    """A whole number with any kind of space or comma between thousands."""
    return int(re.sub(r"\D", "", text))


def pixels(image: Element) -> np.ndarray:
    """(H, W, 3) uint8 of an inline picture."""
    data = image.attributes["src"].partition("base64,")[2]
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
