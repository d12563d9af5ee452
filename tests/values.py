"""What the parts of a room hand to each other."""

from __future__ import annotations

from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pixelwise

SOURCE = Path(pixelwise.__file__).parent


def changeable(room: str) -> list[str]:
    """The room's dataclasses that are not frozen."""
    found = []
    for path in sorted((SOURCE / room).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        module = import_module(".".join(("pixelwise", *parts)).removesuffix(".__init__"))
        own: list[Any] = [v for v in vars(module).values() if is_dataclass(v)]
        own = [v for v in own if getattr(v, "__module__", "") == module.__name__]
        found += [f"{path.stem}.{v.__name__}" for v in own if not v.__dataclass_params__.frozen]
    return found
