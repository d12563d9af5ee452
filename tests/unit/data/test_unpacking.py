"""A data set in an archive is read as its folder is, unpacked once into a checked place."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import published
from make_data import folder_set
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.labels import VOC_CLASSES


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIXELWISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def packed(root: Path, kind: str, inside: str = "") -> Path:
    """``zip`` or ``gztar`` of a folder, with the folder in it or its content."""
    where = {"root_dir": root.parent, "base_dir": inside} if inside else {"root_dir": root}
    return Path(shutil.make_archive(str(root), kind, **where))


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
@pytest.mark.parametrize("inside", ["", "d"])
def test_an_archive_is_read_as_its_folder(
    tmp_path: Path, home: Path, kind: str, inside: str
) -> None:
    root = folder_set(tmp_path / "d", 5)
    archive = packed(root, kind, inside)
    dataset, plain = open_dataset(archive), open_dataset(root)
    assert dataset.splits.keys() == plain.splits.keys()
    for one, other in zip(dataset.all_items(), plain.all_items(), strict=True):
        assert np.array_equal(dataset.read(one).labels, plain.read(other).labels)
        assert np.array_equal(dataset.image(one), plain.image(other))
    (place,) = (home / "data").iterdir()
    assert place.name.startswith("d-")
    assert dataset.notes[0] == f"{archive} is unpacked in {place}"
    assert not [path for path in place.iterdir() if path.name.startswith(".")]
    before = (place / inside / "images/p0.png").stat().st_mtime_ns
    open_dataset(archive)
    assert (place / inside / "images/p0.png").stat().st_mtime_ns == before  # once
    os.utime(archive, ns=(1, 1))
    open_dataset(archive)
    assert len([*(home / "data").iterdir()]) == 2  # another archive of that name


def test_voc_is_read_from_the_archive_of_its_authors(tmp_path: Path, home: Path) -> None:
    names = ["2007_000032", "2007_000033", "2007_000039"]
    files = published.voc(2012, {"train": names[:2], "val": names[2:]})
    dataset = open_dataset(published.tar(files, tmp_path / "VOCtrainval_11-May-2012.tar"))
    assert (dataset.layout, dataset.classes) == ("voc", VOC_CLASSES)
    assert [i.name for i in dataset.items("val")] == names[2:]
    assert dataset.notes[1] == "the data begins in VOCdevkit/VOC2012/"
    labels = dataset.read(dataset.items("val")[0]).labels
    assert np.array_equal(labels, published.voc_labels(names[2]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.png", "leads out of it"),
        ("/tmp/evil.png", "leads out of it"),
        ("images/p0.png", "`images/p0.png` twice"),
        ("images/x", "a bomb"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_unsafe_archive_leaves_nothing(tmp_path: Path, home: Path, name: str, said: str) -> None:
    archive = packed(folder_set(tmp_path / "d", 3), "zip")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, bytes(20 << 20 if name.endswith("x") else 3))
    with pytest.raises(DataError, match="the archive") as caught:
        open_dataset(archive)
    assert caught.value.code == "D040"
    assert said in str(caught.value)
    assert [*home.rglob("*.png")] == []
    assert not (tmp_path / "evil.png").exists()


def test_a_cut_archive_is_told_as_damaged(tmp_path: Path, home: Path) -> None:
    archive = packed(folder_set(tmp_path / "d", 3), "gztar")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged or cut off"):
        open_dataset(archive)
    assert [*(home / "data").iterdir()] == []


def test_links_in_a_tar_are_left_out(tmp_path: Path, home: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    archive = packed(root, "tar")
    with tarfile.open(archive, "a") as file:
        link = tarfile.TarInfo("images/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        plain = tarfile.TarInfo("images/notes.txt")
        plain.size = 2
        file.addfile(plain, io.BytesIO(b"hi"))
    assert len(open_dataset(archive).all_items()) == 3
    assert [*home.rglob("link.png")] == []
    assert [*home.rglob("notes.txt")] != []


def test_commands_take_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_set(tmp_path / "d", 6)
    archive = packed(root, "zip", "d")
    assert run(["data", "inspect", str(archive), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["layout"], sum(told["splits"].values())) == ("folder", 6)
    guesses = packed(root / "labels", "zip")
    assert run(["score", str(guesses), str(archive), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_iu"] == 1
    assert run(["data", "convert", str(archive), str(tmp_path / "out")]) == 0
    assert len(open_dataset(tmp_path / "out").all_items()) == 6


def test_a_home_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(folder_set(tmp_path / "d", 3), "zip")
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("PIXELWISE_HOME", str(tmp_path / "file"))
    with pytest.raises(PixelwiseError) as caught:
        open_dataset(archive)
    assert caught.value.code == "R002"
