"""Arrays of .mat and HDF5 files as MATLAB has them; whatever a file does to its reader is told."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from matlab_files import save_v73
from pixelwise.data import matfile, matfile_process
from pixelwise.data.matfile import MatReader
from pixelwise.errors import DataError, ResourceError

REAL = Path(os.environ.get("PIXELWISE_TEST_DATA", ""))
real = pytest.mark.skipif(not REAL.name, reason="PIXELWISE_TEST_DATA is not set")
SEGMENTATION = np.arange(12, dtype=np.uint8).reshape(3, 4)
IMAGES = np.arange(5 * 4 * 3 * 2, dtype=np.uint8).reshape(5, 4, 3, 2)  # H, W, C, frames


@pytest.fixture(scope="module")
def mats() -> Iterator[MatReader]:
    with MatReader() as reader:
        yield reader


def v5(path: Path, *, compressed: bool = False) -> Path:
    """A struct as SBD has it, text, and an array of frames."""
    people = np.array([(1.5, "ann"), (2.5, "bo")], [("size", object), ("name", object)])
    fields = {"Segmentation": SEGMENTATION, "Names": np.array(["sky", "sea", ""], object)}
    content = {"GTcls": fields, "images": IMAGES, "kind": "street", "people": people}
    savemat(path, content, do_compression=compressed)
    return path


def v73(path: Path, **storage: object) -> Path:
    fields = {"Segmentation": SEGMENTATION, "Names": ["sky", "sea", ""]}
    content = {"GTcls": fields, "images": IMAGES, "kind": "street", "seen": SEGMENTATION > 5}
    return save_v73(path, content, **storage)


def refusal(mats: MatReader, path: Path, *keys: str) -> str:
    with pytest.raises(DataError) as caught:
        mats.read(path, *keys)
    assert caught.value.code == "D026"
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return str(caught.value).replace(f"{path}: ", "")


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


@real
def test_real_files_equal_what_scipy_reads() -> None:
    folder = REAL / "weights/bvlc_googlenet/caffe_activations"
    paths = [*sorted((REAL / "hha/meta").glob("[cs]*s.mat")), *sorted(folder.glob("9*.mat"))]
    assert len(paths) >= 3
    with MatReader() as mats:
        for path in paths:
            expected = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
            assert set(mats.variables(path)) == set(expected)
            for key, value in expected.items():
                assert np.array_equal(mats.read(path, key)[0], value)
        names, codes = mats.read(REAL / "hha/meta/classMapping40.mat", "className", "mapClass")
    assert names[[0, 1, 39]].tolist() == ["wall", "floor", "otherprop"]
    assert codes.shape == (1, 894)


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
    savemat(buffer, {"x": np.zeros((1 << 12, 10 << 10), np.uint8)}, do_compression=True)
    (tmp_path / "a.mat").write_bytes(buffer.getvalue())  # 42 MB in 41 kB
    with MatReader(memory=170 << 20) as mats:  # the libraries need 140 MB of it
        assert "more memory" in refusal(mats, tmp_path / "a.mat", "x")
        assert mats.read(v5(tmp_path / "b.mat"), "kind")[0].tolist() == ["street"]


# -- what a file does to its reader ---------------------------------------------------------------
STAND_IN = """
import json, os, signal, sys, time
for line in sys.stdin:
    path = json.loads(line)["path"]
    if "segv" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    while "slow" in path:
        time.sleep(1)
    if "noise" in path:
        print("Traceback", flush=True)
    elif "half" in path:
        print('{"arrays": [["|u1", [9]]]}\\n123', end="", flush=True)
        sys.exit(3)
    elif "object" in path:
        print('{"arrays": [["|O", [1]]]}\\n12345678', flush=True)
    else:
        print('{"arrays": []}', flush=True)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader that dies, hangs or babbles, as the file's name says."""
    program = tmp_path / "program.py"
    program.write_text(STAND_IN)
    monkeypatch.setattr(matfile_process, "__file__", str(program))
    for name in ("segv", "slow", "noise", "half", "object", "good"):
        (tmp_path / f"{name}.mat").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("segv", "the process that read it died (SIGSEGV), as damaged files make it"),
        ("half", "the process that read it died (exit code 3)"),
        ("noise", "the process that read it died"),
        ("object", "the process that read it died"),
        ("slow", "not read within 1 s of processor time"),
    ],
)
def test_a_reader_that_dies_is_an_error_of_the_file_and_the_next_is_read(
    stand_in: Path, name: str, said: str
) -> None:
    with MatReader(seconds=1) as mats:
        assert mats.read(stand_in / "good.mat", "x") == ()
        assert said in refusal(mats, stand_in / f"{name}.mat", "x")
        assert mats.read(stand_in / "good.mat", "x") == ()


