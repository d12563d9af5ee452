"""Samples in tars, read where they lie."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture
from pixelwise.data.convert import convert
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.errors import DataError
from pixelwise.machine.files import write_json
from pixelwise.pictures.imagefile import file_bytes

SIZE = 12_000  # bytes of a tar: four samples of a picture and its label map


@pytest.fixture
def plain(tmp_path: Path) -> DataSet:
    return open_dataset(convert(open_dataset(folder_set(tmp_path / "set")), tmp_path / "plain"))


@pytest.fixture
def packed(plain: DataSet) -> Path:
    return convert(plain, plain.root.parent / "packed", shards=SIZE)


def png(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def tar(path: Path, files: Mapping[str, bytes | str]) -> Path:
    """As other tools pack it; a text is a link to what it names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, None if isinstance(content, str) else io.BytesIO(content))
    return path


def samples(*numbers: int, end: str = "png") -> dict[str, bytes]:
    """``000.jpg`` beside ``000.png``, as webdataset's users have them, and facts."""
    files = {}
    for number in numbers:
        image, labels = picture(number)
        files[f"{number:03}.jpg"] = png(image, "JPEG")
        files[f"{number:03}.{end}"] = png(labels)
        files[f"{number:03}.json"] = b'{"width": 48}'
    return files


def test_what_is_in_tars_is_read_as_what_is_in_folders(plain: DataSet, packed: Path) -> None:
    tars = sorted((packed / "shards").glob("*.tar"))
    assert len(tars) > 2
    with tarfile.open(tars[0]) as archive:
        assert archive.getnames()[:4] == ["p0.png", "p0.labels.png", "p1.png", "p1.labels.png"]
    dataset = open_dataset(packed)
    assert dataset.evidence == f"dataset.json beside {len(tars)} tars in shards/"
    assert (dataset.layout, dataset.notes) == ("canonical", ())
    assert dataset.fingerprint() == plain.fingerprint()  # so that a run may go on from either
    assert dataset.folders == {packed / "shards"}
    for split in ("train", "val"):
        for mine, theirs in zip(dataset.items(split), plain.items(split), strict=True):
            assert mine.name == theirs.name
            np.testing.assert_array_equal(dataset.read(mine).image, plain.read(theirs).image)
            np.testing.assert_array_equal(dataset.read(mine).labels, plain.read(theirs).labels)
    assert inspect(dataset).as_dict()["sizes"] == inspect(plain).as_dict()["sizes"]
    again = open_dataset(convert(dataset, packed.parent / "again"))
    assert again.fingerprint() == plain.fingerprint()


def test_an_index_is_dalis_and_spares_reading_the_headers(packed: Path, monkeypatch) -> None:
    first = packed / "shards" / "000000.tar"
    lines = first.with_suffix(".idx").read_text().splitlines()
    with tarfile.open(first) as archive:
        members = archive.getmembers()
    assert lines[0] == f"v1.2 {len(members) // 2}"
    two = [(m.name.partition(".")[2], m.offset_data, m.size, m.name) for m in members[:2]]
    assert lines[1] == " ".join(str(word) for file in two for word in file)
    with_index = [item.files for item in open_dataset(packed).all_items()]
    first.with_suffix(".idx").unlink()
    assert [item.files for item in open_dataset(packed).all_items()] == with_index
    monkeypatch.setattr(tarfile, "open", None)
    with pytest.raises(TypeError):
        open_dataset(packed)


def test_tars_are_the_same_bytes_each_time(plain: DataSet, packed: Path) -> None:
    again = convert(plain, packed.parent / "again", shards=SIZE)
    for file in (packed / "shards").iterdir():
        assert file.read_bytes() == (again / "shards" / file.name).read_bytes()


