"""Facts and a template to HTML or SVG, and how a page writes numbers and odd names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pixelwise import __version__
from pixelwise.errors import visible

_SPACES = "\n\t\u202f"  # they may stand; the last one is between thousands


def render(template: str, **facts: object) -> Markup:
    """A file of ``templates/`` filled in; every text is escaped unless it is markup already.

    Raises:
        jinja2.UndefinedError: the template names a fact that is not there.
    """
    return Markup(_environment().get_template(template).render(facts))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value, _SPACES) if type(value) is str else value,
    )
    filters = (clock, count, percent, percent_css, setting, short)
    environment.filters.update({f.__name__: f for f in filters})
    # The style is no template: its braces are CSS.
    environment.globals.update(version=__version__, style=Markup(_source("page.css")), zip=zip)
    return environment


def _source(name: str) -> str:
    """A template without the line breaks and indents beside its tags, which only people need."""
    text = files("pixelwise.pages").joinpath("templates", name).read_text(encoding="utf-8")
    return re.sub(r"\n\s*(?=[<{])|(?<=[>}])\n\s*", "", text)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent, or n/a."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{100 * value:.{digits}f} %"


def percent_css(value: float) -> str:
    """A fraction as a length of a style."""
    return f"{100 * value:.2f}%"


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\u202f")


def short(name: str, limit: int = 22) -> str:
    """A name cut to a label's length."""
    return name if len(name) <= limit else name[: limit - 1] + "\u2026"


def clock(seconds: float) -> str:
    """A duration as a person says it.

    >>> clock(3725)
    '1 h 2 min'
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def setting(value: Any) -> str:
    """A value of a recipe as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {setting(v)}" for k, v in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(setting, value)) or "none"
    return str(value)
