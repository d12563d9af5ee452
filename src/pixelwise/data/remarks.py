"""What is doubtful in data that can be read: copies, splits not apart, maps of one class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pixelwise.data.grouping import grouped
from pixelwise.data.likeness import look_alikes
from pixelwise.errors import first_few
from pixelwise.labels import VOID

if TYPE_CHECKING:
    from pixelwise.data.inspect import Seen

SCORES = "scores on it say too much"


@dataclass(frozen=True)
class Remark:
    """Something that training does not refuse."""

    text: str
    pictures: tuple[str, ...] = ()
    """The names of all that it is about."""


def remarks(
    seen: Mapping[str, Sequence[Seen]], apart: Sequence[str], head: str, classes: Sequence[str]
) -> Iterator[Remark]:
    """On what was seen of each split.

    Args:
        seen: by split.
        apart: splits that should hold nothing alike, that which is trained on first.
        head: whose label maps are looked at.
        classes: of this head.
    """
    views = {view.item.files: view for view in chain(*seen.values())}.values()
    in_order: dict[str, list[Seen]] = {}
    taken = set[Path]()
    for split in (split for split in apart if seen.get(split)):
        # One picture in several splits is told as a leak, or its labels are in parts.
        in_order[split] = [view for view in seen[split] if view.item.image not in taken]
        taken |= {view.item.image for view in seen[split]}
    yield from _twice(list({view.item.image: view for view in views}.values()))
    yield from _alike(in_order)
    yield from _parted_groups(in_order)
    yield from _of_one_class(list(views), head, classes)
    turned = [view.item.name for view in views if view.orientation != 1]
    if turned:
        text = "carry an EXIF orientation: they are shown turned, which other tools may not do"
        yield _of(turned, len(views), text)


def _of(names: Sequence[str], total: int, what: str) -> Remark:
    shown = f"{len(names)} of {total} pictures {what} ({first_few(sorted(names))})"
    return Remark(shown, tuple(sorted(names)))


def _twice(views: Sequence[Seen]) -> Iterator[Remark]:
    """Equal pictures, in one split or in splits that may share some."""
    copies: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for view in views:
        copies[view.content][view.labels_content].append(view.item.name)
    several = [maps for maps in copies.values() if sum(map(len, maps.values())) > 1]
    at_odds = [n for maps in several if len(maps.keys() - {""}) > 1 for n in chain(*maps.values())]
    if names := [name for maps in several for name in chain(*maps.values())]:
        yield _of(names, len(views), f"are copies of each other, {len(several)} without them")
    if at_odds:
        yield _of(at_odds, len(views), "are copies whose label maps differ")


def _alike(seen: Mapping[str, Sequence[Seen]]) -> Iterator[Remark]:
    """Pictures that look like one of a split before theirs, or of their own; equal ones aside."""
    views: dict[str, tuple[str, Seen]] = {}
    for split, members in seen.items():
        for view in members:
            views.setdefault(view.content, (split, view))
    rows = list(views.values())
    if not rows:
        return
    pairs: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for i, j in look_alikes(np.stack([view.sketch for _, view in rows])):
        (first, one), (second, other) = rows[i], rows[j]
        pairs[first, second].setdefault(other.item.name, one.item.name)
    for (first, second), names in pairs.items():
        where = f"split {second}" if first != second else f"split {first}"
        like = f"look like others of {'it' if first == second else f'split {first}'}"
        shown = first_few([f"{other} like {one}" for other, one in sorted(names.items())], 3)
        text = f"{len(names)} pictures of {where} {like} ({shown})"
        if first != second:
            text += f": {SCORES}"
        yield Remark(text, tuple(sorted({*names, *names.values()})))


def _parted_groups(seen: Mapping[str, Sequence[Seen]]) -> Iterator[Remark]:
    """Frames or tiles of one group in two splits."""
    items = {view.item.name: view.item for members in seen.values() for view in members}
    grouping = grouped(list(items.values()))
    if not grouping.evidence:
        return
    splits = list(seen)
    groups = {s: {grouping.of[view.item.name] for view in seen[s]} for s in splits}
    for i, split in enumerate(splits):
        before = {g: s for s in reversed(splits[:i]) for g in groups[s]}
        names = [v.item.name for v in seen[split] if grouping.of[v.item.name] in before]
        if names:
            group = grouping.of[min(names)]
            yield Remark(
                f"{len(names)} of {len(seen[split])} pictures of split {split} are of groups that "
                f"{before[group]} has too, as {min(names)} of {group}: {SCORES}",
                tuple(sorted(names)),
            )


def _of_one_class(views: Sequence[Seen], head: str, classes: Sequence[str]) -> Iterator[Remark]:
    """Label maps that hold a single class, by class."""
    alone: dict[str, list[str]] = defaultdict(list)
    counted = [view for view in views if view.counts]
    for view in counted:
        assert view.counts  # for mypy
        present = np.flatnonzero(view.counts.heads[head][:VOID])
        if len(present) == 1 < len(classes):
            alone[classes[present[0]]].append(view.item.name)
    for name, names in alone.items():
        yield _of(names, len(counted), f"hold `{name}` and no other class")
