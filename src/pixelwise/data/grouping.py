"""Pictures that belong together, by their folders or names: frames of a clip, tiles of a scene.

Neighbouring frames look alike, so a split that parts them says little about other pictures. Groups
are seen where names or folders show them, and nowhere else: ``img_001`` to ``img_200`` are two
hundred pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixelwise.data.sample import Item
from pixelwise.pictures.shards import archive_of

MARKS = (
    *("frame", "fr", "f", "image", "img", "im", "time", "t", "slice", "s", "z", "x", "y"),
    *("row", "r", "column", "col", "c", "tile", "patch", "crop", "part", "aug", "rot", "no", "n"),
)
"""Words before the number of a frame or tile, as tools write them."""
_MARK, _GAP = f"(?:{'|'.join(MARKS)})", r"[_\-. ]"
_NUMBER = re.compile(rf"(?:{_GAP}+{_MARK}?{_GAP}*|(?<=\d){_MARK}{_GAP}*)\(?\d+\)?$", re.IGNORECASE)
"""The number at the end of a name, with what parts it from the rest."""
_COPY = re.compile(r"[_.](?:jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9a-zA-Z]{12,}$")
"""What Roboflow puts behind the name of a picture of which it makes several."""
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d(?:[01]\d[0-3]\d)?(?!\d)")
"""A year or a day: photos of one are not taken from one place."""
_ONE_SUBJECT = re.compile(
    r"(?<![a-z])(clip|seq|sequence|video|vid|movie|scene|shot|take|drive|flight|cam|camera|"
    r"patient|subject|case|volume|stack|plate|well|site|plot|mosaic|area|ortho)(?![a-z]{2})",
    re.IGNORECASE,
)
"""Words that name what was recorded; others (``beagle_12``) name what is to be seen."""
_OF_ONE = re.compile(
    r"(?<![a-z])(frame|slice|tile|patch|crop|aug|row|col|column|x|y)[_\-. ]*\d", re.I
)
"""A number that is said to be of a part."""
DEEPEST = 4
"""Numbers at the end of a name that may all be of one tile: DOTA's have three, iSAID's four."""
FEW = 3
"""Groups that several numbers must leave: fewer, and the first number names the group."""


@dataclass(frozen=True)
class Grouping:
    """Which pictures a split must not part."""

    of: Mapping[str, str]
    """Name of each item to its group; one that stands alone has its own name."""
    evidence: str
    """How that is known, in half a sentence; empty: every picture stands alone."""

    @property
    def count(self) -> int:
        """How many groups there are, those of one picture too."""
        return len(set(self.of.values()))


def grouped(items: Sequence[Item], by: str = "group") -> Grouping:
    """The groups of some items.

    Args:
        items: of one data set.
        by: ``group``: the layout's own, else by folder, else by name; ``folder`` or ``name``;
            ``picture``: each alone; else a regular expression whose first group, or all that it
            matches, is the group's name (one that it does not match stands alone). What is asked
            for is kept however few pictures it joins; ``evidence`` is empty where it joins none.

    Raises:
        re.error: ``by`` is no such expression.
    """
    ways = {"layout": _by_layout, "folder": _by_folder, "name": _by_name}
    none = Grouping({item.name: item.name for item in items}, "")
    if by == "picture":
        return none
    if by in ways:
        return _told(items, ways[by](items), by, asked=True)
    if by != "group":
        return _told(items, _by_pattern(items, re.compile(by)), f"`{by}`", asked=True)
    each = (_told(items, ways[way](items), way) for way in ways)
    return next((grouping for grouping in each if grouping.evidence), none)


def _told(
    items: Sequence[Item], found: Mapping[str, str], way: str, *, asked: bool = False
) -> Grouping:
    """Groups that part the pictures into several, most of which are not alone; else none.

    Those that are asked for count however few they join: they are not evidence but an order.
    """
    of = {item.name: found.get(item.name, item.name) for item in items}
    sizes = Counter(of.values())
    together = [name for name in of if sizes[of[name]] > 1]
    seen = len(sizes) > 1 and 2 * len(together) >= len(of)
    if not together or not (asked or seen):
        return Grouping({item.name: item.name for item in items}, "")
    first = min(together)
    return Grouping(of, f"{len(sizes)} groups by {way}, as `{of[first]}` of `{first}`")


def _by_layout(items: Sequence[Item]) -> dict[str, str]:
    return {item.name: item.group for item in items if item.group}


def _by_folder(items: Sequence[Item]) -> dict[str, str]:
    places = {item.name: archive_of(item.image) or item.image for item in items}
    return {name: place.parent.name for name, place in places.items()}


def _by_pattern(items: Sequence[Item], pattern: re.Pattern[str]) -> dict[str, str]:
    matches = ((item.name, pattern.search(item.name)) for item in items)
    groups = {name: match[1 if pattern.groups else 0] for name, match in matches if match}
    return {name: group for name, group in groups.items() if group}


def _by_name(items: Sequence[Item]) -> dict[str, str]:
    """By what stands before the numbers at the end: of several numbers by as little as will do."""
    whole = {item.name: item.name for item in items}
    copies = {n: _COPY.sub("", n) for n in whole if _COPY.search(n)}
    if copies:
        return copies
    end = _shared_end(list(whole))
    shorter = [{name: name.removesuffix(end) for name in whole}]
    for _ in range(DEEPEST):
        shorter.append({name: _NUMBER.sub("", start) for name, start in shorter[-1].items()})
    for depth in range(DEEPEST, 0, -1):
        cut = {n: s for n, s in shorter[depth].items() if s and s != shorter[depth - 1][n]}
        subjects = {s for n, s in cut.items() if _names_a_subject(s) or _OF_ONE.search(n[len(s) :])}
        found = {name: start for name, start in cut.items() if start in subjects}
        if 2 * len(found) >= len(whole) and len(subjects) >= (2 if depth == 1 else FEW):
            return found
    return {}


def _names_a_subject(start: str) -> bool:
    """It holds a number that is no date, or says what was recorded."""
    return bool(re.search(r"\d", _DATE.sub("", start)) or _ONE_SUBJECT.search(start))


def _shared_end(names: Sequence[str]) -> str:
    """What all names have behind their last number, as ``_leftImg8bit``; at most from a mark on."""
    end = re.search(r"[_\-. ][A-Za-z][A-Za-z0-9]*$", min(names, key=len, default=""))
    return end[0] if end and all(name.endswith(end[0]) for name in names) else ""
