"""Recipes as text: YAML files, nested plain data, ``--set key=value``; typed by the fields."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from pixelwise.errors import UsageError, unknown_name
from pixelwise.machine.files import atomic_write
from pixelwise.training.recipe import Recipe
from pixelwise.training.typed import SETTINGS, coerce


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Plain nested data, ready for YAML or JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    return {k: plain(v) for k, v in dataclasses.asdict(recipe).items()}


def flat(recipe: Recipe) -> dict[str, str]:
    """Every setting by the name that ``--set`` takes, as text."""

    def leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{name}.")
            elif isinstance(value, list):
                yield prefix + name, ",".join(map(str, value)) or "none"
            else:
                yield prefix + name, str(value)

    return dict(leaves(as_dict(recipe), ""))


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """The recipe in nested plain data.

    Raises:
        UsageError: an unknown name (similar ones are listed), a wrong type, a contradiction.
    """
    made: Recipe = _build(Recipe, values, "")
    return made


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file; environment variables in its paths are put in."""
    try:
        values = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError as error:
        raise UsageError("U002", f"{path}: no such recipe", "check the path") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        told = f"{path} is not a readable recipe: {reason}"
        raise UsageError("U002", told, "expected `name: value` lines (YAML)") from error
    if not isinstance(values, dict):
        raise UsageError("U002", f"{path} is not a recipe: expected `name: value` lines", SETTINGS)
    try:
        recipe = from_dict(values)
    except UsageError as error:
        raise UsageError(error.code, f"{path}: {error}", error.hint) from error
    data, weights = (_without_variables(path, text) for text in (recipe.data, recipe.weights))
    return recipe.replace(data=data, weights=weights)


class _Loader(yaml.SafeLoader):
    """YAML without code, which refuses a name that stands twice: the last one would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [
            key.value
            for key, _ in node.value
            if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge")
        ]
        twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
        if twice is not None:
            raise ValueError(f"`{twice}` stands twice (line {node.start_mark.line + 1} and after)")
        return super().construct_mapping(node, deep)


def _without_variables(recipe: Path, text: str) -> str:
    """A path in a recipe with the values of the variables that it names."""
    with suppress(OSError):
        if Path(text).exists():  # a folder may be called $HOME
            return text
    named = (name.strip("{}") for name in re.findall(r"\$(\w+|\{\w+\})", text))
    unset = next((name for name in named if name not in os.environ), None)
    if unset:
        told = f"{recipe}: {text} names the variable {unset}, which is not set"
        raise UsageError("U002", told, f"export {unset}=/where/it/is")
    return os.path.expandvars(text)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """The recipe as a YAML file that ``read_recipe`` reads back equal."""
    atomic_write(path, yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True))


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with ``key=value`` settings carried out, each typed by the field it changes."""
    values = as_dict(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(
                "U002", f"--set {setting}: expected key=value", "e.g. --set optim.lr=1e-4"
            )
        *path, last = key.strip().split(".")
        place, kind = values, Recipe
        for part in path:
            kind = _field_type(kind, part, key)
            place = place.setdefault(part, {})
        if dataclasses.is_dataclass(kind):
            _field_type(kind, last, key)
            place[last] = text.strip()
        else:  # a mapping such as optim.rates: its keys are free
            place[last] = coerce(text.strip(), float, key)
    return from_dict(values)


def _field_type(kind: Any, name: str, key: str) -> Any:
    hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
    if name not in hints:
        raise unknown_name("recipe setting", key, _all_keys(Recipe))
    return hints[name]


def _all_keys(kind: Any, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, hint in get_type_hints(kind).items():
        nested = dataclasses.is_dataclass(hint)
        keys += _all_keys(hint, f"{prefix}{name}.") if nested else [prefix + name]
    return keys


def _build(kind: Any, values: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise UsageError(
            "U002", f"{prefix.rstrip('.')} is {values!r}, expected nested settings", SETTINGS
        )
    hints = get_type_hints(kind)
    made = {}
    for name, value in values.items():
        if name not in hints:
            raise unknown_name("recipe setting", f"{prefix}{name}", _all_keys(Recipe))
        hint = hints[name]
        nested = dataclasses.is_dataclass(hint)
        made[name] = _build(hint, value, f"{prefix}{name}.") if nested else value
    return kind(**made)