def test_tars_of_webdataset_are_a_data_set(tmp_path: Path) -> None:
    root = tmp_path / "wds"
    tar(root / "street-train-000000.tar", samples(0, 1))
    tar(root / "street-train-000001.tar", samples(2, 3))
    tar(root / "street-val-000000.tar", samples(0, end="seg.png"))
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.evidence) == ("shards", "3 tars of samples")
    names = {split: [item.name for item in items] for split, items in dataset.splits.items()}
    assert names == {"train": [f"train_00{i}" for i in range(4)], "val": ["val_000"]}
    np.testing.assert_array_equal(dataset.read(dataset.items("train")[2]).labels, picture(2)[1])
    assert dataset.notes == ("3 classes concluded from the values 0..2",)
    (root / "street-val-000000.tar").unlink()
    for i, path in enumerate(sorted(root.iterdir())):
        path.rename(root / f"{i}.tar")
    write_json(root / "classes.json", {"classes": ["sky", "grass", "road"]})
    drawn = open_dataset(root)
    assert drawn.drawn
    assert {item.name for item in drawn.all_items()} == {"000", "001", "002", "003"}
    assert drawn.classes == ("sky", "grass", "road")


def test_dots_and_spaces_which_end_a_name_in_a_tar_are_replaced(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "set", count=3)
    for folder in ("images", "labels"):
        (root / folder / "p1.png").rename(root / folder / "p1.rf 2.png")
    packed = open_dataset(convert(open_dataset(root), tmp_path / "packed", shards=SIZE))
    assert [item.name for item in packed.all_items()] == ["p0", "p1_rf_2", "p2"]
    for folder in ("images", "labels"):
        (root / folder / "p2.png").rename(root / folder / "p1_rf_2.png")
    with pytest.raises(DataError, match="would be called `p1_rf_2` in a tar") as told:
        convert(open_dataset(root), tmp_path / "twice", shards=SIZE)
    assert told.value.code == "D030"
    assert not (tmp_path / "twice").exists()


def test_several_inputs_and_heads_keep_their_names(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "set", count=3)
    for i in range(3):
        (root / "depth").mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 48), 900 + i, np.uint16)).save(root / "depth" / f"p{i}.png")
    heads = {"things": {"folder": "labels"}, "far": {"folder": "depth", "classes": ["a"]}}
    heads["far"] |= {"kind": "numbers", "planes": ["metres"], "step": 0.001}
    told = {"classes": ["a", "b", "c"], "inputs": {"colour": "images"}, "heads": heads}
    write_json(root / "dataset.json", told)
    plain = open_dataset(root)
    packed = open_dataset(convert(plain, tmp_path / "packed", shards=SIZE))
    assert (packed.inputs, packed.heads) == (plain.inputs, plain.heads) == (("colour",), (*heads,))
    for mine, theirs in zip(packed.all_items(), plain.all_items(), strict=True):
        for head in heads:
            one, other = packed.read(mine).heads[head], plain.read(theirs).heads[head]
            np.testing.assert_array_equal(one, other)
    assert packed.all_items()[0].labels["far"].files[0].name == "p0.far.png"


def test_samples_without_a_partner_are_told(tmp_path: Path) -> None:
    files = samples(0, 1, 2)
    del files["001.png"]
    tar(tmp_path / "wds" / "train-0.tar", files | {"003.seg.png": files["000.png"]})
    tar(tmp_path / "wds" / "train-1.tar", samples(2))
    with pytest.raises(DataError) as told:
        open_dataset(tmp_path / "wds")
    text = [str(problem) for problem in told.value.problems]
    assert any("001.jpg has no partner, expected a label map 001.labels.png" in t for t in text)
    assert any("share the name `002`" in t for t in text)
    assert any("003.seg.png has no partner" in t for t in text)  # alone it is a picture
    assert len(text) == 3


