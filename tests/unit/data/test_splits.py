"""A drawn split is decided picture by picture, so that one more moves no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.data.sample import Item
from pixelwise.data.splits import drawn, once_drawn


def items(count: int, start: int = 0, group: str = "") -> list[Item]:
    names = (f"p{i}" for i in range(start, start + count))
    return [Item(name, {"image": Path(f"{name}.png")}, {}, group) for name in names]


def names(members: tuple[Item, ...]) -> set[str]:
    return {item.name for item in members}


def test_pictures_that_are_added_move_no_other() -> None:
    before = drawn(items(12))
    assert names(before["val"]) == {"p2", "p10"}
    for count in range(13, 60):
        after = drawn(items(count))
        assert names(before["train"]) <= names(after["train"])
        assert names(before["val"]) <= names(after["val"])
        before = after


def test_no_picture_that_was_trained_on_is_held_out_later_however_small_the_set() -> None:
    trained: set[str] = set()
    for count in range(2, 12):
        split = drawn(items(count))
        assert split["val"]
        assert split["train"]
        assert not trained & names(split["val"])
        trained |= names(split["train"])


def test_a_fifth_is_held_out_on_average() -> None:
    held = [len(drawn(items(50, start))["val"]) for start in range(0, 5000, 50)]
    assert sum(held) / 5000 == pytest.approx(0.2, abs=0.02)
    assert max(held) <= 20


def test_what_was_once_drawn_is_an_exact_share_and_stays() -> None:
    fit, held = once_drawn(items(13))
    assert names(held) == {"p2", "p7", "p10"}  # as runs of the first version have it
    assert len(fit) == 10
    assert once_drawn(items(1))[1] == ()


def test_groups_stay_whole() -> None:
    members = [*items(5, 0, "a"), *items(5, 5, "b"), *items(5, 10, "c")]
    for split in (drawn(members), dict(zip(("train", "val"), once_drawn(members), strict=True))):
        assert not {i.group for i in split["train"]} & {i.group for i in split["val"]}
    assert len(drawn(items(6, 0, "a"))["val"]) == 1  # one group alone is parted
