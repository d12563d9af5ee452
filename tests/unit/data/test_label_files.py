"""Label maps in MATLAB files are read as those in pictures are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import published
from make_data import folder_set, picture
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.label_files import read_numbers
from pixelwise.labels import VOC_CLASSES
from problems import told


def with_mats(root: Path, **others: object) -> Path:
    folder_set(root, 4)
    for i in range(4):
        (root / f"labels/p{i}.png").unlink()
        content = {"groundTruth": picture(i)[1].astype(float), "scale": 2.0, **others}
        (root / f"labels/p{i}.mat").write_bytes(published.mat(content))
    return root


def test_a_folder_of_mat_files_is_a_folder_of_label_maps(tmp_path: Path) -> None:
    dataset = open_dataset(with_mats(tmp_path / "d"))
    assert len(dataset.classes) == 3
    for i, item in enumerate(dataset.all_items()):
        assert np.array_equal(dataset.read(item).labels, picture(i)[1])
    assert not inspect(dataset).problems
    dataset = open_dataset(tmp_path / "d", values="0=a,*=b")
    assert np.array_equal(dataset.read(dataset.all_items()[0]).labels, picture(0)[1] > 0)


def test_several_or_no_label_maps_in_a_file_are_refused(tmp_path: Path) -> None:
    root = with_mats(tmp_path / "d", second=np.zeros((40, 48)))
    problem = told(lambda: open_dataset(root))[0]
    assert "`groundTruth` of (40, 48)" in problem
    assert "`second` of (40, 48)" in problem
    assert "expected one label map (H, W)" in problem


@pytest.mark.parametrize("value", [-1.0, 0.5, 70000.0, np.nan])
def test_numbers_that_are_no_classes_are_refused(tmp_path: Path, value: float) -> None:
    numbers = np.zeros((4, 5))
    numbers[1, 2] = value
    (tmp_path / "a.mat").write_bytes(published.mat({"x": numbers}))
    problem = told(lambda: read_numbers(tmp_path / "a.mat"))[0]
    assert problem == (f"D026 {tmp_path}/a.mat: `x` holds other than whole numbers from 0 to 65535")


def test_large_numbers_need_16_bits(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(published.mat({"x": np.array([[0, 300], [1, 2]], np.int32)}))
    numbers = read_numbers(tmp_path / "a.mat")
    assert (numbers.dtype, numbers.tolist()) == (np.uint16, [[0, 300], [1, 2]])


@pytest.mark.parametrize("zipped", [False, True])
def test_sbd_is_read_as_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.setenv("PIXELWISE_HOME", str(tmp_path / "home"))
    names = ["2008_000002", "2008_000008", "2008_000015"]
    files = published.sbd(names[:2], names[2:])
    pack = published.zipped if zipped else published.unpack
    dataset = open_dataset(pack(files, tmp_path / ("sbd.zip" if zipped else "sbd")))
    assert (dataset.layout, dataset.classes) == ("sbd", VOC_CLASSES)
    assert {s: [i.name for i in v] for s, v in dataset.splits.items()} == {
        "train": names[:2],
        "val": names[2:],
    }
    for item in dataset.all_items():
        assert np.array_equal(dataset.read(item).labels, published.sbd_labels(item.name))
