"""What a folder's own files say about its classes, taken at their word or refused.

A folder may describe its label maps in ``classes.json``, in one of three forms::

    {"classes": ["membrane", "cell"], "ignore": [2]}                  names of 0, 1, 2, ...
    {"classes": {"0": "membrane", "255": "cell"}, "ignore": []}       raw value to name
    {"classes": {"0": "membrane", "1..65535": "cell"}}                or values from .. to
    {"colours": {"128,0,0": "roof", "#000000": "ground"}, "ignore": ["255,255,255"]}

or just name them, one a line, in ``classes.txt``. ``"others"`` says what every value or colour is
that does not stand there: ``void``, a class, or the ``nearest`` of those that do. ``--values`` says
the same in one word: ``0=membrane,255=cell,*=nearest``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

from pixelwise.data.classes import NEAREST, ClassMap, Colour, numbered
from pixelwise.errors import DataError, UsageError
from pixelwise.labels import VOID, colours_for, voc_palette
from pixelwise.settings import (
    BeforeValidator,
    Byte,
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
VOIDS = (*NOT_NAMES, "void", "ignore", "ignored")
"""Names of what counts for nothing, in lower case."""
ENTRY = r"([^=]+)=([^=,]+)(?:,|$)"
"""Of ``--values``: a key, which may be a colour with commas, and a name without."""
ALONE = "`*=void` or `*=nearest`"
EXAMPLE = '--values "0=background,255=cell", "#ff0000=roof,*=void" or "0..127=back,128..255=cell"'


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


@settings(code="D034", noun="key of a class file")
class ByValue:
    """``classes.json`` for label maps that hold numbers."""

    classes: Classes
    ignore: tuple[Raw, ...] = ()
    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    others: str = ""

    def class_map(self) -> ClassMap:
        """What each raw value stands for; 255 is void unless it is named, or nears what is."""
        names, ids = class_ids(self.classes, self.ignore)
        names, others = _with_others(names, self.others)
        count, colours = len(names), len(self.palette)
        refuse(colours not in (0, count) and f"{colours} colours in `palette` of {count} classes")
        ids = ids if others == NEAREST else {VOID: VOID, **ids}
        return ClassMap(names, colours_for(count, self.palette), ids, others=others)


@settings(code="D034", noun="key of a class file")
class ByColour:
    """``classes.json`` for masks in colours; a class of several is drawn in the first."""

    colours: Annotated[Mapping[Shade, Name], limits(min_length=1), _meant(_colour)]
    ignore: tuple[Shade, ...] = ()
    others: str = ""

    def class_map(self) -> ClassMap:
        """What each colour stands for."""
        names, ids = class_ids(self.colours, self.ignore)
        names, others = _with_others(names, self.others)
        first = {name: colour for colour, name in reversed(list(self.colours.items()))}
        made = colours_for(len(names))  # for a class that has no colour of its own
        palette = tuple(first.get(name, made[i]) for i, name in enumerate(names))
        return ClassMap(names, palette, colours=ids, others=others)


@dataclass(frozen=True)
class Stated:
    """What ``--values`` says of label maps."""

    class_map: ClassMap | None = None
    others: int | None = None
    """Of ``*=void`` or ``*=nearest`` alone, as in ``ClassMap``."""

    def applied(self, own: ClassMap) -> ClassMap:
        """What a data set's label maps mean, which was ``own`` before."""
        if self.class_map or self.others is None:
            return self.class_map or own
        red, green, blue = voc_palette()[VOID].tolist()  # what VOC paints void with
        shades = {(red, green, blue): VOID, **{c: i for i, c in enumerate(own.palette)}}
        colours = own.colours or (shades if self.others == NEAREST else {})
        return replace(own, others=self.others, colours=colours)


def stated(text: str) -> Stated:
    """``0=background,128..255=cell,7=void`` or ``#ff0000=roof``; ``*`` is whatever is not listed.

    Raises:
        UsageError: U002 it cannot be meant.
    """
    pairs = [(key.strip(), name.strip()) for key, name in re.findall(ENTRY, text)]
    listed = dict(pairs)
    try:
        refuse(bool(re.sub(ENTRY, "", text)) and f"`{text}` is no list of value=name")
        refuse(len(listed) < len(pairs) and f"`{text}` gives a value twice")
        others = listed.pop("*", "")
        if not listed:
            named, alone = _with_others((), others)
            refuse(bool(named) and f"`{text}` names the only class, expected {ALONE}")
            return Stated(others=alone)
        of = "colours" if any("#" in key or "," in key for key in listed) else "classes"
        void = [key for key, name in listed.items() if name.lower() in VOIDS]
        classes = {key: name for key, name in listed.items() if key not in void}
        refuse(not classes and f"`{text}` names no class, expected all that the maps hold")
        data = {of: classes, "ignore": [*_each(dict.fromkeys(void))], "others": others}
        return Stated(_class_map(data))
    except ValueError as error:
        raise UsageError("U002", f"--values: {error}", EXAMPLE) from error


def _with_others(names: tuple[str, ...], text: str) -> tuple[tuple[str, ...], int | None]:
    """The classes with that of every other value, and which it is, see ``ClassMap.others``."""
    if not text:
        return names, None
    if text.lower() in (*VOIDS, "nearest"):
        return names, NEAREST if text.lower() == "nearest" else VOID
    names = names if text in names else (*names, text)
    return names, names.index(text)


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
        return parsed(root / "classes.json", lambda content: _class_map(parse_json(content)), FORMS)
    lists = (names_in(root / name) for name in ("classes.txt", "class_names.txt"))
    return next((class_map for class_map in lists if class_map), None)


def colours_in(path: Path) -> dict[str, Colour]:
    """Class to colour, of a file of the form of a ``classes.json`` with colours.

    Raises:
        DataError: D034 it cannot be read, or is of another form.
    """
    form = '{"colours": {"128,0,0": "roof", "#c0c0c0": "road"}}'
    class_map = parsed(path, lambda content: read(ByColour, parse_json(content)).class_map(), form)
    return dict(zip(class_map.classes, class_map.palette, strict=True))


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


def _class_map(data: object) -> ClassMap:
    in_colours = isinstance(data, dict) and "colours" in data
    return read(ByColour, data).class_map() if in_colours else read(ByValue, data).class_map()


def _from_lines(content: bytes) -> ClassMap:
    lines = [line.strip() for line in decoded(content).splitlines()]
    names = [n for n in lines if n and n.lower() not in NOT_NAMES]
    if not names:
        raise ValueError("no class names in it")
    return numbered(names)
