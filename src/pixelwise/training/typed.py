"""Values as the types that a recipe's fields have, whoever gives them: YAML, ``--set``, Python."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pixelwise.errors import UsageError

SETTINGS = "docs/training.md lists the settings; recipe.yaml of any run has them all"


def bring_to_types(settings: Any, prefix: str = "") -> None:
    """Give every field of a frozen dataclass, while it is made, a value of its own type.

    Args:
        settings: the instance.
        prefix: of its fields' names in messages.

    Raises:
        UsageError: U002 a value that is of another type.
    """
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):  # type: ignore[arg-type]
                told = f"{prefix}{name} is {value!r}, expected nested settings"
                raise UsageError("U002", told, SETTINGS)
        else:
            object.__setattr__(settings, name, coerce(value, hint, f"{prefix}{name}"))


def parse(text: str, hint: Any, key: str) -> Any:
    """Text from the command line to what YAML would hold, e.g. 320x400 for a pair."""
    if get_origin(hint) is Mapping:
        raise UsageError(
            "U002",
            f"{key} is {text!r}, expected one setting for each of its names",
            f"e.g. --set '{key}.score*=10'",
        )
    if text.lower() in ("none", "null") and type(None) in get_args(hint):
        return None
    if tuple in (get_origin(hint), *(get_origin(a) for a in get_args(hint))):
        parts = text.strip("()[]").replace("x", ",").split(",")
        return [coerce(p.strip(), float, key) for p in parts if p.strip()]
    return text


def coerce(value: Any, hint: Any, key: str) -> Any:
    """``value`` as the type a field has; numbers may come as text (YAML reads 1e-4 as text)."""
    options = get_args(hint)
    origin = get_origin(hint)
    given = value
    if isinstance(value, str) and origin is not Literal:
        value = parse(value, hint, key)
    try:
        if origin is Literal:
            if value not in options:
                raise UsageError(
                    "U002", f"{key} is {value!r}, expected one of {', '.join(options)}", SETTINGS
                )
            return value
        if type(None) in options:
            return None if value is None else coerce(given, options[0], key)
        if origin is tuple:
            items = [coerce(v, options[0], key) for v in value]
            if Ellipsis not in options and len(items) != len(options):
                raise ValueError
            return tuple(items)
        if origin is not None and origin is not Union:  # a mapping
            return {str(k): float(v) for k, v in dict(value).items()}
        if hint is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if hint is str:
            return _text(value)
        if isinstance(value, bool) or (hint is int and float(value) != int(float(value))):
            raise ValueError
        return hint(float(value)) if hint is int else hint(value)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            "U002", f"{key} is {given!r}, expected {_wanted(hint)}", SETTINGS
        ) from error


def _text(value: Any) -> str:
    """Text, a path, or a number that YAML took for one; nothing is empty text."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    known = isinstance(value, str | int | float | None) and not isinstance(value, bool)
    if not known or "\0" in str(value):
        raise ValueError
    return "" if value is None else str(value)


def _wanted(hint: Any) -> str:
    """A type as people say it."""
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        count = "numbers" if Ellipsis in parts else f"{len(parts)} numbers"
        return f"{count}, as 320x400 or 0.5,2"
    if get_origin(hint) is Mapping:
        return "a number for each name"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(hint, "text")
