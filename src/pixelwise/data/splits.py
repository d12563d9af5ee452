"""Splits that are made: by names, by shares of classes, by windows of time; groups stay whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.grouping import Grouping, grouped
from pixelwise.data.sample import Item

Sides = tuple[tuple[Item, ...], tuple[Item, ...]]
"""What is trained on, and what is held out."""
TRIES, MANY = 32, 200
"""Orders in which groups are dealt out, and groups from which on one will do."""
HELD = 0.2  # of the pictures where nobody says another: a common choice, four in five to learn


def once_drawn(items: Sequence[Item]) -> Sides:
    """As runs drew that did not note it: an exact ``HELD``, whole groups of the layout's own."""
    by_group = len({item.group or item.name for item in items}) > 1
    groups = {i.name: i.group if by_group and i.group else i.name for i in items}
    return _parted(items, groups, lambda places: round(HELD * len(places)))


def drawn(items: Sequence[Item]) -> dict[str, tuple[Item, ...]]:
    """``train`` and ``val`` by the names alone; one picture alone leaves no val.

    Every picture (or group, see ``data.grouping``) goes to its side by its own name, ``HELD`` of
    them to val on average, so that one that is added moves no other. Only where all would be on one
    side, the one next to the border goes to the other; and groups are dealt out by their sizes
    where that would give val less than half of ``HELD``, or more than twice as much.
    """
    grouping = grouped(items)
    train, val = _parted(items, grouping.of, lambda places: sum(place < HELD for place in places))
    if grouping.evidence and not HELD / 2 <= len(val) / len(items) <= 2 * HELD:
        return dealt(items, {"train": 1 - HELD, "val": HELD}, grouping)
    return {"train": train, "val": val} if val else {"train": train}


def kept(items: Sequence[Item], before: Mapping[str, Sequence[str]]) -> dict[str, tuple[Item, ...]]:
    """The splits of names that were drawn before; items that came since go where their group is, or
    else where ``drawn`` puts them.
    """
    sides = {name: split for split, names in before.items() for name in names}
    groups = grouped(items).of
    of_group = {groups[item.name]: sides[item.name] for item in items if item.name in sides}
    for item in items:
        group = groups[item.name]
        place = "val" if _place(group) < HELD else "train"
        sides.setdefault(item.name, of_group.setdefault(group, place))
    splits = dict.fromkeys((*before, *sides.values()))
    return {split: tuple(i for i in items if sides[i.name] == split) for split in splits}


def _parted(
    items: Sequence[Item],
    groups: Mapping[str, str],
    count: Callable[[Collection[float]], int],
) -> Sides:
    """The first ``count(places)`` groups, in the order of their places, are held out."""
    places = {group: _place(group) for group in groups.values()}
    held = min(max(1, count(places.values())), len(places) - 1)
    chosen = set(sorted(places, key=lambda group: places[group])[: max(0, held)])
    fit = tuple(item for item in items if groups[item.name] not in chosen)
    return fit, tuple(item for item in items if groups[item.name] in chosen)


def _place(key: str, seed: int = 0) -> float:
    """Where a key lies between 0 and 1, evenly spread and for good."""
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def dealt(
    items: Sequence[Item],
    shares: Mapping[str, float],
    grouping: Grouping,
    *,
    seed: int = 0,
    amounts: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> dict[str, tuple[Item, ...]]:
    """Whole groups given to the split that lacks most; every split gets its share, as near as may.

    With ``amounts`` each class does, the rarest first (iterative stratification: Sechidis et al.,
    ECML PKDD 2011, with groups in the place of examples).

    Args:
        items: to be split.
        shares: of each split, together 1.
        grouping: what stays whole.
        seed: another one, another split.
        amounts: by name of an item how much of each class it holds.
    """
    rows: dict[str, NDArray[np.float64]] = {}
    for item in items:  # the last column counts pictures: it decides what the classes leave open
        group, row = grouping.of[item.name], np.array([*amounts.get(item.name, ()), 1.0])
        rows[group] = rows.get(group, 0.0) + row
    table = np.stack(list(rows.values()))
    part = dict(zip(rows, table / np.maximum(table.sum(0), 1e-12), strict=True))
    # Of few groups the order decides much, and several are soon tried.
    seeds = range(TRIES * seed, TRIES * seed + (TRIES if len(part) < MANY else 1))
    orders = [sorted(part, key=partial(_place, seed=n)) for n in seeds]
    tried = [_dealt_by_column(part, shares, order) for order in orders]
    side, _ = min(tried, key=lambda outcome: outcome[1])
    for split in shares:
        if split not in side.values() and len(side) >= len(shares):  # too few groups for its share
            counts = Counter(side.values())
            side[next(g for g in reversed(side) if counts[side[g]] > 1)] = split
    return {s: tuple(i for i in items if side[grouping.of[i.name]] == s) for s in shares}


def _dealt_by_column(
    part: Mapping[str, NDArray[np.float64]], shares: Mapping[str, float], order: Iterable[str]
) -> tuple[dict[str, str], float]:
    """Group to split, and how far the splits are from their shares of all columns.

    ``part`` is what a group holds of each column, of all that there is.
    """
    holders = np.sum([row > 0 for row in part.values()], axis=0)
    lacking = {split: share * (holders > 0) for split, share in shares.items()}
    side: dict[str, str] = {}
    *classes, pictures = range(len(holders))
    for column in (*sorted(classes, key=lambda c: holders[c]), pictures):
        left = [group for group in order if part[group][column] > 0 and group not in side]
        # Large ones first, or the last overshoot; by powers of two, or no seed would count.
        for group in sorted(left, key=lambda g: -round(np.log2(part[g][column]))):
            most = max(lacking, key=lambda s: (lacking[s][column], lacking[s][pictures]))
            lacking[most] = lacking[most] - part[group]
            side[group] = most
    return side, float(sum(np.abs(row).sum() for row in lacking.values()))


def heads(items: Sequence[Item], share: float, *, gap: int = 0) -> Sides:
    """Items to train on, and the first ``share`` of every group, held out; names sort by time.

    At least one item of a group is held out, and nothing of a group of one. The ``gap`` items after
    them are in neither part: neighbouring frames look alike.
    """
    fit: list[Item] = []
    held: list[Item] = []
    in_time = sorted(items, key=lambda i: (i.group, i.name))
    for _, group in groupby(in_time, key=lambda i: i.group):
        members = list(group)
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        held += members[:count]
        fit += members[count + gap if count else 0 :]
    return tuple(fit), tuple(held)
