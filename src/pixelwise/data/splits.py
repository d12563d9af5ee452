"""Splits that are made: by seed, by group, by windows of time. Deterministic in names and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby

from pixelwise.data.sample import Item

Sides = tuple[tuple[Item, ...], tuple[Item, ...]]
"""What is trained on, and what is held out."""
HELD = 0.2  # of the pictures where nobody says another: a common choice, four in five to learn


def by_seed(items: Sequence[Item], seed: int = 0, *, held: float = HELD) -> Sides:
    """Items to train on and items held out, this share of them exactly; groups stay whole where
    there is more than one. For a split that is written down: one more picture may move others.
    """
    return _parted(items, seed, lambda places: round(held * len(places)))


def drawn(items: Sequence[Item]) -> dict[str, tuple[Item, ...]]:
    """``train`` and ``val`` by the names alone; one picture alone leaves no val.

    Every picture (or group) goes to its side by its own name, ``HELD`` of them to val on average,
    so that one that is added moves no other. Only where all would be on one side, the one next to
    the border goes to the other.
    """
    train, val = _parted(items, 0, lambda places: sum(place < HELD for place in places))
    return {"train": train, "val": val} if val else {"train": train}


def kept(items: Sequence[Item], before: Mapping[str, Sequence[str]]) -> dict[str, tuple[Item, ...]]:
    """The splits of names that were drawn before; items that came since go where ``drawn`` does."""
    sides = {name: split for split, names in before.items() for name in names}
    for item in items:
        sides.setdefault(item.name, "val" if _place(item.name, 0) < HELD else "train")
    splits = dict.fromkeys((*before, *sides.values()))
    return {split: tuple(i for i in items if sides[i.name] == split) for split in splits}


def _parted(items: Sequence[Item], seed: int, count: Callable[[Collection[float]], int]) -> Sides:
    """The first ``count(places)`` groups, in the order of their places, are held out."""
    by_group = len({item.group or item.name for item in items}) > 1
    keys = {i.name: i.group if by_group and i.group else i.name for i in items}
    places = {key: _place(key, seed) for key in keys.values()}
    held = min(max(1, count(places.values())), len(places) - 1)
    chosen = set(sorted(places, key=lambda key: places[key])[: max(0, held)])
    fit = tuple(item for item in items if keys[item.name] not in chosen)
    return fit, tuple(item for item in items if keys[item.name] in chosen)


def _place(key: str, seed: int) -> float:
    """Where a key lies between 0 and 1, evenly spread and for good."""
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


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
