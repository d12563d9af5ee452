"""A recipe under way to being planned: choices with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import hxw
from pixelwise.settings import as_dict, read
from pixelwise.training.recipe import Recipe
from pixelwise.training.regimes import put, value_of


@dataclass(frozen=True)
class Choice:
    """What was decided about a setting, and why."""

    setting: str
    value: Any
    reason: str

    def __str__(self) -> str:
        """As ``--set`` takes it."""
        if isinstance(self.value, Mapping):
            return " ".join(f"{self.setting}.{k}={v:g}" for k, v in self.value.items())
        return f"{self.setting}={_shown(self.value)}"


@dataclass(frozen=True)
class Plan:
    """A recipe, and what of it was chosen."""

    recipe: Recipe
    choices: tuple[Choice, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The choices as ``--set`` takes them, with their reasons; a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for choice in self.choices:
            by_reason.setdefault(choice.reason, []).append(str(choice))
        return [f"{' '.join(settings)}: {reason}" for reason, settings in by_reason.items()]


class Draft:
    """A recipe under way: what was asked for stays as it is, the rest is chosen."""

    def __init__(self, asked: Recipe, fixed: frozenset[str]) -> None:
        self.values, self.fixed = as_dict(asked), fixed
        self.choices: dict[str, Choice] = {}

    def __getitem__(self, setting: str) -> Any:
        return value_of(self.values, setting)

    def choose(self, setting: str, value: Any, reason: str) -> None:
        """Decide about a setting; a second time replaces the first."""
        if setting not in self.fixed and not any(f.startswith(f"{setting}.") for f in self.fixed):
            put(self.values, setting, value)
            self.choices[setting] = Choice(setting, value, reason)

    @property
    def recipe(self) -> Recipe:
        """As far as it has come."""
        return read(Recipe, self.values)


def _shown(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, list):
        whole = all(isinstance(v, int) for v in value)
        return hxw(value) if whole else ",".join(f"{v:g}" for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
