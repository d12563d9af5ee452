"""``python -m pixelwise`` and the ``pixelwise`` command."""

from __future__ import annotations

from pixelwise.cli.app import main

if __name__ == "__main__":
    main()
