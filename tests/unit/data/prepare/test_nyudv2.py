"""NYUDv2 from a miniature of its .mat file of version 7.3, and from one of FCN's archive."""

from __future__ import annotations

import io
import itertools
import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

import published
from matlab_files import put, save_v73
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.hha import hha as depth_as_hha
from pixelwise.data.inspect import inspect
from pixelwise.data.prepare import nyudv2
from pixelwise.data.prepare.mats import MatFiles
from pixelwise.data.prepare.nyudv2 import millimetres, numbers_to_classes
from pixelwise.data.prepare.source import open_source
from pixelwise.data.prepare.work import prepare
from problems import told

RNG = np.random.default_rng(0)


def blocks(values: np.ndarray) -> np.ndarray:
    return values.repeat(10, 0).repeat(10, 1)


FRAMES = {  # as MATLAB has them: rows, columns, (bands,) frames
    "images": blocks(RNG.integers(0, 256, (48, 64, 3, 3), np.uint8)),
    "depths": blocks(RNG.uniform(0.7, 9.9, (48, 64, 3)).astype(np.float32)),
    "rawDepths": blocks(RNG.choice([0, 0.7, 2.1875], (48, 64, 3)).astype(np.float32)),
    "labels": blocks(RNG.integers(0, 895, (48, 64, 3)).astype(np.uint16)),
}
NAMES = [f"thing {i}" for i in range(1, 895)]
for known, place in nyudv2.NUMBERS.items():
    NAMES[place - 1] = known


@pytest.fixture(autouse=True)
def three_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nyudv2, "RUNS", "t1 s1 v1")


