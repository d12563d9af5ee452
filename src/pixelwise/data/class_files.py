"""What a folder's own files say about its classes, taken at their word or refused.

A folder may describe its label maps in ``classes.json``, in one of three forms::

    {"classes": ["membrane", "cell"], "ignore": [255]}                names of 0, 1, ...
    {"classes": {"0": "membrane", "255": "cell"}, "ignore": []}       raw value to name
    {"colours": {"128,0,0": "roof", "#000000": "ground"}, "ignore": ["255,255,255"]}

or just name them, one a line, in ``classes.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

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
NOT_NAMES = ("__ignore__", "_ignore_")
"""Lines of labelme's class lists that stand for void."""


def _digits(value: object) -> object:
    """JSON has only text for keys."""
    text = value.strip() if isinstance(value, str) else ""
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


def _keys(read_key: Callable[[object], object]) -> BeforeValidator:
    """The keys of a mapping as what they mean; ``0`` and ``00`` are one key twice."""

    def once(listed: object) -> object:
        if not isinstance(listed, Mapping):
            return listed
        meant: dict[object, object] = {}
        for text, name in listed.items():
            if read_key(text) in meant:
                raise Contradiction(f"`{text}` stands there twice")
            meant[read_key(text)] = name
        return meant

    return BeforeValidator(once)


Raw = Annotated[Exact, limits(ge=0, le=65535), BeforeValidator(_digits)]
"""A value in a label map, of 16 bits at most."""
Shade = Annotated[Colour, BeforeValidator(_colour)]
Names = Annotated[tuple[Name, ...], limits(min_length=1)]


@settings(code="D034", others="ignore")
class Listed:
    """Names of 0, 1, 2, ..."""

    classes: Names
    ignore: tuple[Raw, ...] = ()

    def __post_init__(self) -> None:
        refuse(*both(dict(enumerate(self.classes)), self.ignore))

    def class_map(self) -> ClassMap:
        """What each raw value stands for."""
        return numbered(self.classes, void=(VOID, *self.ignore))


@settings(code="D034", others="ignore")
class Valued:
    """Names by raw value; two values may share a class."""

    classes: Annotated[Mapping[Raw, Name], limits(min_length=1), _keys(_digits)]
    ignore: tuple[Raw, ...] = ()

    def __post_init__(self) -> None:
        refuse(*both(self.classes, self.ignore))

    def class_map(self) -> ClassMap:
        """What each raw value stands for; 255 is void unless it is named."""
        names = tuple(dict.fromkeys(self.classes.values()))
        values = {raw: names.index(name) for raw, name in self.classes.items()}
        void = dict.fromkeys((VOID, *self.ignore), VOID)
        return ClassMap(names, colours_for(len(names)), void | values)


@settings(code="D034", others="ignore")
class Coloured:
    """Names by colour; two colours may share a class, which is drawn in the first."""

    colours: Annotated[Mapping[Shade, Name], limits(min_length=1), _keys(_colour)]
    ignore: tuple[Shade, ...] = ()

    def __post_init__(self) -> None:
        refuse(*both(self.colours, self.ignore))

    def class_map(self) -> ClassMap:
        """What each colour stands for."""
        names = tuple(dict.fromkeys(self.colours.values()))
        first = {name: rgb for rgb, name in reversed(list(self.colours.items()))}
        colours = {rgb: names.index(name) for rgb, name in self.colours.items()}
        void = dict.fromkeys(self.ignore, VOID)
        return ClassMap(names, tuple(first[n] for n in names), colours=colours | void)


def both(named: Mapping[Any, str], ignored: Sequence[Hashable]) -> Iterator[str]:
    """What is a class and void; it cannot be both."""
    return (f"{v} is both `{named[v]}` and ignored" for v in ignored if v in named)


def described(root: Path) -> ClassMap | None:
    """What ``classes.json`` or ``classes.txt`` in a folder says; None without them.

    Raises:
        DataError: D034 the file is malformed, with what was expected.
    """
    files = {
        "classes.json": (_class_map, FORMS),
        "classes.txt": (_from_lines, "one class name per line"),
        "class_names.txt": (_from_lines, "one class name per line"),
    }
    for name, (build, expected) in files.items():
        if (root / name).exists():
            return parsed(root / name, build, expected)
    return None


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
    if isinstance(data, dict) and "colours" in data:
        return read(Coloured, data).class_map()
    by_value = isinstance(data, dict) and isinstance(data.get("classes"), dict)
    return read(Valued, data).class_map() if by_value else read(Listed, data).class_map()


def _from_lines(content: bytes) -> ClassMap:
    lines = [line.strip() for line in decoded(content).splitlines()]
    names = [n for n in lines if n and n.lower() not in NOT_NAMES]
    if not names:
        raise ValueError("no class names in it")
    return numbered(names)
