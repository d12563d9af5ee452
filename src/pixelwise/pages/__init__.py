"""Self-contained HTML pages: what is shown of a run."""

from pixelwise.pages.report import build

__all__ = ["build"]
