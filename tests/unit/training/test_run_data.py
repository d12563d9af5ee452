"""The part of a split that is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from make_data import canonical_set, picture
from pixelwise.errors import UsageError
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_data import read_data

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