def test_processor_time_is_limited_for_each_file_and_not_for_all() -> None:
    source = Path(matfile_process.__file__).read_text("utf-8").rpartition("if __name__")[0]
    program = f"""{source}
import resource, time
limit_time(5)
first = resource.getrlimit(resource.RLIMIT_CPU)[0]
while time.process_time() < 1.1: pass
limit_time(5)
assert resource.getrlimit(resource.RLIMIT_CPU)[0] == first + 1
limit_memory(1 << 30)
limit_time(0)
while True: pass
"""
    ended = os.spawnv(os.P_WAIT, sys.executable, ["python", "-c", program])
    assert ended == -signal.SIGXCPU


def test_one_process_serves_many_files_and_threads(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.mat" for i in range(40)]
    for i, path in enumerate(paths):
        savemat(path, {"S": np.full((2, 3), i)})
    with MatReader() as mats:
        mats.read(paths[0], "S")
        first = mats._process
        with ThreadPoolExecutor(4) as pool:
            values = [int(a[0, 0]) for (a,) in pool.map(lambda p: mats.read(p, "S"), paths)]
        assert values == list(range(40))
        assert mats._process is first
        assert first
        first.kill()
        first.wait()
        assert mats.read(paths[3], "S")[0][0, 0] == 3
        second = mats._process
    assert second
    assert second.returncode is not None


def test_ctrl_c_does_not_reach_the_reader(mats: MatReader, tmp_path: Path) -> None:
    path = v5(tmp_path / "a.mat")
    mats.read(path, "kind")
    assert mats._process
    assert os.getpgid(mats._process.pid) != os.getpgid(0)


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matfile, "find_spec", lambda name: None if name == "h5py" else object())
    with pytest.raises(
        ResourceError, match=r"scipy and h5py, which read .mat files, are"
    ) as caught:
        MatReader()
    assert caught.value.code == "R008"
    assert caught.value.hint == 'pip install "pixelwise[data]"'


def damaged_copies(content: bytes, count: int) -> Iterator[bytes]:
    """One bit, or a few, turned over behind the header."""
    rng = np.random.default_rng(0)
    for i in range(count):
        copy = bytearray(content)
        for place in 128 + rng.integers(len(content) - 128, size=1 + i % 3):
            copy[place] ^= 1 << rng.integers(8)
        yield bytes(copy)


def read_or_refused(mats: MatReader, path: Path, content: bytes, *keys: str) -> bool:
    path.write_bytes(content)
    try:
        return all(a.dtype.kind in "biufcU" for a in mats.read(path, *keys))
    except DataError as error:
        if error.code != "D026" or str(path) not in str(error):
            raise
        return False


@pytest.mark.parametrize(
    ("save", "count"),
    [
        (v5, 6),
        (v73, 40),
        pytest.param(v5, 150, marks=pytest.mark.slow),
        pytest.param(v73, 300, marks=pytest.mark.slow),
    ],
)
def test_flipped_bits_are_data_or_a_refusal(
    tmp_path: Path, save: partial[Path], count: int
) -> None:
    content = save(tmp_path / "a.mat").read_bytes()
    start = time.monotonic()
    keys = "GTcls.Segmentation", "GTcls.Names", "images[1]"
    with MatReader(seconds=5) as mats:
        sound = [
            read_or_refused(mats, tmp_path / "b.mat", copy, *keys)
            for copy in damaged_copies(content, count)
        ]
        assert read_or_refused(mats, tmp_path / "b.mat", content, *keys)
    assert not all(sound)
    assert time.monotonic() - start < 10 * count


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hha/meta/classMapping40.mat", "mapClass"),
        ("weights/squeezenet_v1.0/caffe_activations/56_prob.mat", "data"),
        ("hyperspectral/Indian_pines_gt.mat", "y"),
    ],
)
def test_flipped_bits_of_real_files_never_go_unnoticed(tmp_path: Path, name: str, key: str) -> None:
    content = (REAL / name).read_bytes()
    with MatReader(seconds=5) as mats:
        (truth,) = mats.read(REAL / name, key)
        for copy in damaged_copies(content, 100):
            if read_or_refused(mats, tmp_path / "b.mat", copy, key):  # they carry a checksum
                assert np.array_equal(mats.read(tmp_path / "b.mat", key)[0], truth)
