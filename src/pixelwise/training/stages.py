"""Stages of a recipe, as plain data: named changes, each trained on from the one before.

The paper's chains: 32s, then 16s from it, then 8s (section 4.2), and two single streams before
their fusion (nyud-fcn32s-color-hha).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from pixelwise.settings import as_dict

Values = dict[str, Any]
LENGTHS = ("iterations", "epochs", "minutes")
"""Settings of which one at most says how long a run is."""
NAME = re.compile(r"[A-Za-z0-9][\w-]*")
# In ``weights``, where a file may stand: stage:fcn32s, stage:color/best.
_STAGE = re.compile(r"stage:([\w-]+)(?:/(best|last))?(?=,[\w-]+=|$)")


def stage_values(values: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Values]:
    """The settings of each stage by its name: what all share, and its changes.

    The first stage has the recipe's own ``weights``; each of the others starts from the one before,
    unless it names its own.
    """
    shared = {k: v for k, v in values.items() if k != "stages"}
    named, before = dict[str, Values](), ""
    for name, changes in stages.items():
        start = {"weights": f"stage:{before}"} if before else {}
        named[str(name)] = merged({**shared, **start}, changes)
        before = str(name)
    return named


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Values:
    """Plain nested data with changes; a length among them replaces another one."""
    made = {k: v for k, v in values.items() if not (k in LENGTHS and set(LENGTHS) & set(changes))}
    for name, change in changes.items():
        old = _plain(made.get(name))
        nested = isinstance(change, Mapping) and isinstance(old, Mapping)
        made[str(name)] = merged(old, change) if nested else change
    return made


def _plain(value: object) -> Any:
    """Settings made in Python as plain data, other values as they are."""
    return as_dict(value) if is_dataclass(value) else value


def stages_named(weights: str) -> list[str]:
    """The stages that ``weights`` refers to."""
    return [match[1] for match in _STAGE.finditer(weights)]


def with_files(weights: str, file: Callable[[str, str], str]) -> str:
    """``weights`` with ``file(stage, "best" or "last")`` in place of each stage.

    The last weights, if nothing is said: the original solvers go on from their last snapshots.
    """
    return _STAGE.sub(lambda match: file(match[1], match[2] or "last"), weights)


def problems(stages: Mapping[str, Any], weights: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with names and order; ``weights`` are those of each stage that can be read."""
    known = list(stages)
    for number, (name, changes) in enumerate(stages.items()):
        if not NAME.fullmatch(name):
            yield f"stages has {name!r}, expected names of letters, digits, _ and -"
        if "stages" in changes:
            yield f"stages.{name} has stages of its own"
        for other in stages_named(weights.get(name, "")):
            if other not in known[:number]:
                before = ", ".join(known[:number]) or "none"
                yield f"stages.{name} starts from stage {other}, expected one before it ({before})"
