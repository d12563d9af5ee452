"""From a name of the catalogue to a torch module."""

from __future__ import annotations

from typing import Any

from pixelwise.engine.network import Network
from pixelwise.nets.catalog import spec


def build(name: str, **options: Any) -> Network:
    """The net ``name`` as a ``torch.nn.Module`` with parameters named after the layers.

    Takes what ``nets.catalog.spec`` takes.
    """
    return Network(spec(name, **options))
