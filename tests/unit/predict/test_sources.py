from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from pixelwise.errors import DataError, UsageError
from pixelwise.folders import MAKER, MANIFEST
from pixelwise.machine.files import write_json
from pixelwise.predict.sources import find
from small_model import photo


def names(sources: list[Path | str], out: Path) -> list[str]:
    return [job.name for job in find([str(s) for s in sources], out)[0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "deep/a.png", "deep/er/a.webp", ".hidden.png", ".trash/x.png"):
        photo(tmp_path / "in" / name, size=(4, 4))
    (tmp_path / "in/notes.txt").write_text("")
    return tmp_path / "in"


def test_folders_keep_their_structure_and_equal_stems_apart(folder: Path, tmp_path: Path) -> None:
    assert names([folder], tmp_path / "out") == ["a", "b", "deep/a", "deep/er/a"]


def test_files_and_globs_are_named_by_stem_and_each_taken_once(
    folder: Path, tmp_path: Path
) -> None:
    assert names([folder / "b.png"], tmp_path / "out") == ["b"]
    assert names([f"{folder}/*.png", folder / "b.png", folder / "a.jpg"], tmp_path) == ["b", "a"]
    assert names([folder], tmp_path) == ["a", "b", "deep/a", "deep/er/a"]  # as with -o .
    assert names([f"{folder}/deep/**/*.webp"], tmp_path / "out") == ["a"]
    odd = photo(tmp_path / "in2/[1] 50%.png", size=(4, 4))  # a name that looks like a pattern
    assert names([odd], tmp_path / "out") == ["[1] 50%"]


@pytest.mark.parametrize("second", ["a.png", "A.jpeg"])
def test_two_pictures_of_one_name_are_refused(folder: Path, tmp_path: Path, second: str) -> None:
    photo(folder / second, size=(4, 4))
    with pytest.raises(DataError, match="would both be written as") as caught:
        find([str(folder)], tmp_path / "out")
    assert caught.value.code == "D030"
    photo(folder / "B.jpg", size=(4, 4))
    with pytest.raises(DataError, match="2 pairs of pictures") as caught:
        find([str(folder)], tmp_path / "out")
    assert len(caught.value.problems) == 2


def test_composed_and_decomposed_letters_are_one_name(tmp_path: Path) -> None:
    photo(tmp_path / "in/\u00fc.png", size=(4, 4))
    photo(tmp_path / "in/u\u0308.png", size=(4, 4))
    with pytest.raises(DataError, match="both"):
        find([str(tmp_path / "in")], tmp_path / "out")


def test_missing_and_empty_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"nothing.png does not exist and matches no picture"):
        find([str(tmp_path / "nothing.png")], tmp_path / "out")
    with pytest.raises(DataError, match=r"empty holds no picture"):
        find([str(tmp_path / "empty")], tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="fifo")
def test_pipes_are_not_waited_for_and_links_not_followed_in_circles(
    folder: Path, tmp_path: Path
) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    assert names([folder], tmp_path / "out") == ["a", "b", "deep/a", "deep/er/a"]
    with pytest.raises(DataError, match="neither a file nor a folder"):
        find([str(folder / "pipe.png")], tmp_path / "out")


@pytest.mark.parametrize("out", ["", "deep", "deep/er"])
def test_an_output_folder_that_holds_inputs_is_refused(folder: Path, out: str) -> None:
    with pytest.raises(UsageError, match="a picture to read; outputs could replace it") as caught:
        find([str(folder)], folder / out)
    assert caught.value.code == "U003"


def test_an_output_folder_that_is_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        find([str(folder)], folder / "notes.txt")


def test_earlier_predictions_are_not_taken_for_pictures(folder: Path) -> None:
    photo(folder / "out/a.png", size=(4, 4))
    write_json(folder / "out" / MANIFEST, {"made_by": MAKER})
    jobs, left_out = find([str(folder)], folder / "out")
    assert [job.name for job in jobs] == ["a", "b", "deep/a", "deep/er/a"]
    assert left_out == [f"{folder / 'out'} holds earlier predictions"]
    with pytest.raises(UsageError, match="a picture to read"):
        find([str(folder / "out/a.png")], folder / "out")


def test_label_maps_beside_their_pictures_are_not_taken_for_pictures(tmp_path: Path) -> None:
    for place in ("train/Images/a", "train/masks/a", "masks/b", "test/images/c"):
        photo(tmp_path / f"{place}.png", size=(4, 4))
    jobs, left_out = find([str(tmp_path)], tmp_path / "out")
    assert [job.name for job in jobs] == ["masks/b", "test/images/c", "train/Images/a"]
    assert left_out == [f"{tmp_path / 'train/masks'} holds label maps or the like"]
    photo(tmp_path / "test/images/c_mask.png", size=(4, 4))
    photo(tmp_path / "test/images/lone_mask.png", size=(4, 4))
    jobs, left_out = find([str(tmp_path / "test")], tmp_path / "out")
    assert [job.name for job in jobs] == ["images/c", "images/lone_mask"]
    mask = tmp_path / "test/images/c_mask.png"
    assert left_out == [f"{mask}: label maps beside their pictures"]
    mask.rename(mask.with_suffix(".jpg"))  # no label map, whatever its name ends in
    jobs, left_out = find([str(tmp_path / "test")], tmp_path / "out")
    assert [job.name for job in jobs] == ["images/c", "images/c_mask", "images/lone_mask"]
    assert left_out == []


