from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from pixelwise.errors import DataError, ResourceError, UsageError
from pixelwise.machine import files
from pixelwise.machine.files import (
    append_line,
    atomic_write,
    refuse_taken,
    remove_leftovers,
    resumed_folder,
    whole_folder,
    write_json,
    write_together,
)


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_bytes_text_and_writers_arrive_and_parents_are_made(tmp_path: Path) -> None:
    assert atomic_write(tmp_path / "a/b/one", b"\x00\xff").read_bytes() == b"\x00\xff"
    assert atomic_write(tmp_path / "two", "tür\n").read_text("utf-8") == "tür\n"
    assert atomic_write(tmp_path / "three", lambda f: f.write(b"x")).read_bytes() == b"x"
    assert names(tmp_path) == {"a", "two", "three"}


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = atomic_write(tmp_path / "a", b"old")

    def fails(f: BinaryIO) -> None:
        f.write(b"new")
        raise DataError("D012", "in the middle")

    with pytest.raises(DataError, match="in the middle"):
        atomic_write(path, fails)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"a"}


def test_files_that_belong_together_are_all_new_or_all_old(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    assert write_together({first: "a", second: b"b"}) == (first, second)

    def fails(f: BinaryIO) -> None:
        f.write(b"new")
        raise DataError("D012", "in the middle")

    with pytest.raises(DataError, match="in the middle"):
        write_together({first: "new", second: fails, tmp_path / "three": "new"})
    assert (first.read_text("utf-8"), second.read_text("utf-8")) == ("a", "b")
    assert names(tmp_path) == {"one", "two"}


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "R001"), (errno.EACCES, "R002")])
def test_errors_of_the_system_have_codes_also_when_wrapped(
    tmp_path: Path, number: int, code: str
) -> None:
    def wrapped(f: BinaryIO) -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            raise RuntimeError("encoder error -2")  # noqa: B904 - as encoders do

    with pytest.raises(ResourceError) as caught:
        atomic_write(tmp_path / "a", wrapped)
    assert caught.value.code == code
    assert names(tmp_path) == set()


def test_an_error_of_ours_in_a_writer_keeps_its_code(tmp_path: Path) -> None:
    def reads_another(f: BinaryIO) -> None:
        try:
            (tmp_path / "missing").read_bytes()
        except OSError as error:
            raise DataError("D010", "missing cannot be read") from error

    with pytest.raises(DataError, match="missing cannot be read"):
        atomic_write(tmp_path / "a", reads_another)
    assert names(tmp_path) == set()


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in ("file/a", "file/deeper/a"):
        with pytest.raises(ResourceError, match="a file stands where a folder is needed") as caught:
            atomic_write(tmp_path / target, b"")
        assert caught.value.code == "R002"


def test_a_folder_at_the_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ResourceError, match=r"R002|cannot be written"):
        atomic_write(tmp_path / "a", b"")
    assert names(tmp_path) == {"a"}


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders")
def test_a_device_at_the_target_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ResourceError, match="no regular file") as caught:
        atomic_write(tmp_path / "pipe", b"1")
    assert caught.value.code == "R002"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(place: Path, *, end: bool) -> None:
        with whole_folder(place) as part:
            atomic_write(part / "deep" / "a", b"a")
            assert not (place / "deep").exists()
            if not end:
                raise KeyboardInterrupt
            atomic_write(part / "b", b"b")

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "new", end=False)
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "there", end=False)
    assert names(tmp_path / "there") == set()
    (tmp_path / "there" / ".pixelwise-dead.part").mkdir()
    (tmp_path / "there" / ".pixelwise-dead.part" / "half").write_text("")
    refuse_taken(tmp_path / "there")
    fill(tmp_path / "there", end=True)
    assert names(tmp_path / "there") == {"deep", "b"}
    assert (tmp_path / "there/deep/a").read_bytes() == b"a"
    for taken, why in ((tmp_path / "there", "not empty"), (tmp_path / "there" / "b", "is a file")):
        with pytest.raises(UsageError, match=why):
            refuse_taken(taken)
    with pytest.raises(ResourceError, match="a file stands where a folder is needed"):
        fill(tmp_path / "there" / "b" / "c", end=True)


