"""The page's files: read once, by fixed names, with the policy that a browser holds them to."""

from __future__ import annotations

from importlib.resources import files

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; media-src 'self' blob:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline."""


def page() -> dict[str, tuple[str, bytes]]:
    """Path to media type and content."""
    found = {}
    for file in (files("pixelwise.serving") / "page").iterdir():
        suffix = f".{file.name.rpartition('.')[2]}"
        if suffix in TYPES:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            found[path] = (TYPES[suffix], file.read_bytes())
    return found
