"""MATLAB files as pictures: which of their arrays is meant, wherever a picture is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import small_runs
from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.listing import pictures
from pixelwise.errors import DataError
from pixelwise.pictures.reading import read
from pixelwise.predict.model import load

savemat = pytest.importorskip("scipy.io").savemat
pytest.importorskip("h5py")

CUBE = np.random.default_rng(0).integers(200, 9000, (20, 24, 12), np.uint16)
CUBE[:, 12:, ::3] += 20_000
RGB = np.random.default_rng(1).integers(0, 256, (40, 48, 3), np.uint8)
TRUTH = np.repeat([[1, 2]], 12, 1).repeat(20, 0).astype(np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scene.mat"
    savemat(path, {"cube": CUBE, "photo": RGB, "truth": TRUTH, "note": "by hand"})
    return path


def test_the_array_is_the_only_one_or_the_one_of_so_many_bands(file: Path, tmp_path: Path) -> None:
    assert np.array_equal(read(file, bands=12, values="stored"), CUBE)
    assert np.array_equal(read(file.read_bytes(), bands=12, values="stored"), CUBE)
    assert np.array_equal(read(file, bands=3), RGB)
    with pytest.raises(
        DataError, match=r"scene.mat: holds `cube` of \(20, 24, 12\), .*`photo`"
    ) as e:
        read(file, bands=5, values="stored")
    assert e.value.code == "D025"
    assert '"variable": "cube"' in e.value.hint
    savemat(tmp_path / "alone.mat", {"a": CUBE.astype(float), "map": TRUTH})
    alone = read(tmp_path / "alone.mat", bands=5, values="stored")
    assert (alone.dtype, alone.shape) == (np.float32, CUBE.shape)
    savemat(tmp_path / "grey.mat", {"a": TRUTH, "size": [[3, 4, 5]]})
    assert np.array_equal(read(tmp_path / "grey.mat", values="stored"), TRUTH[..., None])
    savemat(tmp_path / "none.mat", {"a": "text"})
    with pytest.raises(DataError, match=r"none.mat: holds `a` of .*, expected one array") as e:
        read(tmp_path / "none.mat")
    assert e.value.code == "D018"


def test_a_damaged_file_is_refused_by_its_name_and_bytes_as_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "broken.mat"
    savemat(path, {"cube": CUBE}, do_compression=True)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"broken.mat: ") as e:
        read(path, bands=12, values="stored")
    assert e.value.code == "D026"
    with pytest.raises(DataError, match=r"^the picture: "):
        read(path.read_bytes(), bands=12, values="stored")


def test_a_mat_file_beside_pictures_is_no_picture(file: Path) -> None:
    assert pictures(file.parent) == [file]
    Image.fromarray(RGB).save(file.parent / "photo.png")
    assert [p.name for p in pictures(file.parent)] == ["photo.png"]


def test_a_set_of_mat_files_is_trained_on_converted_and_predicted(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cubes and label maps as hyperspectral sets come; which array is meant is said once."""
    root = tmp_path / "set"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    (root / "images/scene.mat").write_bytes(file.read_bytes())
    savemat(root / "labels/scene.mat", {"gt": TRUTH})
    told = {"classes": {"1": "left", "2": "right"}, "values": "stored"}
    (root / "dataset.json").write_text(json.dumps(told))
    assert run(["data", "inspect", str(root)]) == 3
    assert "scene.mat: holds `cube` of (20, 24, 12)" in capsys.readouterr().err
    before = open_dataset(root).fingerprint()
    (root / "dataset.json").write_text(json.dumps(told | {"variable": "cube"}))
    dataset = open_dataset(root)
    assert dataset.fingerprint() != before
    sample = dataset.read(dataset.all_items()[0])
    assert np.array_equal(sample.image, CUBE)
    assert np.array_equal(sample.labels, TRUTH - 1)
    again = open_dataset(convert(dataset, tmp_path / "again"))
    assert np.array_equal(again.read(again.all_items()[0]).image, CUBE)
    assert run(["data", "split", str(root), "--gap", "0"]) == 0
    settings = "net=fcn-spectral width=0.0625 iterations=1 batch=1 threads=1"
    assert small_runs.train(root, tmp_path / "run", settings) == 0
    labels = load(tmp_path / "run").predict(CUBE).labels
    out = tmp_path / "out"
    for options in ([], ["--max-memory", "8GiB", "--force"]):
        assert run(["predict", str(tmp_path / "run"), str(file), "-o", str(out), *options]) == 0
        assert np.array_equal(np.asarray(Image.open(out / "scene.png")), labels)
