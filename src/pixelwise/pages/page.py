"""The frame of the page: head, style, who and when. No script, and nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pixelwise import __version__
from pixelwise.pages.markup import Markup, count, join, tag, text

if TYPE_CHECKING:
    from pixelwise.pages.build import Run

# Whatever a class or a file is called: the page may load nothing and run nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, body: Markup) -> str:
    """A whole document."""
    style = files("pixelwise.pages").joinpath("page.css").read_text(encoding="utf-8")
    told = f"Made by pixelwise {__version__}. Scores follow the paper: pixels are counted over all "
    told += "images, classes without truth are left out of means."
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"/><title>{text(title)} - pixelwise</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}"/>'
        f"<style>{style}</style></head>"
        f"<body><main>{body}</main>{tag('footer', told)}</body></html>\n"
    )


def head(run: Run, title: str, sections: Sequence[str]) -> Markup:
    """Name of the run, then net, data, length and device in one line each, then its sections."""
    start = next((e for e in run.events if e.get("event") == "start"), {})
    facts = [fact for fact in _facts(run, start) if fact]
    links = [tag("a", word, href=f"#{word}") for word in sections]
    return tag(
        "header",
        tag(
            "p", tag("i", [tag("b") for _ in range(9)], class_="logo"), "pixelwise", class_="brand"
        ),
        tag("h1", title),
        tag("p", [tag("span", fact) for fact in facts], class_="facts"),
        tag("nav", links) if len(links) > 1 else None,
    )


def _facts(run: Run, start: dict[str, Any]) -> list[Markup | None]:
    net = run.recipe.get("net") or start.get("net")
    size = f", {count(start['parameters'])} parameters" if start.get("parameters") else ""
    last = max((int(e.get("step") or 0) for e in run.events), default=0)
    seconds = max((float(e.get("seconds") or 0) for e in run.events), default=0.0)
    images = run.scores.get("images")
    speed = run.scores.get("seconds_per_image")
    return [
        net and join([tag("b", net), size]),
        run.recipe.get("data") and join(["data ", tag("b", run.recipe["data"])]),
        join([tag("b", count(last)), f" steps in {clock(seconds)}"]) if last else None,
        start.get("device") and join(["on ", tag("b", start["device"])]),
        images and join([tag("b", count(images)), " images scored"]),
        speed and join([tag("b", f"{speed:.3g} s"), " per image"]),
        start.get("time") and join([str(start["time"])[:16].replace("T", " ")]),
    ]


def clock(seconds: float) -> str:
    """A duration as a person says it.

    >>> clock(3725)
    '1 h 2 min'
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
