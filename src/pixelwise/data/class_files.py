"""What a folder's own files say about its classes, taken at their word or refused.

A folder may describe its label maps in ``classes.json``, in one of three forms::

    {"classes": ["membrane", "cell"], "ignore": [2]}                  names of 0, 1, 2, ...
    {"classes": {"0": "membrane", "255": "cell"}, "ignore": []}       raw value to name
    {"classes": {"0": "membrane", "1..65535": "cell"}}                or values from .. to
    {"colours": {"128,0,0": "roof", "#000000": "ground"}, "ignore": ["255,255,255"]}

or just name them, one a line, in ``classes.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pixelwise.data.classes import ClassMap, Colour, numbered
from pixelwise.errors import DataError
from pixelwise.labels import VOID, colours_for
from pixelwise.settings import (
    BeforeValidator,
    Contradiction,
    Exact,
    Name,
    decoded,
    limits,
    parse_json,
    read,
    refuse,
    settings,
)

FORMS = (
    '{"classes": {"0": "road", "7": "sky"}, "ignore": [255]} or {"classes": ["road", "sky"]} or '
    '{"colours": {"128,0,0": "roof"}, "ignore": ["0,0,0"]}'
)
T = TypeVar("T")
K = TypeVar("K", int, Colour)
MAX_RAW = 65535
"""Of 16 bits."""
NOT_NAMES = ("__ignore__", "_ignore_")
"""Lines of labelme's class lists that stand for void."""


def _digits(value: object) -> object:
    """JSON has only text for keys."""
    text = value.strip() if isinstance(value, str) else ""  # int() would take "1_0" as well
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else value


def _colour(value: object) -> object:
    """``128,0,0``, ``(128, 0, 0)`` or ``#800000``."""
    bare = str(value).strip().strip("()")
    if re.fullmatch("#[0-9a-fA-F]{6}", bare):
        return tuple(bytes.fromhex(bare[1:]))
    parts = [part.strip() for part in bare.split(",")]
    known = [int(p) for p in parts if re.fullmatch("[0-9]{1,3}", p) and int(p) <= 255]
    if len(known) == len(parts) == 3:
        return tuple(known)
    raise Contradiction(f"{value!r} is no colour, expected red,green,blue or #rrggbb")


def _each(listed: Mapping[object, object]) -> dict[object, object]:
    """Keys that are ranges, ``1..65535``, as their numbers."""
    spread: dict[object, object] = {}
    for key, name in listed.items():
        ends = re.fullmatch(r"\s*([0-9]{1,5})\.\.([0-9]{1,5})\s*", str(key))
        first, last = (int(end) for end in ends.groups()) if ends else (0, 0)
        refuse(bool(ends) and last > MAX_RAW and f"`{key}` ends beyond {MAX_RAW}")
        refuse(bool(ends) and first > last and f"`{key}` ends before it begins")
        keys: list[object] = [str(v) for v in range(first, last + 1)] if ends else [key]
        refuse(*(f"`{key}` holds {k}, which stands there already" for k in keys if k in spread))
        spread |= dict.fromkeys(keys, name)
    return spread


def _meant(read_key: Callable[[object], object]) -> BeforeValidator:
    """Names by what is named: keys as ``read_key`` understands them, or 0, 1, 2, ... of a list."""

    def by_key(listed: object) -> object:
        if isinstance(listed, list):
            names = [str(name).strip() for name in listed]
            twice = [name for i, name in enumerate(names) if name in names[:i]]
            refuse(*(f"class `{name}` stands there twice" for name in twice))
            return dict(enumerate(listed))
        if not isinstance(listed, Mapping):
            return listed
        listed = _each(listed)
        keys = [read_key(text) for text in listed]  # 0 and 00 are one key twice
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        refuse(*(f"`{t}` stands there twice" for i, t in enumerate(listed) if first[keys[i]] < i))
        return dict(zip(keys, listed.values(), strict=True))

    return BeforeValidator(by_key)


Raw = Annotated[Exact, limits(ge=0, le=MAX_RAW), BeforeValidator(_digits)]
"""A value in a label map, of 16 bits at most."""
Shade = Annotated[Colour, BeforeValidator(_colour)]
Classes = Annotated[Mapping[Raw, Name], limits(min_length=1), _meant(_digits)]
"""Raw value to name, of which several may be one; or names of 0, 1, 2, ..."""


@settings(code="D034", others="ignore")
class ByValue:
    """``classes.json`` for label maps that hold numbers."""

    classes: Classes
    ignore: tuple[Raw, ...] = ()

    def class_map(self) -> ClassMap:
        """What each raw value stands for; 255 is void unless it is named."""
        names, ids = class_ids(self.classes, self.ignore)
        return ClassMap(names, colours_for(len(names)), {VOID: VOID, **ids})


@settings(code="D034", others="ignore")
class ByColour:
    """``classes.json`` for masks in colours; a class of several is drawn in the first."""

    colours: Annotated[Mapping[Shade, Name], limits(min_length=1), _meant(_colour)]
    ignore: tuple[Shade, ...] = ()

    def class_map(self) -> ClassMap:
        """What each colour stands for."""
        names, ids = class_ids(self.colours, self.ignore)
        first = {name: colour for colour, name in reversed(list(self.colours.items()))}
        return ClassMap(names, tuple(first[name] for name in names), colours=ids)


def class_ids(named: Mapping[K, str], ignored: Sequence[K]) -> tuple[tuple[str, ...], dict[K, int]]:
    """The classes in the order of their names, and the id of each key; what is ignored is void.

    Raises:
        ValueError: a key is both.
    """
    refuse(*(f"{key} is both `{named[key]}` and ignored" for key in ignored if key in named))
    names = tuple(dict.fromkeys(named.values()))
    ids = {key: names.index(name) for key, name in named.items()}
    return names, ids | dict.fromkeys(ignored, VOID)


def described(root: Path) -> ClassMap | None:
    """What ``classes.json`` or ``classes.txt`` in a folder says; None without them.

    Raises:
        DataError: D034 the file is malformed, with what was expected.
    """
    if (root / "classes.json").exists():
        return parsed(root / "classes.json", _class_map, FORMS)
    lists = (names_in(root / name) for name in ("classes.txt", "class_names.txt"))
    return next((class_map for class_map in lists if class_map), None)


def names_in(path: Path) -> ClassMap | None:
    """The classes that a file names, one a line; None without it.

    Raises:
        DataError: D034 it names none, or is no text.
    """
    return parsed(path, _from_lines, "one class name per line") if path.exists() else None


def parsed(path: Path, build: Callable[[bytes], T], expected: str) -> T:
    """What ``build`` makes of a file's bytes.

    Raises:
        DataError: D034 the file cannot be read, or ``build`` refused it with a ``ValueError``.
    """
    try:
        return build(path.read_bytes())
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except ValueError as error:
        reason = str(error)
    raise DataError("D034", f"{path}: {reason}", f"expected {expected}")


def _class_map(content: bytes) -> ClassMap:
    data = parse_json(content)
    in_colours = isinstance(data, dict) and "colours" in data
    return read(ByColour, data).class_map() if in_colours else read(ByValue, data).class_map()


def _from_lines(content: bytes) -> ClassMap:
    lines = [line.strip() for line in decoded(content).splitlines()]
    names = [n for n in lines if n and n.lower() not in NOT_NAMES]
    if not names:
        raise ValueError("no class names in it")
    return numbered(names)
