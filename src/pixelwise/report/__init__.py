"""One self-contained page about a run."""

from pixelwise.report.build import build

__all__ = ["build"]
