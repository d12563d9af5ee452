from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.predict import model as models
from pixelwise.predict.sources import find
from predictions import predict
from small_model import photo, pixels


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    for name in ("one/a.png", "one/b.png", "two/a.png"):
        photo(tmp_path / "drives" / name, size=(4, 4))
    return tmp_path / "drives"


def listed(path: Path, *lines: object, end: str = "\n") -> str:
    path.write_bytes(end.join(map(str, lines)).encode("utf-8", "surrogateescape"))
    return str(path)


def names(source: str, out: Path) -> list[str]:
    return [job.name for job in find([source], out)[0]]


def test_files_of_a_list_are_named_from_the_folder_that_holds_them_all(
    drives: Path, tmp_path: Path
) -> None:
    files = [drives / "two/a.png", drives / "one/a.png", drives / "one/a.png"]
    source = listed(tmp_path / "list.txt", *files, "", end="\r\n")
    assert names(source, tmp_path / "out") == ["two/a", "one/a"]
    assert names(f"@{source}", tmp_path / "out") == ["two/a", "one/a"]
    listed(tmp_path / "names", drives / "one/b.png")
    assert names(f"@{tmp_path / 'names'}", tmp_path / "out") == ["b"]


def test_relative_names_are_seen_from_here_or_else_from_the_list(
    drives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = listed(drives / "list.txt", "one/b.png", "two")
    monkeypatch.chdir(tmp_path)
    taken = [(drives / "one/b.png", "b"), (drives / "two/a.png", "a")]
    jobs, _ = find([source], tmp_path / "out")
    assert [(job.source.absolute(), job.name) for job in jobs] == taken
    photo(tmp_path / "one/b.png", size=(4, 4))
    jobs, _ = find([source], tmp_path / "out")
    assert jobs[0].source.absolute() == tmp_path / "one/b.png"


def test_standard_input_is_a_list_of_any_names(
    drives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = drives / os.fsdecode(b"one/\xff.png")
    photo(drives / "one/b.png").rename(odd)
    said = f"{odd}\n{drives}/one/a.*\n".encode("utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said)))
    assert names("-", tmp_path / "out") == [os.fsdecode(b"\xff"), "a"]


def test_all_that_is_wrong_with_a_list_is_told_together(drives: Path, tmp_path: Path) -> None:
    long = "x" * 300 + ".png"
    source = listed(tmp_path / "list.txt", drives / "gone.png", drives / "one/a.png", long)
    with pytest.raises(DataError, match="2 problems") as caught:
        find([source], tmp_path / "out")
    said = sorted(map(str, caught.value.problems))
    assert said[0].startswith(f"{drives / 'gone.png'} does not exist")
    assert said[1].startswith("xxx")
    (tmp_path / "empty.txt").write_bytes(b"\n\n")
    (tmp_path / "no.txt").write_bytes(b"PK\0\0")
    for name in ("empty.txt", "no.txt"):
        with pytest.raises(DataError, match="expected names of pictures") as caught:
            find([str(tmp_path / name)], tmp_path / "out")
        assert caught.value.code == "D034"
    with pytest.raises(DataError, match="cannot be read"):
        find(["@nowhere"], tmp_path / "out")


def stack(path: Path, count: int, **options: object) -> Path:
    first, *others = (Image.fromarray(pixels(seed=i)) for i in range(count))
    first.save(path, save_all=True, append_images=others, **options)
    return path


def test_each_page_is_a_picture(model: models.Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stack(tmp_path / "in/scan.tif", 3)
    done = predict(model, tmp_path / "in", tmp_path / "out", "labels")
    assert [Path(r["outputs"][0]).name for r in done.results] == [
        f"scan-p00{i}.png" for i in (1, 2, 3)
    ]
    for i in range(3):
        made = np.asarray(Image.open(tmp_path / f"out/scan-p00{i + 1}.png"))
        assert np.array_equal(made, model.predict(pixels(seed=i)).labels)
    assert predict(model, tmp_path / "in", tmp_path / "out", "labels").skipped == 3


def test_previews_are_no_pages_and_frames_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pages = [Image.fromarray(pixels(seed=i)) for i in range(3)]
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "in/a.tif", save_all=True, append_images=pages[1:])
    stack(tmp_path / "in/b.gif", 2)
    Image.fromarray(pixels()).save(tmp_path / "in/c.tif")
    jobs, _ = find([str(tmp_path / "in")], tmp_path / "out")
    assert [(job.name, job.place) for job in jobs] == [
        ("a-p001", 0),
        ("a-p002", 2),
        ("b-p001", 0),
        ("b-p002", 1),
        ("c", None),
    ]


def test_of_a_stack_that_ends_early_the_whole_pages_are_done(
    model: models.Model, tmp_path: Path
) -> None:
    whole = stack(tmp_path / "s.tif", 3)
    whole.write_bytes(whole.read_bytes()[:-10])
    done = predict(model, whole, tmp_path / "out", "labels")
    assert (done.made, [f["code"] for f in done.failures]) == (2, ["D020"])
    assert f"{whole}: cannot be read" in done.failures[0]["error"]
    assert not (tmp_path / "out/s-p003.png").exists()
