"""Splits that are made: by seed, by group, by windows of time. Deterministic in names and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pixelwise.data.sample import Item


def by_seed(
    items: Sequence[Item], seed: int = 0, *, held: float = 0.2
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Items to train on and items held out; groups stay whole where there is more than one.

    The order in which groups (else items) are held out depends on the seed and their names alone.
    """
    groups = {item.group or item.name for item in items}
    by_group = len(groups) > 1
    keys = sorted(
        {_key(i, by_group) for i in items},
        key=lambda key: hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest(),
    )
    count = min(max(1, round(held * len(keys))), len(keys) - 1) if len(keys) > 1 else 0
    chosen = set(keys[:count])
    fit = tuple(i for i in items if _key(i, by_group) not in chosen)
    return fit, tuple(i for i in items if _key(i, by_group) in chosen)


def _key(item: Item, by_group: bool) -> str:
    return item.group if by_group and item.group else item.name


def drawn(items: Sequence[Item]) -> dict[str, tuple[Item, ...]]:
    """``by_seed`` as named splits; one picture alone leaves no val."""
    train, val = by_seed(items)
    return {"train": train, "val": val} if val else {"train": train}


def told(found: Mapping[str, Sequence[Item]]) -> str:
    """A sentence on what ``drawn`` did."""
    if "val" not in found:
        return "no lists of splits, and one picture alone: there is no val"
    return "no lists of splits: train and val were drawn, by the names alone"


def heads(
    items: Sequence[Item], share: float, *, gap: int = 0
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The first ``share`` of every group held out, in order of name; frames of one sequence.

    Args:
        items: of sequences; names sort by time.
        share: of each group to hold out, at least one item; nothing of a group of one.
        gap: items after the held ones that are in neither part: neighbours look alike.

    Returns:
        What is trained on, and what is held out.
    """
    fit: list[Item] = []
    held: list[Item] = []
    groups: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda i: i.name):
        groups.setdefault(item.group, []).append(item)
    for _, members in sorted(groups.items()):
        count = max(1, round(share * len(members))) if len(members) > 1 else 0
        held += members[:count]
        fit += members[count + gap if count else 0 :]
    return tuple(fit), tuple(held)
