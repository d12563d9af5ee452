"""Recipes as text: YAML files, nested plain data, ``--set key=value``; typed by ``Recipe``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from pixelwise.errors import UsageError, unknown_name, visible
from pixelwise.machine.files import atomic_write
from pixelwise.settings import as_dict, known_names, read
from pixelwise.training.recipe import HINT, LENGTHS, Recipe

PATHS = ("data", "weights")
"""Settings in which environment variables may stand."""


def flat(recipe: Recipe) -> dict[str, str]:
    """Every setting by the name that ``--set`` takes, as text; of stages all that they have."""

    def leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{prefix}{name}.")
            elif isinstance(value, list):
                yield prefix + name, ",".join(map(str, value)) or "none"
            else:
                yield prefix + name, str(value)

    if recipe.stages:  # as text, 1e-4 and 0.0001 would differ
        each = recipe.by_stage().items()
        return {f"stages.{name}.{k}": v for name, settled in each for k, v in flat(settled).items()}
    return dict(leaves(as_dict(recipe), ""))


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with ``key=value`` settings carried out.

    Environment variables in its paths are put in. What neither file nor settings give is open to
    the recipe's regime.
    """
    try:
        values = plain_data(path.read_text(encoding="utf-8"))
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
    paths = {name: _without_variables(path, getattr(recipe, name)) for name in PATHS}
    stages = {
        stage: {k: _without_variables(path, str(v)) if k in PATHS else v for k, v in own.items()}
        for stage, own in recipe.stages.items()
    }
    return recipe.replace(**paths, stages=stages)


def plain_data(text: str) -> Any:
    """What a YAML text holds; a YAMLError or ValueError if it is none or a name stands twice."""
    return _Loader(text).get_single_data()


def yaml_text(values: Mapping[str, Any]) -> str:
    """Plain nested data as YAML, its innermost parts in a line each."""

    def entry(key: str, value: object) -> str:
        if isinstance(value, list):
            return f"{key}: {yaml.safe_dump(value, default_flow_style=True, width=100)}"
        flow = None if isinstance(value, dict) else False
        return yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=flow, width=100)

    return "".join(entry(key, value) for key, value in values.items())


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


def write_recipe(path: Path, recipe: Recipe, reasons: Sequence[str] = ()) -> None:
    """The recipe as a YAML file that ``read_recipe`` reads back equal.

    ``reasons`` are comments at its head; without any those that stand there stay.
    """
    head = [f"# {visible(reason)}" for reason in reasons]
    if not head and path.exists():
        before = path.read_text(encoding="utf-8").splitlines()
        head = [*takewhile(lambda line: line.startswith("#"), before)]
    body = yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True)
    atomic_write(path, "\n".join([*head, body]))


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
    """Carry ``key=value`` settings out in plain data; a new length replaces the old one.

    What is set for the whole recipe goes before what its stages say of it, and
    ``stages.NAME.key`` is of one stage.
    """
    stages = values.get("stages")
    own = [s for s in stages.values() if isinstance(s, dict)] if isinstance(stages, dict) else []
    keys = {setting.partition("=")[0].strip() for setting in settings}
    for place in (values, *own) if keys & set(LENGTHS) else ():
        for length in LENGTHS:
            place.pop(length, None)
    for setting in settings:
        key, equals, text = setting.partition("=")
        key, text = key.strip(), text.strip()
        if not equals:
            raise UsageError(
                "U002", f"--set {setting}: expected key=value", "e.g. --set optim.lr=1e-4"
            )
        stage, _, of_stage = key.removeprefix("stages.").partition(".")
        if of_stage and key.startswith("stages."):
            if not isinstance(stages, dict) or not isinstance(stages.get(stage), dict):
                raise unknown_name("stage of the recipe", stage, list(map(str, stages or ())))
            _put(stages[stage], of_stage, text)
            continue
        for place in own:
            _take(place, key)
        _put(values, key, text)


def _steps(key: str) -> list[str]:
    """The names on the way to an entry.

    Names in a mapping may have dots: optim.rates.score_fr.bias is `score_fr.bias` of it.
    """
    mapping = next((n for n in known_names(Recipe) if key.startswith(f"{n}.")), "")
    return [*mapping.split("."), key[len(mapping) + 1 :]] if mapping else key.split(".")


def _put(values: dict[str, Any], key: str, text: str) -> None:
    *parts, last = _steps(key)
    for part in parts:  # where it stands in no settings, ``read`` says so
        if not isinstance(values.get(part), dict):
            values[part] = {}
        values = values[part]
    values[last] = text


def _take(values: dict[str, Any], key: str) -> None:
    *parts, last = _steps(key)
    for part in parts:
        values = values.get(part, {})
        if not isinstance(values, dict):
            return
    values.pop(last, None)


def _beside(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Plain nested data without what equals the defaults."""
    return {
        name: _beside(value, usual[name]) if isinstance(usual.get(name), dict) else value
        for name, value in values.items()
        if name not in usual or value != usual[name]
    }