def test_a_new_folder_appears_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon the process dies after the first of its renames."""
    renamed = []
    original = Path.rename
    monkeypatch.setattr(Path, "rename", lambda p, to: (renamed.append(to), original(p, to))[1])
    (tmp_path / "in" / ".pixelwise-dead.part").mkdir(parents=True)
    place = tmp_path / "in" / "new"
    with whole_folder(place) as part:
        (part / "a").mkdir()
        (part / "b").mkdir()
        assert not place.exists()
    assert renamed == [place]
    assert names(place) == {"a", "b"}
    assert names(tmp_path / "in") == {"new"}


def test_work_on_a_folder_goes_on_where_it_failed(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fail() -> None:
        with resumed_folder(out, "key") as work:
            (work / "content" / "first").write_text("1")
            (work / "content" / f"{files.PREFIX}1.tmp").write_text("what a killed process leaves")
            (work / "aside").write_text("2")
            raise DataError("D012", "in the middle")

    with pytest.raises(DataError, match="in the middle"):
        fail()
    assert not out.exists()
    with resumed_folder(out, "key") as work:
        assert names(work) == {"key", "content", "aside"}
        assert names(work / "content") == {"first"}
        (work / "content" / "second").write_text("3")
    assert names(tmp_path) == {"out"}
    assert names(out) == {"first", "second"}


def test_work_under_another_key_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def fail() -> None:
        with resumed_folder(out, "one") as work:
            (work / "content" / "stale").mkdir()
            raise DataError("D012", "in the middle")

    with pytest.raises(DataError, match="in the middle"):
        fail()
    refuse_taken(out)  # what is kept is hidden
    with resumed_folder(out, "two") as work:
        assert not names(work / "content")
        (work / "content" / "new").mkdir()
        with pytest.raises(ResourceError, match="is being written by another process") as taken:
            resumed_folder(out, "two").__enter__()
    assert taken.value.code == "R007"
    assert names(out) == {"new"}


def test_a_folder_that_is_being_filled_is_taken(tmp_path: Path) -> None:
    refuse_taken(tmp_path)
    with whole_folder(tmp_path) as part:
        atomic_write(part / "a", b"a")
        with pytest.raises(UsageError, match="not empty"):
            refuse_taken(tmp_path)
        with whole_folder(tmp_path) as other:
            atomic_write(other / "b", b"b")
        assert (part / "a").read_bytes() == b"a"
    assert names(tmp_path) == {"a", "b"}


def test_names_may_take_all_the_length_there_is(tmp_path: Path) -> None:
    assert atomic_write(tmp_path / ("n" * 255), b"1").read_bytes() == b"1"


@pytest.mark.skipif(os.name == "nt", reason="modes")
def test_the_mode_is_what_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        mode = atomic_write(tmp_path / "a", b"").stat().st_mode
    finally:
        os.umask(before)
    assert stat.S_IMODE(mode) == 0o644


def test_file_then_name_then_folder_are_made_lasting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        seen.append(kind)
        sync(handle)

    def noted_replace(self: Path, target: Path) -> Path:
        seen.append("rename")
        return replace(self, target)

    monkeypatch.setattr(files.os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    atomic_write(tmp_path / "a", b"x")
    assert seen == ["file", "rename", "folder"]


def test_a_line_after_one_that_a_crash_cut_short_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_line(file, "whole")
    with file.open("a") as f:
        f.write("cut sho")
    append_line(file, "next")
    append_line(file, "last")
    assert file.read_text() == "whole\ncut sho\nnext\nlast\n"


def test_half_surrogates_of_file_names_stay_readable_json(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"name": "tür\udcff"})
    assert json.loads(path.read_text("utf-8")) == {"name": "tür\udcff"}
    assert "tür" in path.read_text("utf-8")


WRITER = """
import sys, time
from pathlib import Path
from pixelwise.machine.files import atomic_write
def slow(f):
    f.write(b"half"); f.flush(); print("ready", flush=True); sys.stdin.read(1); f.write(b" whole")
atomic_write(Path(sys.argv[1]), slow)
"""


def writing(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process: subprocess.Popen[bytes]) -> int:
    with process:
        process.communicate(b"\n", timeout=30)
    return process.returncode


def test_what_a_killed_process_left_is_removed_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".notes.tmp").write_bytes(b"yours")
    process = writing(tmp_path / "a")
    process.kill()
    finish(process)
    assert len(names(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {".notes.tmp"}


def test_what_a_living_process_writes_is_not_removed(tmp_path: Path) -> None:
    process = writing(tmp_path / "a")
    began = time.monotonic()
    remove_leftovers(tmp_path)
    assert time.monotonic() - began < 5  # it does not wait for the lock
    assert finish(process) == 0
    assert (tmp_path / "a").read_bytes() == b"half whole"
    assert names(tmp_path) == {"a"}
