"""Arrays of .mat and HDF5 files as MATLAB has them; whatever a file does to its reader is told."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from golden.make_mat73 import CONTENT
from matlab_files import IMAGES, SEGMENTATION, refusal, save_v73, v5, v73
from pixelwise.errors import DataError
from pixelwise.pictures.matfile import MatReader

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def mats() -> Iterator[MatReader]:
    with MatReader() as reader:
        yield reader


# -- what is read ---------------------------------------------------------------------------------
@pytest.mark.parametrize("save", [v5, partial(v5, compressed=True), v73, partial(v73, chunks=True)])
def test_fields_frames_and_text_are_as_matlab_shows_them(
    mats: MatReader, tmp_path: Path, save: partial[Path]
) -> None:
    path = save(tmp_path / "a.mat")
    keys = "GTcls.Segmentation", "images", "images[1]", "GTcls.Names", "GTcls.Names[1]", "kind"
    segmentation, images, frame, names, name, kind = mats.read(path, *keys)
    assert segmentation.dtype == np.uint8
    assert np.array_equal(segmentation, SEGMENTATION)
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(frame, IMAGES[..., 1])
    assert names.tolist() == ["sky", "sea", ""]
    assert name.tolist() == ["sea"]
    assert kind.tolist() == ["street"]
    shapes = mats.variables(path)
    assert shapes["images"] == IMAGES.shape
    assert set(shapes) >= {"GTcls", "images", "kind"}
    assert "#refs#" not in shapes


def test_an_element_of_an_array_of_structs_is_read(mats: MatReader, tmp_path: Path) -> None:
    size, name = mats.read(v5(tmp_path / "a.mat"), "people[1].size", "people[0].name")
    assert size.item() == 2.5
    assert name.tolist() == ["ann"]


def test_arrays_keep_their_type_and_logical_is_bool(mats: MatReader, tmp_path: Path) -> None:
    of = {t: np.array([[1, 0, 3]], t) for t in ("i1", "<u2", ">i4", "f4", "f8", "u8")}
    save_v73(tmp_path / "a.mat", {f"x{t.strip('<>')}": a for t, a in of.items()})
    for t, array in of.items():
        (value,) = mats.read(tmp_path / "a.mat", f"x{t.strip('<>')}")
        assert value.dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(value, array)
    (seen,) = mats.read(v73(tmp_path / "b.mat"), "seen")
    assert seen.dtype == bool
    assert np.array_equal(seen, SEGMENTATION > 5)
    seen += False  # it is ours to write to


def test_plain_hdf5_keeps_the_order_of_its_axes(mats: MatReader, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["x"] = IMAGES
    whole, row = mats.read(tmp_path / "a.h5", "x", "x[4]")
    assert np.array_equal(whole, IMAGES)
    assert np.array_equal(row, IMAGES[4])
    assert mats.variables(tmp_path / "a.h5") == {"x": IMAGES.shape}


def test_of_a_large_array_one_frame_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as f:
        images = f.create_dataset("images", (400, 3, 480, 640), np.uint8, chunks=(1, 3, 480, 640))
        images.attrs["MATLAB_class"] = np.bytes_("uint8")
        images[7] = np.full((3, 480, 640), 9)
    with MatReader(memory=200 << 20) as mats:  # the whole of it has 369 MB
        (frame,) = mats.read(tmp_path / "a.mat", "images[7]")
        assert frame.shape == (640, 480, 3)
        assert (frame == 9).all()
        said = refusal(mats, tmp_path / "a.mat", "images")
    assert said == "`images` has 368,640,000 bytes, expected at most 52,428,800"


def test_real_files_equal_what_scipy_reads(real_data: Path) -> None:
    folder = real_data / "weights/bvlc_googlenet/caffe_activations"
    paths = [*sorted((real_data / "hha/meta").glob("[cs]*s.mat")), *sorted(folder.glob("9*.mat"))]
    assert len(paths) >= 3
    with MatReader() as mats:
        for path in paths:
            expected = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
            assert set(mats.variables(path)) == set(expected)
            for key, value in expected.items():
                assert np.array_equal(mats.read(path, key)[0], value)
        names, codes = mats.read(real_data / "hha/meta/classMapping40.mat", "className", "mapClass")
    assert names[[0, 1, 39]].tolist() == ["wall", "floor", "otherprop"]
    assert codes.shape == (1, 894)


def test_a_file_of_another_writer_is_read_as_it_was_written(mats: MatReader) -> None:
    shapes = mats.variables(GOLDEN / "mat73.mat")
    for key, value in CONTENT.items():
        name, expected = (
            (f"{key}.Segmentation", value["Segmentation"]) if key == "GTcls" else (key, value)
        )
        (read,) = mats.read(GOLDEN / "mat73.mat", name)
        expected = np.atleast_1d(expected)
        assert read.dtype.kind == ("U" if expected.dtype == object else expected.dtype.kind)
        assert read.tolist() == expected.tolist()
        assert shapes[key] == {"GTcls": (), "names": (1, 3), "scene": (1, 12)}.get(key, read.shape)
    frame, word = mats.read(GOLDEN / "mat73.mat", "images[1]", "names[1]")
    assert np.array_equal(frame, CONTENT["images"][..., 1])
    assert word.tolist() == ["floor mat"]


# -- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize("save", [v5, v73])
def test_a_key_that_is_not_there_is_told_with_those_that_are(
    mats: MatReader, tmp_path: Path, save: partial[Path]
) -> None:
    path = save(tmp_path / "a.mat")
    assert refusal(mats, path, "GTinst.Segmentation").startswith("holds no `GTinst` (it holds: GT")
    assert "holds no `Seg` (it holds: Names, Segmentation)" in refusal(mats, path, "GTcls.Seg")
    assert "`images[2]` is not there (it has 2, counted from 0)" in refusal(mats, path, "images[2]")
    assert "`GTcls.`" in refusal(mats, path, "GTcls.")
    assert "GTcls" in refusal(mats, path, "GTcls")
    assert np.array_equal(mats.read(path, "images")[0], IMAGES)


def test_objects_and_mixed_cells_are_no_arrays(mats: MatReader, tmp_path: Path) -> None:
    cells = np.array([[np.ones(2), "x"]], object)
    savemat(tmp_path / "a.mat", {"c": cells})
    assert "`c` is no array of numbers or text" in refusal(mats, tmp_path / "a.mat", "c")
    save_v73(tmp_path / "b.mat", {"c": [np.ones((1, 2)), "x"]})
    assert "`c` is a cell array" in refusal(mats, tmp_path / "b.mat", "c")
    assert mats.read(tmp_path / "b.mat", "c[0]")[0].tolist() == [[1, 1]]
    assert mats.read(tmp_path / "a.mat", "c[0]")[0].tolist() == [[1, 1]]


def test_data_of_another_file_is_not_followed(mats: MatReader, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345678")
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["x"] = SEGMENTATION
    layout = h5py.VirtualLayout((3, 4), np.uint8)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (3, 4))
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["outer"] = h5py.ExternalLink("other.h5", "x")
        f["inner"] = h5py.SoftLink("/outer")
        f.create_virtual_dataset("virtual", layout)
        f.create_dataset("raw", (8,), np.uint8, external=[(str(secret), 0, 8)])
    for name, reason in {"outer": "a link", "inner": "a link"}.items():
        assert f"`{name}` is {reason}" in refusal(mats, tmp_path / "a.h5", name)
    for name in ("virtual", "raw"):
        assert f"`{name}` lies in another file" in refusal(mats, tmp_path / "a.h5", name)
    assert set(mats.variables(tmp_path / "a.h5")) == {"virtual", "raw"}


def test_what_is_no_such_file_is_refused(mats: MatReader, tmp_path: Path) -> None:
    page = tmp_path / "a.mat"
    page.write_text("<!DOCTYPE html>" * 200)
    assert "it begins with b'<!DOCTYPE html><'" in refusal(mats, page, "S")
    page.write_bytes(b"")
    assert "it is empty" in refusal(mats, page, "S")
    with pytest.raises(DataError, match="does not exist") as caught:
        mats.read(tmp_path / "no.mat", "S")
    assert caught.value.code == "D010"
    with pytest.raises(DataError, match="is no file"):
        mats.read(tmp_path, "S")


@pytest.mark.parametrize("save", [v5, partial(v5, compressed=True), v73])
def test_a_file_that_is_cut_off_is_refused(
    mats: MatReader, tmp_path: Path, save: partial[Path]
) -> None:
    path = save(tmp_path / "a.mat")
    whole = path.read_bytes()
    for share in (0.4, 0.97):
        path.write_bytes(whole[: int(share * len(whole))])
        refusal(mats, path, "people[0].size" if save is not v73 else "seen")
    path.write_bytes(whole)
    assert np.array_equal(mats.read(path, "images")[0], IMAGES)


def test_declared_sizes_cost_nothing(mats: MatReader, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset("x", (1 << 20, 1 << 20), np.uint8, chunks=(64, 64))
    said = refusal(mats, tmp_path / "a.h5", "x")
    assert "`x` has 1,099,511,627,776 bytes, expected at most 536,870,912" in said
    assert mats.read(tmp_path / "a.h5", "x[5]")[0].shape == (1 << 20,)
    savemat(tmp_path / "a.mat", {"x": np.zeros((3, 5))})
    content = bytearray((tmp_path / "a.mat").read_bytes())
    place = content.index(np.array([3, 5], "<i4").tobytes())
    content[place : place + 8] = np.array([1 << 20, 1 << 20], "<i4").tobytes()
    (tmp_path / "a.mat").write_bytes(content)
    refusal(mats, tmp_path / "a.mat", "x")


def test_a_small_file_that_unpacks_to_a_large_one_stops_at_the_limit(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    savemat(buffer, {"x": np.zeros((1 << 12, 14 << 10), np.uint8)}, do_compression=True)
    (tmp_path / "a.mat").write_bytes(buffer.getvalue())  # 59 MB in 57 kB
    with MatReader(memory=240 << 20) as mats:  # the libraries need 140 to 200 MB of it
        assert "more memory" in refusal(mats, tmp_path / "a.mat", "x")
        assert mats.read(v5(tmp_path / "b.mat"), "kind")[0].tolist() == ["street"]
