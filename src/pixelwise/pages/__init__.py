"""One self-contained page about a run."""

from pixelwise.pages.build import build

__all__ = ["build"]
