"""Pictures in tars as people pack them, and what of an archive is not read is told."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError
from pixelwise.predict import model
from pixelwise.predict.jobs import carry_out, plan
from pixelwise.predict.sources import find
from predictions import contents
from small_model import photo, save_model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i, name in enumerate(("a.png", "b.png", "deep/c.png")):
        photo(tmp_path / "in" / name, size=(16, 20), seed=i)
    return tmp_path / "in"


def packed(path: Path, folder: Path, arcname: str = ".", mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        tar.add(folder, arcname)
    return path


def test_a_tar_of_what_is_in_a_folder_gives_what_the_folder_gives(
    photos: Path, tmp_path: Path
) -> None:
    trained = model.load(save_model(tmp_path / "net.safetensors"))
    made = []
    for name, source in (("one", photos), ("two", packed(tmp_path / "x.tar", photos))):
        work = plan([str(source)], tmp_path / name, save="labels")
        assert carry_out(work, trained).made == 3
        made.append({n: b for n, b in contents(tmp_path / name).items() if n.endswith(".png")})
    assert made[0] == made[1]
    assert made[0].keys() == {"a.png", "b.png", "deep/c.png"}


def test_a_damaged_tar_in_a_folder_fails_in_its_turn(photos: Path, tmp_path: Path) -> None:
    whole = packed(tmp_path / "set" / "b.tar", photos).read_bytes()
    (tmp_path / "set" / "a.tar").write_bytes(whole[:3000])
    photo(tmp_path / "set" / "a.png", size=(16, 20))
    trained = model.load(save_model(tmp_path / "net.safetensors"))
    work = plan([str(tmp_path / "set")], tmp_path / "out", save="labels")
    done = carry_out(work, trained)
    assert done.made == 4
    (failure,) = done.failures
    assert failure["code"] == "D040"
    assert f"{tmp_path}/set/a.tar: the archive is damaged or cut off" in failure["error"]


def test_files_in_a_tar_are_named_in_lists(photos: Path, tmp_path: Path) -> None:
    tar, listed = packed(tmp_path / "x.tar", photos), tmp_path / "list.txt"
    listed.write_text(f"{tar}/a.png\n{tar}/deep/c.png\n")
    jobs, _ = find([str(listed)], tmp_path / "out")
    assert [job.name for job in jobs] == ["a", "deep/c"]
    assert find([f"{tar}/b.png"], tmp_path / "out")[0][0].source == tar / "b.png"
    with pytest.raises(DataError, match=r"x\.tar holds no such file"):
        find([f"{tar}/d.png"], tmp_path / "out")


def test_links_in_a_tar_are_told(photos: Path, tmp_path: Path) -> None:
    (photos / "s.png").symlink_to("a.png")
    os.link(photos / "a.png", photos / "z.png")  # of two names the second is a link for tar
    jobs, left_out = find([str(packed(tmp_path / "x.tar", photos))], tmp_path / "out")
    assert len(jobs) == 3
    (told,) = left_out
    assert "s.png and 1 more: links or sparse files" in told


def test_a_file_that_was_added_again_is_named(photos: Path, tmp_path: Path) -> None:
    tar = packed(tmp_path / "x.tar", photos / "a.png", "p/a.png")
    packed(tar, photos / "b.png", "p/a.png", "a")
    with pytest.raises(DataError, match=r"x\.tar holds p/a\.png twice") as told:
        find([str(tar)], tmp_path / "out")
    assert told.value.code == "D040"


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "zip"])
def test_archives_that_are_not_read_in_place_are_told(
    photos: Path, tmp_path: Path, ending: str
) -> None:
    archive = packed(photos / f"x.{ending}", photos / "deep", mode="w:gz")
    with pytest.raises(DataError, match="an archive that is not read in place") as told:
        find([str(archive)], tmp_path / "out")
    assert "unpack it" in str(told.value.hint)
    jobs, left_out = find([str(photos)], tmp_path / "out")
    assert len(jobs) == 3
    assert left_out == [f"{archive}: archives, which are read when they are unpacked, or as .tar"]


def test_a_tar_of_samples_as_a_data_set_names_its_folder(photos: Path, tmp_path: Path) -> None:
    tar = packed(tmp_path / "x.tar", photos)
    with pytest.raises(DataError, match="no known layout") as told:
        open_dataset(tar)
    assert told.value.hint == (
        f"if it is a tar of samples, give its folder: pixelwise data inspect {tmp_path}"
    )
    lone = packed(tmp_path / "only" / "x.tar", photos / "a.png", "a.foo.bar.png").parent
    with pytest.raises(DataError, match="no known layout") as told:
        open_dataset(lone)
    assert told.value.hint == "a sample in a tar is a.jpg and its label map a.png or a.labels.png"
