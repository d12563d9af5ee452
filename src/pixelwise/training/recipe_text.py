"""Recipes as text: YAML files, nested plain data, ``--set key=value``; typed by ``Recipe``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from pixelwise.errors import UsageError
from pixelwise.machine.files import atomic_write
from pixelwise.settings import as_dict, known_names, read
from pixelwise.training.recipe import HINT, LENGTHS, Recipe


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


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with ``key=value`` settings carried out.

    Environment variables in its paths are put in. What neither file nor settings give is open to
    the recipe's regime.
    """
    try:
        values = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError as error:
        raise UsageError("U002", f"{path}: no such recipe", "check the path") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{path} is not a readable recipe: {reason}"
        raise UsageError("U002", message, "expected `name: value` lines (YAML)") from error
    if not isinstance(values, dict):
        raise UsageError("U002", f"{path} is not a recipe: expected `name: value` lines", HINT)
    change(values, settings)
    recipe = read(Recipe, values, place=path)
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
        message = f"{recipe}: {text} names the variable {unset}, which is not set"
        raise UsageError("U002", message, f"export {unset}=/where/it/is")
    return os.path.expandvars(text)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """The recipe as a YAML file that ``read_recipe`` reads back equal."""
    atomic_write(path, yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True))


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with ``key=value`` settings carried out, each typed by the field it changes.

    A regime among them gives what the recipe has at its default; see ``change``.
    """
    values = as_dict(recipe)
    if recipe.regime == "none":
        values = _beside(values, as_dict(Recipe()))
    change(values, settings)
    return read(Recipe, values)


def change(values: dict[str, Any], settings: Sequence[str]) -> None:
    """Carry ``key=value`` settings out in plain data; a new length replaces the old one."""
    if {setting.partition("=")[0].strip() for setting in settings} & set(LENGTHS):
        for length in LENGTHS:
            values.pop(length, None)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(
                "U002", f"--set {setting}: expected key=value", "e.g. --set optim.lr=1e-4"
            )
        key = key.strip()
        # Names in a mapping may have dots: optim.rates.score_fr.bias is `score_fr.bias` of it.
        mapping = next((n for n in known_names(Recipe) if key.startswith(f"{n}.")), "")
        *parts, last = [*mapping.split("."), key[len(mapping) + 1 :]] if mapping else key.split(".")
        place = values
        for part in parts:  # where it stands in no settings, ``read`` says so
            if not isinstance(place.get(part), dict):
                place[part] = {}
            place = place[part]
        place[last] = text.strip()


def _beside(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested data without what equals the defaults."""
    return {
        name: _beside(value, usual[name]) if isinstance(usual.get(name), dict) else value
        for name, value in values.items()
        if name not in usual or value != usual[name]
    }