def labelled(folder: Path, **changed: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    variables = {**FRAMES, "names": NAMES, "scenes": ["kitchen_0004", "office_0001", "x"]}
    held = {n: v for n, v in (variables | changed).items() if v is not None}
    return save_v73(folder / "nyu_depth_v2_labeled.mat", held)


def refused(source: Path, out: Path) -> list[str]:
    lines = told(lambda: prepare(nyudv2.RECORD, nyudv2.plan, [source], out))
    assert not out.exists()
    return lines


def png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# -- the facts ------------------------------------------------------------------------------------
def test_the_splits_are_those_of_the_release_and_of_nyu(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    splits = nyudv2.members()
    assert {s: len(names) for s, names in splits.items()} == {
        "train": 381,
        "val": 414,
        "trainval": 795,
        "test": 654,
    }
    lists = real_data / "voc_samples" / "lists" / "fcn_nyud"
    for split in ("train", "val", "test"):
        assert set(splits[split]) == set((lists / f"{split}.txt").read_text().split())
    nyu = loadmat(real_data / "hha" / "meta" / "splits.mat")
    for split, key in (("trainval", "trainNdxs"), ("test", "testNdxs")):
        assert [int(name) - 5000 for name in splits[split]] == nyu[key].ravel().tolist()
    classes = (lists / "classes.txt").read_text().splitlines()
    assert nyudv2.CLASSES.classes == tuple(classes[:40])


def test_the_mapping_is_that_of_gupta(real_data: Path) -> None:
    mapping = loadmat(real_data / "hha" / "meta" / "classMapping40.mat")
    values = numbers_to_classes().values
    assert [values[i] + 1 for i in range(1, 895)] == mapping["mapClass"].ravel().tolist()
    assert values[0] == 255
    assert set(values) == set(range(895))
    words = [str(w[0]) for w in mapping["className"].ravel()]
    assert list(nyudv2.CLASSES.classes) == words
    every = [str(w[0]) for w in mapping["allClassName"].ravel()]
    assert all(every[i - 1] == name for name, i in nyudv2.NUMBERS.items())


def test_all_1449_frames_are_planned_and_none_is_read_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    types = {"images": "u1", "depths": "f4", "rawDepths": "f4", "labels": "u2"}
    with h5py.File(path, "w", userblock_size=512) as f:
        for name, shape in nyudv2.VARIABLES.items():
            whole = (1449, *reversed(shape))
            made = f.create_dataset(name, whole, types[name], chunks=(1, *whole[1:]))
            made.attrs["MATLAB_class"] = np.bytes_("single")
        put(f, f, "names", NAMES, {})
    assert path.stat().st_size < 2_000_000  # of 5.4 GB that it stands for nothing is written
    source = open_source([path], (), tmp_path)
    with MatFiles(tmp_path) as mats:
        plan = nyudv2.plan(source, mats)
        plan.pieces[1448].write(tmp_path / "one")
    assert [p.name for p in plan.pieces[::1448]] == ["5001", "6449"]
    assert published.contents(tmp_path / "one").keys() == {*plan.pieces[1448].files}
    assert (png(tmp_path / "one/labels/6449.png") == 255).all()


# -- the file of the authors ----------------------------------------------------------------------
def test_frames_are_cropped_and_mapped_as_by_the_scripts_of_gupta(tmp_path: Path) -> None:
    labelled(tmp_path / "src")
    out = tmp_path / "out"
    plan = prepare(nyudv2.RECORD, nyudv2.plan, [tmp_path / "src"], out)
    assert plan.splits == {
        "train": ["5001"],
        "val": ["5003"],
        "trainval": ["5001", "5003"],
        "test": ["5002"],
    }
    ids = {name: i for i, name in enumerate(nyudv2.CLASSES.classes)}
    for number, name in enumerate(("5001", "5002", "5003")):
        image, depth = png(out / f"images/{name}.png"), png(out / f"depth/{name}.png")
        raw, labels = png(out / f"rawdepth/{name}.png"), png(out / f"labels/{name}.png")
        assert image.shape == (425, 560, 3)
        assert (depth.dtype, depth.shape) == (np.uint16, (425, 560))
        for row, column in itertools.product((0, 7, 424), (0, 300, 559)):
            # MATLAB counts from 1: the crop's first pixel is (46, 41), the last (470, 600).
            there = 46 + row - 1, 41 + column - 1
            assert (image[row, column] == FRAMES["images"][*there, :, number]).all()
            metres = float(FRAMES["depths"][*there, number])
            assert abs(depth[row, column] - 1000 * metres) <= 0.501
            assert (
                raw[row, column]
                in {0.0: {0}, 0.7: {700}, 2.1875: {2188}}[
                    round(float(FRAMES["rawDepths"][*there, number]), 4)
                ]
            )
            given = int(FRAMES["labels"][*there, number])
            word = NAMES[given - 1]
            kinds = [k for k, listed in nyudv2.OTHERS.items() if given in listed]
            expected = ids[word] if word in ids else ids[(kinds or ["otherprop"])[0]]
            assert labels[row, column] == (expected if given else 255)
        unknown = FRAMES["labels"][45:470, 40:600, number] == 0
        assert unknown.any()
        assert np.array_equal(labels == 255, unknown)
    uses_colour_and_offers_depth(out)


def uses_colour_and_offers_depth(out: Path) -> None:
    dataset = open_dataset(out)
    assert (dataset.inputs, dataset.heads) == (("color",), ("labels",))
    assert len(dataset.classes) == 40
    assert not inspect(dataset).problems
    both = dataset.using(inputs=["color", "depth"])
    (item,) = both.items("test")
    sample = both.read(item)
    assert sample.image.shape == (425, 560, 4)
    assert sample.image.dtype == np.uint16
    made = dataset.using(inputs=["hha"]).image(item)  # which is not stored
    own = depth_as_hha(png(out / f"depth/{item.name}.png"), png(out / f"rawdepth/{item.name}.png"))
    assert np.array_equal(made, own)
    described = json.loads((out / "dataset.json").read_text())
    assert described["inputs"] == {"color": "images", "depth": "depth", "rawdepth": "rawdepth"}


def test_hha_is_that_of_both_depths_as_they_are_stored(tmp_path: Path) -> None:
    path, out = labelled(tmp_path / "src"), tmp_path / "out"
    assert run(["data", "prepare", "nyudv2", str(path), str(out), "--hha"]) == 0
    own = depth_as_hha(png(out / "depth/5002.png"), png(out / "rawdepth/5002.png"))
    assert (png(out / "hha/5002.png") == own).all()
    hha = open_dataset(out).using(inputs=["hha"])
    assert hha.read(hha.items("val")[0]).image.shape == (425, 560, 3)


def test_depth_that_is_missing_everywhere_is_told_with_its_frame(tmp_path: Path) -> None:
    raw = FRAMES["rawDepths"].copy()
    raw[..., 2] = 0
    path = labelled(tmp_path / "src", rawDepths=raw)
    planner = partial(nyudv2.plan, hha=True)
    lines = told(lambda: prepare(nyudv2.RECORD, planner, [path], tmp_path / "out"))
    what = "depth is missing (0) everywhere, expected a depth picture"
    assert lines == [f"D019 {path}: depths[2]: {what}"]


def test_metres_become_millimetres_as_matlab_rounds() -> None:
    metres = np.array([0, 0.0625, 0.3125, 0.1875, 1.25, 65.5345, 70, np.inf, np.nan, -1, 0.0004])
    expected = [0, 63, 313, 188, 1250, 65535, 65535, 65535, 0, 0, 0]  # halves up, not to even
    assert millimetres(metres.astype(np.float32)).tolist() == expected
    # 4.0965 is 4.09649991989 in single precision; times 1000 there 4096.5, and so 4097.
    assert float(np.float32(4.0965)) * 1000 < 4096.49999
    assert millimetres(np.array([4.0965], np.float32)).tolist() == [4097]


# -- what is refused ------------------------------------------------------------------------------
def test_another_file_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    out, place = tmp_path / "out", tmp_path / "src" / "nyu_depth_v2_labeled.mat"
    hint = "nyu_depth_v2_labeled.mat from https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html"
    labelled(tmp_path / "src", labels=None)
    (line,) = refused(tmp_path / "src", out)
    assert line == f"D026 {place}: `labels` is missing, expected shape (480, 640, 3)"
    labelled(tmp_path / "src", depths=FRAMES["depths"][:425, :560])
    (line,) = refused(tmp_path / "src", out)
    assert "`depths` is of shape (425, 560, 3), expected shape (480, 640, 3)" in line
    labelled(tmp_path / "src", **{n: a[..., :2] for n, a in FRAMES.items()})
    assert "`images` is of shape (480, 640, 3, 2), expected" in refused(tmp_path / "src", out)[0]
    labelled(tmp_path / "src", names=[*NAMES[1:], NAMES[0]])
    (line,) = refused(tmp_path / "src", out)
    assert "894 names, in other places wall, floor, cabinet, bed, chair, and 32 more" in line
    place.unlink()
    with pytest.raises(Exception, match=r"there is no nyu_depth_v2_labeled\.mat") as caught:
        prepare(nyudv2.RECORD, nyudv2.plan, [tmp_path / "src"], out)
    assert hint in caught.value.hint  # type: ignore[attr-defined]


def test_a_file_that_is_cut_off_or_packed_is_refused(tmp_path: Path) -> None:
    path = labelled(tmp_path / "src")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (line,) = refused(tmp_path / "src", tmp_path / "out")
    assert line.startswith(f"D026 {path}: it cannot be read (")
    path.unlink()
    packed = published.zipped({path.name: whole}, tmp_path / "src" / "nyu.zip")
    (line,) = refused(tmp_path / "src", tmp_path / "out")
    assert line.startswith(f"D010 {packed}: {path.name}: lies in an archive, expected the file")


def test_a_number_beyond_894_is_told_with_its_frame(tmp_path: Path) -> None:
    labels = FRAMES["labels"].copy()
    labels[50, 44, 1] = 900
    path = labelled(tmp_path / "src", labels=labels)
    (line,) = refused(tmp_path / "src", tmp_path / "out")
    assert line.startswith(f"D012 {path}: labels[1]: value 900 names no class (1 px, first at x=4 ")


def test_a_damaged_frame_is_told_and_a_sound_file_goes_on_from_there(tmp_path: Path) -> None:
    path = labelled(tmp_path / "src")
    storage = {"chunks": (1, 3, 640, 480), "compression": "gzip", "compression_opts": 1}
    with h5py.File(path, "r+") as f:
        del f["images"]
        made = f.create_dataset("images", data=FRAMES["images"].T, **storage)
        made.attrs["MATLAB_class"] = np.bytes_("uint8")
        place = made.id.get_chunk_info(1)
        at = place.byte_offset + place.size // 2
    whole = bytearray(path.read_bytes())
    sound = bytes(whole)
    whole[at : at + 100] = bytes(range(100))
    path.write_bytes(whole)
    (line,) = refused(tmp_path / "src", tmp_path / "out")
    assert line.startswith(f"D026 {path}: it cannot be read (")
    kept = published.contents(tmp_path / ".pixelwise-out.work" / "content")
    assert sorted(n for n in kept if n.startswith("images")) == [
        "images/5001.png",
        "images/5003.png",
    ]
    path.write_bytes(sound)
    prepare(nyudv2.RECORD, nyudv2.plan, [tmp_path / "src"], tmp_path / "out")
    made_there = published.contents(tmp_path / "out")
    assert {n: c for n, c in made_there.items() if n in kept} == kept
    assert (png(tmp_path / "out/images/5002.png") == FRAMES["images"][45:470, 40:600, :, 1]).all()


# -- the archive of FCN's authors -----------------------------------------------------------------
def released(**changed: bytes) -> dict[str, bytes]:
    """Path in nyud.tar.gz to content; labels are stripes of 0 to 40."""
    files = {}
    for name in ("5001", "5002", "5003"):
        rng = np.random.default_rng(int(name))
        for folder in ("images", "hha"):
            pixels = rng.integers(0, 256, (42, 50, 3), np.uint8)
            files[f"nyud/data/{folder}/img_{name}.png"] = published.encoded(
                Image.fromarray(pixels), "PNG"
            )
        depth = Image.fromarray(rng.integers(500, 9999, (42, 50)).astype(np.uint16))
        files[f"nyud/data/depth/img_{name}.png"] = published.encoded(depth, "PNG")
        stripes = np.minimum(np.arange(42), 40)[:, None] * np.ones((1, 50))
        buffer = io.BytesIO()
        savemat(buffer, {"segmentation": stripes.astype(np.uint8)}, do_compression=True)
        files[f"nyud/segmentation/img_{name}.mat"] = buffer.getvalue()
    return files | {f"nyud/{path}": content for path, content in changed.items()}


def test_the_archive_of_fcn_is_kept_to_the_byte_and_its_labels_lose_one(tmp_path: Path) -> None:
    published.tar(released(), tmp_path / "src" / "nyud.tar.gz", "w:gz")
    out = tmp_path / "out"
    prepare(nyudv2.RECORD, nyudv2.plan, [tmp_path / "src"], out)
    files, given = published.contents(out), released()
    for folder, there in {"images": "images", "depth": "depth", "hha": "hha"}.items():
        assert files[f"{folder}/5002.png"] == given[f"nyud/data/{there}/img_5002.png"]
    dataset = open_dataset(out)
    hha = dataset.using(inputs=["hha"])
    (item,) = hha.items("test")
    labels = hha.read(item).labels
    assert labels[:, 0].tolist() == [255, *range(40), 39]  # void is not the 41st class
    both = dataset.using(inputs=["color", "hha"]).read(item)
    assert both.image.shape == (42, 50, 6)
    assert not inspect(dataset).problems


def test_a_member_that_lacks_or_is_of_another_size_is_told(tmp_path: Path) -> None:
    files = released()
    del files["nyud/data/hha/img_5003.png"]
    source = published.unpack(files, tmp_path / "one")  # FCN's archive brings HHA, or has none
    (line,) = refused(source, tmp_path / "out")
    assert line == f"D031 {source}: 1 of 3 frames have no hha file: 5003"
    depth = Image.fromarray(np.ones((42, 51), np.uint16))
    path = "data/depth/img_5002.png"
    files = released(**{path: published.encoded(depth, "PNG")})
    source = published.unpack(files, tmp_path / "two")
    (line,) = refused(source, tmp_path / "out")
    image = source / "nyud/data/images/img_5002.png"
    assert (
        line
        == f"D013 {source}/nyud/{path} is 42x51, {image} is 42x50 (HxW); expected the same size"
    )
    buffer = io.BytesIO()
    savemat(buffer, {"groundTruth": np.ones((42, 50))})
    files = released(**{"segmentation/img_5001.mat": buffer.getvalue()})
    source = published.unpack(files, tmp_path / "three")
    (line,) = refused(source, tmp_path / "out")
    assert "img_5001.mat: holds no `segmentation` (it holds: groundTruth)" in line