@pytest.mark.parametrize("index", [True, False])
def test_a_tar_that_is_not_what_it_was_is_refused(packed: Path, index: bool) -> None:
    first = packed / "shards" / "000000.tar"
    if not index:
        first.with_suffix(".idx").unlink()
    item = open_dataset(packed).all_items()[0]
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    why = r"idx does not fit" if index else r"000000\.tar: the archive is damaged or cut off"
    with pytest.raises(DataError, match=why) as told:
        open_dataset(packed)
    assert told.value.code == "D040"
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        others = {m.name: whole[m.offset_data :][: m.size] for m in archive.getmembers()[1:]}
    content = others.pop("p1.png")
    tar(first, {"p1.png": content, "p0.png": content, **others})  # in another order
    if index:
        with pytest.raises(DataError, match=r"its index has p0\.png there is something else"):
            file_bytes(item.image)
    else:
        assert file_bytes(item.image) == content


def test_an_index_that_lies_is_refused(packed: Path) -> None:
    index = packed / "shards" / "000000.idx"
    true = index.read_text()
    for lie, why in (
        ("", "000000.idx begins with no v1.2, expected the index of 000000.tar"),
        (true.replace("v1.2", "v1.1"), "begins with no v1.2"),
        (true.replace("png 512 ", "png -5 "), "does not fit"),
        (true.splitlines()[0], "does not fit"),
        (true.replace("p0.png", "../../etc/passwd"), "leads out of it"),
        (true.replace("p1.", "p0."), "000000.tar holds p0.png twice"),
        (true + "png 1 2\n", "is cut off or garbled"),
    ):
        index.write_text(lie)
        with pytest.raises(DataError, match=why) as told:
            open_dataset(packed).read(open_dataset(packed).all_items()[0])
        assert told.value.code == "D040"
    index.write_text(true.replace("png 512 ", "png 1024 "))
    with pytest.raises(DataError, match="there is something else"):
        file_bytes(packed / "shards" / "000000.tar" / "p0.png")


def test_links_and_names_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(picture(0)[1]))
    files = {f"./{name}": data for name, data in samples(0, 1).items()}  # as of `tar cf x -C f .`
    path = tar(tmp_path / "wds" / "train.tar", {**files, "002.jpg": str(secret), "._000.jpg": b"x"})
    names = {p.name for item in open_dataset(tmp_path / "wds").all_items() for p in item.files}
    assert names == {"000.jpg", "000.png", "001.jpg", "001.png"}
    with pytest.raises(DataError, match=r"train\.tar holds no such file") as told:
        file_bytes(path / "002.jpg")
    assert told.value.code == "D010"
    for name in ("../up.png", "/abs.png", "a/../../b.png"):
        tar(path, {**files, name: files["./000.png"]})
        with pytest.raises(DataError, match="leads out of it"):
            open_dataset(tmp_path / "wds")


@pytest.mark.parametrize("name", ["a" * 120 + ".png", "straße/bäume.png", "b\udcff.png"])
def test_names_that_need_a_header_of_their_own_are_read(tmp_path: Path, name: str) -> None:
    content = png(picture(0)[0])
    path = tar(tmp_path / "x.tar", {"first.png": b"x", name: content, "last.png": b"y"})
    assert file_bytes(path / name) == content


# It leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_what_is_written_and_is_read(packed: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    tars = sorted(map(str, (packed / "shards").glob("*.tar")))
    read = {s["__key__"]: s for s in wds.WebDataset(tars, shardshuffle=False)}
    dataset = open_dataset(packed)
    for item in dataset.all_items():
        assert read[item.name]["png"] == file_bytes(item.image)
        assert read[item.name]["labels.png"] == file_bytes(item.labels["labels"].files[0])
    (tmp_path / "theirs").mkdir()
    with wds.TarWriter(str(tmp_path / "theirs" / "train-000000.tar")) as sink:
        for i in range(3):
            image, labels = picture(i)
            sink.write({"__key__": f"{i:06}", "jpg": image, "png": labels, "json": {"n": i}})
    theirs = open_dataset(tmp_path / "theirs")
    assert len(theirs.items("train")) == 3
