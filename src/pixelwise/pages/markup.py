"""Elements as nested calls; every text is escaped unless it is an element already."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

_SPACES = "\n\t\u202f"  # the last one stands between thousands
_EMPTY = frozenset({"img", "input", "meta", "circle", "line", "path", "rect", "polyline"})


class Markup(str):
    """Text that is safe to stand in the page as it is; only this module makes it from text."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: str | float | None) -> Markup:
    """One element.

    Args:
        name: of the element.
        *children: elements, texts (escaped), lists of them; None and "" leave no trace.
        **attributes: ``class_`` is class, other underscores are hyphens; None is left out.

    >>> tag("p", "a < b", tag("b", "!"), class_="note")
    '<p class="note">a &lt; b<b>!</b></p>'
    """
    pairs = (
        f' {_attribute(key)}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    opened = f"<{name}{''.join(pairs)}>"
    if name in _EMPTY and not children:
        return Markup(opened[:-1] + "/>")
    return Markup(f"{opened}{join(children)}</{name}>")


def join(children: object) -> Markup:
    """Elements and texts one after the other."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int | float):
        return Markup(text(children))
    assert isinstance(children, Iterable), f"no part of a page: {children!r}"
    return Markup("".join(join(child) for child in children))


def text(value: object) -> str:
    """Any text for the page: escaped, control characters and lone surrogates made visible."""
    plain = str(value).encode("utf-8", "backslashreplace").decode()
    shown = "".join(c if c.isprintable() or c in _SPACES else repr(c)[1:-1] for c in plain)
    return html.escape(shown, quote=True)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent, or n/a."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{100 * value:.{digits}f} %"


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\u202f")


def short(name: str, limit: int = 22) -> str:
    """A name cut to a label's length."""
    return name if len(name) <= limit else name[: limit - 1] + "\u2026"


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
