"""The part of a split that is trained on, and what is counted and warned of before."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from make_data import canonical_set, picture
from pixelwise.data.sample import Item
from pixelwise.data.statistics import ClassCounts, Statistics
from pixelwise.errors import UsageError
from pixelwise.nets.kinds import Kind
from pixelwise.training.recipe import Augmentation, Recipe
from pixelwise.training.run_data import RunData, read_data

CLASSES = {"wall": (128, 0, 0), "floor": (0, 128, 0), "door": (0, 0, 128)}


def read(root: Path, share: float, split: str = "train") -> list[str]:
    recipe = Recipe(data=str(root), share=share, train_split=split, val_split="val")
    return [item.name for item in read_data(recipe).items]


def test_a_share_is_evenly_over_the_split(tmp_path: Path) -> None:
    splits = {"train": [picture(i) for i in range(8)], "val": [picture(20)]}
    canonical_set(tmp_path / "data", splits, CLASSES)
    whole = read(tmp_path / "data", 1)
    assert len(whole) == 8
    assert read(tmp_path / "data", 0.5) == whole[::2]
    assert read(tmp_path / "data", 0.25) == whole[::4]
    assert read(tmp_path / "data", 0.01) == whole[:1]
    counted = read_data(Recipe(data=str(tmp_path / "data"), share=0.25))
    assert len(counted.held_out) == 1
    assert counted.statistics.images == 2
    with pytest.raises(UsageError, match=r"share"):
        read(tmp_path / "data", 1.5)


def test_a_drawn_split_is_kept_whole_beside_a_share(tmp_path: Path) -> None:
    """So that a run that goes on thins out the split that it drew."""
    canonical_set(tmp_path / "data", {"train": [picture(i) for i in range(10)]}, CLASSES)
    for path in (tmp_path / "data" / "splits").iterdir():
        path.unlink()
    made = read_data(Recipe(data=str(tmp_path / "data"), share=0.5))
    drawn = made.facts["splits"]["train"]
    assert [item.name for item in made.items] == drawn[::2][: len(made.items)]
    assert len(made.items) == max(1, round(len(drawn) / 2))


def counted(
    pixels: list[int], *, measured: bool = False, std: float = 50.0, **changes: object
) -> RunData:
    """The data of a run whose first head has so many pixels of each class, in two pictures."""
    counts, names = np.array(pixels), tuple("abcdefgh"[: len(pixels)])
    nothing = np.zeros_like(counts)
    statistics = Statistics(
        2,
        {"labels": ClassCounts(names, counts, nothing, 2 * counts, 0)},
        np.array([10.0, 20.0]),
        np.array([std, std / 2]),
    )
    kind = SimpleNamespace(measured=measured)
    dataset: Any = SimpleNamespace(
        heads=("labels",), class_map=SimpleNamespace(kind=kind), of_head=lambda head: ""
    )
    whole = RunData(
        dataset=dataset,
        read=lambda item: pytest.fail("nothing is read"),
        items=(Item("p0", {}, {}), Item("p1", {}, {})),
        held_out=(),
        example=None,
        inputs={},
        statistics=statistics,
        sizes=((40, 60), (50, 30)),
        facts={},
        not_apart=(),
        contents=frozenset(),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_a_class_is_rare_below_a_quarter_of_an_equal_share() -> None:
    """Of four classes 6.25 %; one that does not occur can be neither shown nor pasted."""
    assert counted([625, 3125, 3125, 3125]).rare == ()
    assert counted([624, 3126, 3125, 3125]).rare == (0,)
    assert counted([9999, 1, 0]).rare == (1,)
    assert counted([0, 0]).rare == ()
    assert counted([9999, 1], measured=True).rare == ()  # numbers are no classes


@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        ({}, 1000),  # 2,000 px in two pictures, one a step
        ({"batch": 3, "accumulate": 5, "devices": 2}, 30_000),
        ({"zoom": 2.0}, 4000),
        ({"zoom": 0.5}, 250),
        ({"crop": (30, 30)}, 900),
        ({"crop": (30, 40)}, 1000),
        ({"crop": (30, 40), "zoom": 2.0}, 1200),
    ],
)
def test_pixels_of_a_step_are_those_that_count_in_its_crops(
    changes: dict[str, Any], pixels: int
) -> None:
    recipe = Recipe(**{"batch": 1, **changes})
    assert counted([1500, 500]).pixels_per_step(recipe) == pixels
    assert counted([0, 0]).pixels_per_step(recipe) == 1
    assert counted([0, 0], items=()).pixels_per_step(recipe) == 1


def test_class_weights_are_those_of_the_counts_and_none_of_none() -> None:
    """Median frequency: pixels by those of all pictures with the class are all one half here."""
    data = counted([1500, 500])
    assert data.class_weights("none") == {}
    assert data.class_weights("median")["labels"].tolist() == [1, 1]
    assert data.class_weights("sqrt")["labels"].shape == (2,)


def warned(data: RunData, **changes: Any) -> list[str]:
    return data.warnings(Recipe(**{"batch": 1, **changes}))


def test_what_will_say_little_or_do_nothing_is_warned_of() -> None:
    data = counted([1500, 500, 0])
    (absent,) = warned(data)
    assert absent.startswith("no pixel of `c` in split train: the net cannot learn")
    data = counted([1500, 1500])
    assert warned(data) == []
    (same,) = warned(data, val_split="train")
    assert "`train`, is also evaluated on" in same
    assert warned(replace(data, not_apart=("one too near",))) == ["one too near"]


@pytest.mark.parametrize(
    ("crop", "changes", "large"),
    [
        ((50, 60), {}, False),  # the largest sides: 50 rows of one, 60 columns of the other
        ((51, 60), {}, True),
        ((50, 61), {}, True),
        ((100, 120), {"zoom": 2.0}, False),
        ((101, 120), {"zoom": 2.0}, True),
        ((75, 90), {"augment": Augmentation(scale=(0.5, 1.5))}, False),
        ((76, 90), {"augment": Augmentation(scale=(0.5, 1.5))}, True),
    ],
)
def test_a_crop_beyond_every_picture_is_warned_of(
    crop: tuple[int, int], changes: dict[str, Any], large: bool
) -> None:
    said = warned(counted([1500, 1500]), crop=crop, **changes)
    assert len(said) == large
    if large:
        factor = {50: 1, 51: 1, 101: 2, 76: 1.5}[crop[0]]
        assert said[0].startswith(
            f"crop {crop[0]}x{crop[1]} is larger than every picture (at most 50x60, "
            f"enlarged {factor:g} times)"
        )


def test_pictures_without_light_and_shade_are_warned_of() -> None:
    """By the band that varies most, and of eight bits alone: of two levels of 255."""
    assert warned(counted([9, 9], std=2.0)) == []
    (flat,) = warned(counted([9, 9], std=1.99))
    assert "(deviation 2 of 255 levels)" in flat
    data = counted([9, 9], std=0.5)
    assert warned(replace(data, statistics=replace(data.statistics, dtype="uint16"))) == []


@pytest.mark.parametrize("name", ["rare", "paste"])
def test_settings_for_rare_classes_are_warned_of_where_there_are_none(name: str) -> None:
    changes = {"crop": (20, 20), "augment": Augmentation(**{name: 0.5})}
    (said,) = warned(counted([9, 9]), **changes)
    assert said == "no class is rare here: augment.rare and augment.paste change nothing"
    assert warned(counted([99, 1]), **changes) == []


def test_numbers_are_put_on_the_scale_of_every_nth_picture(tmp_path: Path) -> None:
    """Of 121 pictures every third is read, and of it every third row and column."""
    seen: list[int] = []
    kind = Kind("numbers")

    def depth(item: Item) -> Any:
        number = int(item.name)
        seen.append(number)
        numbers = np.full((4, 7, 1), 99.0, np.float32)
        numbers[::3, ::3] = np.nan if number % 2 else 2 + 2 * (number % 4 == 0)
        return SimpleNamespace(heads={"depth": numbers})

    maps = {"depth": SimpleNamespace(kind=kind), "labels": SimpleNamespace(kind=Kind())}
    dataset: Any = SimpleNamespace(heads=("depth", "labels"), class_maps=maps)
    items = tuple(Item(str(i), {}, {}) for i in range(121))
    data = counted([9, 9], dataset=dataset, items=items, read=depth)
    (made,) = data.kinds(log=False).values()
    assert seen == [*range(0, 121, 3)]
    # 0, 12, ..., 120 have fours: 11 of the 21 pictures that are not void; the others twos.
    mean = (11 * 4 + 10 * 2) / 21
    assert made.centre == pytest.approx((mean,))
    assert made.spread == pytest.approx((math.sqrt((11 * 16 + 10 * 4) / 21 - mean**2),))
    assert not made.log
    logs = data.kinds(log=True)["depth"]
    assert logs.log
    assert logs.centre == pytest.approx(((11 * math.log(4) + 10 * math.log(2)) / 21,))
    flat = replace(data, items=items[:1]).kinds(log=False)["depth"]
    assert (flat.centre, flat.spread) == ((4,), (1e-6,))


def test_logarithms_of_what_is_not_above_nothing_are_refused() -> None:
    maps = {"depth": SimpleNamespace(kind=Kind("numbers"))}
    dataset: Any = SimpleNamespace(heads=("depth",), class_maps=maps)

    def data(least: float) -> RunData:
        numbers = np.full((1, 1, 1), least, np.float32)
        read = lambda item: SimpleNamespace(heads={"depth": numbers})  # noqa: E731
        return counted([9, 9], dataset=dataset, read=read)

    with pytest.raises(UsageError, match="head `depth` has 0, expected above 0") as caught:
        data(0.0).kinds(log=True)
    assert caught.value.code == "U002"
    assert data(0.5).kinds(log=True)["depth"].log
    assert not data(0.0).kinds(log=False)["depth"].log
