"""What commands share: data to stdout, talk to stderr, one JSON document when asked for."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pixelwise.errors import visible
from pixelwise.machine.files import plain


def emit_json(value: Any) -> None:
    """Print one JSON document on stdout; not-a-number becomes null, which JSON can hold."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # an ASCII terminal, or the half surrogates of odd file names
        text = json.dumps(plain(value), indent=1)
    sys.stdout.write(text + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; columns of numbers, and of such as text, are set to the right.

    Texts are shown as they are: brackets are no markup, control characters are escaped.
    """
    sheet = Table(title=escape(_shown(title)) or None, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        numeric = all(_is_number(row[i]) for row in rows)
        sheet.add_column(escape(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        sheet.add_row(*(escape(_shown(_cell(value))) for value in row))
    stdout().print(sheet)


def stdout() -> Console:
    """A console for data; plain text of full width when not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def say(text: str) -> None:
    """Talk to the user, on stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(_shown(text), markup=False, emoji=False)


class _Talk(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        word = "warning: " if record.levelno >= logging.WARNING else ""
        say(word + record.getMessage())


@contextmanager
def remarks_said(level: int = logging.WARNING) -> Iterator[None]:
    """What the library notes by the way is said, from ``level`` on, as what commands say."""
    logger = logging.getLogger("pixelwise")
    own = [] if any(isinstance(h, _Talk) for h in logger.handlers) else [_Talk()]
    before = logger.level
    for handler in own:
        logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in own:
            logger.removeHandler(handler)


def _shown(text: str) -> str:
    return visible(text, keep="\n")


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"[+-]?[\d.,]+|n/a", value))
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def in_percent(share: float | None) -> str:
    """A fraction as tables have it under a heading that says percent."""
    return "n/a" if share is None or not math.isfinite(share) else f"{100 * share:.1f}"


def _cell(value: object) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
