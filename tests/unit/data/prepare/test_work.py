"""A data set is prepared whole or not at all; what is done is kept for the next run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import published
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.prepare import archives, voc, work
from pixelwise.data.prepare.work import prepare
from pixelwise.errors import Stopped
from pixelwise.machine.files import resumed_folder, write_error
from problems import told

NAMES = [f"2008_{i:06d}" for i in range(12)]
HOME = "VOCdevkit/VOC2012"


def archive(folder: Path, **changed: bytes) -> Path:
    files = published.voc(2012, {"train": NAMES[:8], "val": NAMES[8:]})
    for path, content in changed.items():
        files[f"{HOME}/{path}"] = content
    return published.tar(files, folder / "VOCtrainval_11-May-2012.tar")


def test_a_broken_file_is_told_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, labels = f"JPEGImages/{NAMES[3]}.jpg", f"SegmentationClass/{NAMES[5]}.png"
    whole = published.unpack(
        published.voc(2012, {"train": NAMES[:8], "val": NAMES[8:]}), tmp_path / "src"
    )
    right = {p: (whole / HOME / p).read_bytes() for p in (picture, labels)}
    (whole / HOME / picture).write_bytes(right[picture][:300])
    (whole / HOME / labels).write_bytes(published.label_png(published.voc_labels("x", (30, 41))))
    out = tmp_path / "out"
    lines = told(lambda: prepare(voc.RECORD, voc.plan, [whole], out))
    assert lines[0] == (
        f"D013 {whole / HOME}/JPEGImages/{NAMES[5]}.jpg is 30x40, its label map is 30x41 (HxW); "
        "expected the same size"
    )
    assert lines[1].startswith(f"D020 {whole / HOME / picture}: cannot be read (")
    assert not out.exists()
    kept = published.contents(tmp_path / ".pixelwise-out.work" / "content")
    assert len([n for n in kept if n.startswith("images/")]) == 10
    for path, content in right.items():
        (whole / HOME / path).write_bytes(content)
    read: list[str] = []
    own = archives.Entry.bytes
    monkeypatch.setattr(archives.Entry, "bytes", lambda e: read.append(e.path) or own(e))
    prepare(voc.RECORD, voc.plan, [whole], out)
    again = {Path(path).stem for path in read if not path.endswith(".txt")}
    assert again == {NAMES[3], NAMES[5]}  # and nothing that was done
    assert len(open_dataset(out).all_items()) == 12
    assert not list(tmp_path.glob(".pixelwise-*"))


def test_what_was_laid_down_of_a_compressed_tar_is_not_laid_down_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = published.voc(2012, {"train": NAMES[:8], "val": NAMES[8:]})
    source = published.tar(files, tmp_path / "voc.tar.gz", "w:gz")
    with monkeypatch.context() as broken:
        broken.setattr(work, "write_description", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(voc.RECORD, voc.plan, [source], tmp_path / "out")
    monkeypatch.setattr(
        archives, "OPENERS", dict.fromkeys(archives.OPENERS)
    )  # to be called by none
    prepare(voc.RECORD, voc.plan, [source], tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "voc.tar.gz"]
    found = {p.name for p in (tmp_path / "out").iterdir()}
    assert found == {"dataset.json", "images", "labels", "splits"}


def test_killed_again_and_again_the_result_is_that_of_one_run(tmp_path: Path) -> None:
    source = archive(tmp_path / "src").parent
    prepare(voc.RECORD, voc.plan, [source], tmp_path / "one")
    out = tmp_path / "out"
    slow = (  # every write waits, so that a kill finds the work half done
        "import sys, time; from pixelwise.machine import files; from pixelwise.data.prepare import "
        "work; own = work.atomic_write\n"
        "def late(*a): time.sleep(0.05); return own(*a)\n"
        "work.atomic_write = late; from pixelwise.cli.app import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", slow, "data", "prepare", "voc", str(source), str(out)]
    kills = 0
    for _ in range(20):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        content = tmp_path / ".pixelwise-out.work" / "content"
        before = len(list(content.rglob("*.jpg")))
        while process.poll() is None and len(list(content.rglob("*.jpg"))) < before + 5:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        assert not out.exists()
    assert process.returncode == 0
    assert kills >= 2
    assert published.contents(out) == published.contents(tmp_path / "one")
    assert not list(tmp_path.glob(".pixelwise-*"))


def test_a_signal_ends_it_after_what_is_begun(tmp_path: Path) -> None:
    source = archive(tmp_path / "src").parent
    seen = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None: ...

        def __call__(self, steps: int) -> None:
            seen.append(steps)
            if len(seen) == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(
        Stopped, match=r"stopped after \d of 12 pictures, which are kept"
    ) as stopped:
        prepare(voc.RECORD, voc.plan, [source], tmp_path / "out", progress=lambda *_: Bar())
    assert stopped.value.exit_code == 143
    prepare(voc.RECORD, voc.plan, [source], tmp_path / "out")
    assert len(open_dataset(tmp_path / "out").all_items()) == 12


def test_a_full_disk_ends_it_at_once_and_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out, tried = archive(tmp_path / "src"), tmp_path / "out", []
    own = work.atomic_write

    def full(path: Path, content: bytes) -> Path:
        tried.append(path)
        if len(tried) > 6:
            raise write_error(path, OSError(errno.ENOSPC, "No space left on device"))
        return own(path, content)

    with monkeypatch.context() as small:
        small.setattr(work, "atomic_write", full)
        (line,) = told(lambda: prepare(voc.RECORD, voc.plan, [source], out))
    assert line.startswith("R001 ")
    assert len(tried) <= 8  # of 24, by two threads
    assert len(list(tmp_path.rglob("content/labels/*.png"))) >= 3
    prepare(voc.RECORD, voc.plan, [source], out)
    assert len(open_dataset(out).all_items()) == 12


def test_another_archive_begins_anew(tmp_path: Path) -> None:
    source = archive(tmp_path / "src", **{f"JPEGImages/{NAMES[0]}.jpg": b"no picture"})
    out = tmp_path / "out"
    (line,) = told(lambda: prepare(voc.RECORD, voc.plan, [source], out))
    inside = f"VOCdevkit/VOC2012/JPEGImages/{NAMES[0]}.jpg"
    assert line.startswith(f"D020 {source}: {inside}: cannot be read (")
    kept = tmp_path / ".pixelwise-out.work" / "content" / "images"
    stale = kept / f"{NAMES[1]}.jpg"
    stale.write_bytes(b"of the archive before")
    archive(tmp_path / "src")
    prepare(voc.RECORD, voc.plan, [source], out)
    assert (out / "images" / stale.name).read_bytes() == published.photo(NAMES[1])


def test_two_processes_do_not_prepare_one_folder(tmp_path: Path) -> None:
    source, out = archive(tmp_path / "src"), tmp_path / "out"
    with resumed_folder(out, "key"):
        lines = told(lambda: prepare(voc.RECORD, voc.plan, [source], out))
        assert lines == [f"R007 {out} is being written by another process"]
        (out.parent / ".pixelwise-out.work" / "content" / "x").touch()
    assert [p.name for p in out.iterdir()] == ["x"]
    assert told(lambda: prepare(voc.RECORD, voc.plan, [source], out)) == [
        f"U003 {out} is not empty"
    ]


def test_an_empty_folder_that_is_there_is_filled(tmp_path: Path) -> None:
    source, out = archive(tmp_path / "src"), tmp_path / "out"
    out.mkdir()
    prepare(voc.RECORD, voc.plan, [source], out)
    names = {"dataset.json", "images", "labels", "splits"}
    assert {p.name for p in out.iterdir()} == names


def test_what_is_missing_is_told_with_where_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = published.tar({"holiday/a.jpg": b"1"}, tmp_path / "src" / "photos.tar").parent
    assert run(["data", "prepare", "voc", str(source), str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err == (
        f"error D010: {source}: there is no JPEGImages/*.jpg (it holds: photos/holiday/a.jpg), "
        "expected VOCtrainval_11-May-2012.tar or what is in it (VOC2012/ with JPEGImages/, "
        "SegmentationClass/, ImageSets/)\n"
        "hint: get VOCtrainval_11-May-2012.tar from "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and put it into "
        f"{source}, as it is or unpacked\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("gone", "line"),
    [
        ("ImageSets", "there is no VOC2012/ImageSets/Segmentation/*.txt"),
        ("SegmentationClass", "there is no VOC2012/SegmentationClass/*.png"),
    ],
)
def test_a_missing_member_is_named(tmp_path: Path, gone: str, line: str) -> None:
    files = published.voc(2012, {"train": NAMES[:8], "val": NAMES[8:]})
    left = {n: c for n, c in files.items() if f"/{gone}/" not in n}
    source = published.tar(left, tmp_path / "voc.tar")
    (found,) = told(lambda: prepare(voc.RECORD, voc.plan, [source], tmp_path / "out"))
    assert found.startswith(f"D010 {source}: {line}, expected VOCtrainval_11-May-2012.tar")


def test_a_list_of_another_data_set_is_refused(tmp_path: Path) -> None:
    source = archive(tmp_path / "src", **{"ImageSets/Segmentation/val.txt": b"5001\n5002\n"})
    lines = told(lambda: prepare(voc.RECORD, voc.plan, [source], tmp_path / "out"))
    what = "`5001` is no picture of this data set (2 of 2 lines)"
    assert lines == [f"D034 {source}: {HOME}/ImageSets/Segmentation/val.txt: {what}"]


def test_values_of_other_classes_are_refused(tmp_path: Path) -> None:
    labels = published.voc_labels("x")
    labels[0, 2] = 77
    png = published.label_png(labels)
    source = archive(tmp_path / "src", **{f"SegmentationClass/{NAMES[0]}.png": png})
    (line,) = told(lambda: prepare(voc.RECORD, voc.plan, [source], tmp_path / "out"))
    assert "value 77 names no class (1 px, first at x=2 y=0; expected 0..20, 255)" in line


def test_pictures_without_label_maps_are_listed(tmp_path: Path) -> None:
    files = published.voc(2012, {"train": NAMES[:8], "val": NAMES[8:]})
    for name in NAMES[6:9]:
        del files[f"{HOME}/SegmentationClass/{name}.png"]
    source = published.tar(files, tmp_path / "voc.tar")
    assert told(lambda: prepare(voc.RECORD, voc.plan, [source], tmp_path / "out")) == [
        f"D031 1 of 4 pictures of val.txt have no label map: {NAMES[8]}",
        f"D031 2 of 8 pictures of train.txt have no label map: {NAMES[6]}, {NAMES[7]}",
        f"D031 3 of 12 pictures of trainval.txt have no label map: {', '.join(NAMES[6:9])}",
    ]


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = archive(tmp_path / "src"), tmp_path / "out"
    assert run(["data", "prepare", "voc", str(source), str(out)]) == 0
    told_there = capsys.readouterr().err
    assert f"wrote 12 pictures to {out}: train 8, val 4, trainval 12" in told_there
    assert "note: no splits seg11valid and trainaug: they need SBD beside it" in told_there
