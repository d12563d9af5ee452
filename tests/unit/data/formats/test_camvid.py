"""SegNet's CamVid: its own splits and ours by drive, its void, other classes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from make_data import camvid_set, folder_set
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.sample import Item
from pixelwise.data.splits import heads
from pixelwise.labels import CAMVID_CLASSES


def test_camvid_with_its_splits_and_ours(tmp_path: Path) -> None:
    dataset = open_dataset(camvid_set(tmp_path / "c"))
    names = {s: [i.name for i in items] for s, items in dataset.splits.items()}
    assert dataset.layout == "camvid"
    assert len(names["train"]) == 20
    assert names["test"] == ["0001TP_008550", "Seq05VD_f00000"]
    assert set(names["held"]) == {n for n in names["train"] if n.startswith("0006R0")} | {
        "0001TP_000003",
        "0001TP_000004",
        "0001TP_000005",
    }
    assert set(names["fit"]) | set(names["held"]) == set(names["train"])
    assert not set(names["fit"]) & set(names["held"])
    assert names["heads"] == ["0001TP_000000", "0006R0_f00000", "0016E5_00000"]
    gap = {"0001TP_000001", "0006R0_f00001", "0016E5_00001"}
    assert set(names["most"]) == set(names["train"]) - set(names["heads"]) - gap
    labels = dataset.read(dataset.items("test")[0]).labels
    assert labels[0, :5].tolist() == [255] * 5


def test_frames_that_name_no_drive_have_no_splits_by_drive(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "c", 6, images="train", labels="trainannot")
    assert set(open_dataset(root).splits) == {"train"}


def test_of_a_group_of_one_nothing_is_held_out() -> None:
    items = [Item(n, {"image": Path(n)}, {}, g) for n, g in (("a1", "a"), ("b1", "b"), ("b2", "b"))]
    fit, held = heads(items, 0.08)
    assert [i.name for i in fit] == ["a1", "b2"]
    assert [i.name for i in held] == ["b1"]


def test_camvid_without_lists_or_test(tmp_path: Path) -> None:
    dataset = open_dataset(camvid_set(tmp_path / "c", lists=False, test=False, suffix="webp"))
    assert "test" not in dataset.splits
    assert len(dataset.items("val")) == 2


def test_camvid_test_frames_alone_are_a_data_set(tmp_path: Path) -> None:
    root = camvid_set(tmp_path / "c")
    for part in ("train", "val"):
        shutil.rmtree(root / part)
        shutil.rmtree(root / f"{part}annot")
        (root / f"{part}.txt").unlink()
    dataset = open_dataset(root)
    assert (dataset.layout, list(dataset.splits)) == ("camvid", ["test"])
    assert dataset.evidence.startswith("folders test/ and testannot/")
    assert len(dataset.classes) == 11


def test_the_real_camvid(real_data: Path) -> None:
    """Counts of its README."""
    dataset = open_dataset(real_data / "camvid")
    sizes = {s: len(i) for s, i in dataset.splits.items()}
    assert sizes["train"] == 367
    assert sizes["val"] == 101
    assert sizes["held"] == 101 + 31
    assert sizes["fit"] == 204 + 31
    sample = dataset.read(dataset.items("train")[0])
    assert sample.image.shape == (360, 480, 3)
    assert set(np.unique(sample.labels)) <= {*range(11), 255}


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["a", "b", "c"], 3),
        ([*CAMVID_CLASSES], 11),
        ([*CAMVID_CLASSES, "Void"], 11),
        ([*CAMVID_CLASSES, "animal"], 12),
    ],
)
def test_camvids_folders_may_have_other_classes(
    tmp_path: Path, names: list[str], classes: int
) -> None:
    root = camvid_set(tmp_path / "c")
    (root / "classes.txt").write_text("\n".join(names))
    dataset = open_dataset(root)
    assert dataset.classes == tuple(names[:classes])
    labels = dataset.read(dataset.items("test")[0]).labels
    assert set(labels[0, :5].tolist()) == {255 if classes < 12 else 11}
    (root / "classes.json").write_text('{"classes": ["x", "y", "z"], "ignore": [11]}')
    (root / "classes.txt").unlink()
    assert open_dataset(root).classes == ("x", "y", "z")
