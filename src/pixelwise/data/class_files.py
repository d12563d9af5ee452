"""What a folder's own files say about its classes, taken at their word or refused.

A folder may describe its label maps in ``classes.json``::

    {"classes": {"0": "membrane", "255": "cell"}, "ignore": []}       raw value to name
    {"colours": {"128,0,0": "roof", "#000000": "ground"}, "ignore": ["255,255,255"]}

or just name them, one a line, in ``classes.txt``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pixelwise.data.classes import ClassMap, Colour, numbered
from pixelwise.errors import DataError
from pixelwise.labels import VOID, colours_for

LARGEST = 65535
"""Of 16-bit label maps."""
FORMS = (
    '{"classes": {"0": "road", "7": "sky"}, "ignore": [255]} or {"classes": ["road", "sky"]} or '
    '{"colours": {"128,0,0": "roof"}, "ignore": ["0,0,0"]}'
)
NOT_NAMES = ("__ignore__", "_ignore_")
"""Lines of labelme's class lists that stand for void."""

T = TypeVar("T")
K = TypeVar("K", int, Colour)


def described(root: Path) -> ClassMap | None:
    """What ``classes.json`` or ``classes.txt`` in a folder says; None without them.

    Raises:
        DataError: D034 the file is malformed, with what was expected.
    """
    path = root / "classes.json"
    if path.exists():
        return parsed(path, _class_map, FORMS)
    for name in ("classes.txt", "class_names.txt"):
        path = root / name
        if path.exists():
            return _from_lines(path)
    return None


def parsed(path: Path, build: Callable[[dict[str, Any]], T], expected: str) -> T:
    """What ``build`` makes of the JSON object in a file.

    Args:
        path: the file.
        build: raises ``ValueError`` with a sentence about what is wrong.
        expected: what a right file holds, for the hint.

    Raises:
        DataError: D034 the file cannot be read, is no JSON object, or ``build`` refused it.
    """
    try:
        told = json.loads(_text(path), object_pairs_hook=_each_key_once)
        if not isinstance(told, dict):
            raise ValueError("expected a JSON object")
        return build(told)
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg}, line {error.lineno} column {error.colno})"
    except RecursionError:
        reason = "nested too deep"
    except ValueError as error:
        reason = str(error)
    raise DataError("D034", f"{path}: {reason}", f"expected {expected}")


def names_in(values: object) -> list[str]:
    """A list of class names.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(values, list) or not values:
        raise ValueError("`classes` is no list of names")
    return [_name(value) for value in values]


def number_in(value: object, of: str) -> int:
    """A raw value of a label map, given as a number or as its digits.

    Raises:
        ValueError: it is none.
    """
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and re.fullmatch("[0-9]{1,5}", text):
        text = int(text)
    if not isinstance(text, int) or isinstance(text, bool) or not 0 <= text <= LARGEST:
        raise ValueError(f"{of} holds {value!r}, expected whole numbers from 0 to {LARGEST}")
    return text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"`{twice}` stands there twice")
    return found


def _from_lines(path: Path) -> ClassMap:
    try:
        lines = [line.strip() for line in _text(path).splitlines()]
        names = [n for n in lines if n and n.lower() not in NOT_NAMES]
        if not names:
            raise ValueError("no class names in it")
        return numbered(names)
    except ValueError as error:
        raise DataError("D034", f"{path}: {error}", "expected one class name per line") from error


def _class_map(told: dict[str, Any]) -> ClassMap:
    ignore = told.get("ignore", [])
    if not isinstance(ignore, list):
        raise ValueError(f"`ignore` is {ignore!r}, expected a list")
    if "colours" in told:
        return _coloured(told["colours"], ignore)
    void = [number_in(value, "`ignore`") for value in ignore]
    listed = told.get("classes")
    if isinstance(listed, dict) and listed:
        return _valued(_each_once(listed, lambda key: number_in(key, "`classes`")), void)
    if "classes" not in told:
        raise ValueError("neither `classes` nor `colours` in it")
    names = names_in(listed)
    refuse_both(dict(enumerate(names)), void)
    return numbered(names, void=(VOID, *void))


def _valued(listed: Mapping[int, str], void: list[int]) -> ClassMap:
    refuse_both(listed, void)
    names = tuple(dict.fromkeys(listed.values()))  # two values may share a class
    values = {raw: names.index(name) for raw, name in listed.items()}
    values |= dict.fromkeys(void, VOID)
    values.setdefault(VOID, VOID)
    return ClassMap(names, colours_for(len(names)), values)


def _coloured(listed: object, ignore: list[Any]) -> ClassMap:
    if not isinstance(listed, dict) or not listed:
        raise ValueError("`colours` names no colours")
    named = _each_once(listed, _colour)
    void = [_colour(text) for text in ignore]
    refuse_both(named, void)
    names = tuple(dict.fromkeys(named.values()))
    first = {name: rgb for rgb, name in reversed(named.items())}
    colours = {rgb: names.index(name) for rgb, name in named.items()}
    return ClassMap(
        names, tuple(first[n] for n in names), colours=colours | dict.fromkeys(void, VOID)
    )


def refuse_both(named: Mapping[Any, str], void: list[Any]) -> None:
    """A value is a class or void, not both.

    Raises:
        ValueError: one is both.
    """
    for value in void:
        if value in named:
            raise ValueError(f"{value} is both `{named[value]}` and ignored")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no class name, expected text")
    return value.strip()


def _each_once(listed: Mapping[str, Any], read: Callable[[str], K]) -> dict[K, str]:
    """Keys as ``read`` understands them, to names; ``0`` and ``00`` are one key twice."""
    found: dict[K, str] = {}
    for text, name in listed.items():
        key = read(text)
        if key in found:
            raise ValueError(f"`{text}` stands there twice")
        found[key] = _name(name)
    return found


def _colour(text: object) -> Colour:
    """``128,0,0``, ``(128, 0, 0)`` or ``#800000``."""
    bare = str(text).strip().strip("()")
    if re.fullmatch("#[0-9a-fA-F]{6}", bare):
        return int(bare[1:3], 16), int(bare[3:5], 16), int(bare[5:], 16)
    parts = [part.strip() for part in bare.split(",")]
    known = [int(p) for p in parts if re.fullmatch("[0-9]{1,3}", p) and int(p) <= 255]
    if len(known) != 3 or len(parts) != 3:
        raise ValueError(f"{text!r} is no colour, expected red,green,blue or #rrggbb")
    return known[0], known[1], known[2]