def test_names_too_long_for_an_ending_are_cut_and_stay_apart(tmp_path: Path) -> None:
    for last in "12":
        photo(tmp_path / "in" / ("ü" * 120 + last + ".png"), size=(4, 4))
    found = names([tmp_path / "in"], tmp_path / "out")
    assert len(set(found)) == 2
    assert all(len(os.fsencode(name)) <= 200 for name in found)


def test_of_a_data_set_the_pictures_are_taken(tmp_path: Path) -> None:
    made = {
        "canonical": ["images/a", "labels/a", "depth/a", "geometric/a", "holiday/a"],
        "camvid": ["train/a", "trainannot/a", "val/b", "valannot/b", "cannot/c"],
        "voc": ["JPEGImages/a", "SegmentationClass/a", "SegmentationObject/a"],
    }
    for layout, names in made.items():
        for name in names:
            photo(tmp_path / layout / f"{name}.png", size=(4, 4))
    (tmp_path / "canonical/dataset.json").write_text("{}")
    taken = {
        layout: [job.name for job in find([str(tmp_path / layout)], tmp_path / "out")[0]]
        for layout in made
    }
    assert taken == {
        "canonical": ["holiday/a", "images/a"],
        "camvid": ["cannot/c", "train/a", "val/b"],
        "voc": ["JPEGImages/a"],
    }


def test_links_to_nothing_are_told(tmp_path: Path) -> None:
    photo(tmp_path / "in/a.png", size=(4, 4))
    (tmp_path / "in/b.png").symlink_to(tmp_path / "gone.png")
    jobs, left_out = find([str(tmp_path / "in")], tmp_path / "out")
    assert [job.name for job in jobs] == ["a"]
    assert left_out == [f"{tmp_path / 'in/b.png'} is a link to nothing"]


def test_why_a_folder_holds_nothing_is_told(tmp_path: Path) -> None:
    photo(tmp_path / "in/a.png", size=(4, 4))
    write_json(tmp_path / "in" / MANIFEST, {"made_by": MAKER})
    with pytest.raises(DataError, match=r"holds no picture to read; .*holds earlier predictions"):
        find([str(tmp_path / "in")], tmp_path / "out")


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is empty"):
        find([""], tmp_path / "out")


def test_pictures_of_formats_that_are_not_read_are_counted_and_told(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    grey = Image.new("L", (4, 4))
    grey.save(root / "a.jfif", "JPEG")
    grey.save(root / "b", "PNG")
    grey.save(root / "c.jp2")
    (root / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (root / "notes.txt").write_text("no picture")
    jobs, left_out = find([str(root)], tmp_path / "out")
    assert [job.source.name for job in jobs] == ["a.jfif", "b"]
    assert left_out == [f"{root / 'c.jp2'} and 1 more: not read (HEIC, JPEG 2000), convert to PNG"]
    jobs, _ = find([str(root / "*")], tmp_path / "out")
    assert [job.source.name for job in jobs] == ["a.jfif", "b"]
    (root / "a.jfif").unlink()
    (root / "b").unlink()
    with pytest.raises(DataError, match=r"holds no picture to read; .*c\.jp2 and 1 more"):
        find([str(root)], tmp_path / "out")


def test_folders_that_a_description_names_beside_the_pictures_are_left_out(tmp_path: Path) -> None:
    told = {
        "inputs": {"colour": "rgb", "hha": "hha"},
        "heads": {"things": {"folder": "things", "classes": ["a", "b"]}},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(told))
    for folder in ("rgb", "hha", "things"):
        photo(tmp_path / folder / "a.png")
    jobs, left_out = find([str(tmp_path)], tmp_path.parent / "out")
    assert [job.name for job in jobs] == ["rgb/a"]
    assert len(left_out) == 2
    (tmp_path / "dataset.json").write_text("{")
    assert len(find([str(tmp_path)], tmp_path.parent / "out")[0]) == 3


def test_a_folder_of_many_pictures_is_planned_in_two_hundred_bytes_each(tmp_path: Path) -> None:
    many = 20_000
    first = photo(tmp_path / "in" / "IMG_00000000.jpg", size=(4, 4))
    for number in range(1, many):
        os.link(first, first.with_name(f"IMG_{number:08}.jpg"))
    tracemalloc.start()
    try:
        jobs, _ = find([str(tmp_path / "in")], tmp_path / "out")
        kept, peak = (size / many for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert [len(jobs), jobs[0].name, jobs[-1].name] == [many, "IMG_00000000", "IMG_00019999"]
    assert pickle.loads(pickle.dumps(jobs[7])) == jobs[7]  # as processes tell each other
    assert kept < 200
    assert peak < 250
