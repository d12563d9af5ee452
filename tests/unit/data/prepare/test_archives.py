"""Archives that are damaged or hostile are refused by name, before they cost anything."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import published
from pixelwise.data.prepare import archives, source
from pixelwise.data.prepare.archives import Entry
from problems import told

FILES = {"a/one.txt": b"1" * 700, "a/b/two.txt": b"2" * 10, "a/empty.txt": b""}


def entries(path: Path) -> dict[str, bytes]:
    found = source.open_source([path], [], path.parent).entries
    return {entry.path: entry.bytes() for entry in found}


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip"])
def test_members_of_every_kind_of_archive(tmp_path: Path, name: str) -> None:
    mode = {"tgz": "w:gz", "gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(name.split(".")[-1], "w")
    path = tmp_path / name
    _ = published.zipped(FILES, path) if "zip" in name else published.tar(FILES, path, mode)
    assert entries(path) == {f"x/{inside}": content for inside, content in FILES.items()}


def test_hidden_files_are_left_out_and_points_in_front_fall_away(tmp_path: Path) -> None:
    path = published.tar({"./d/a.jpg": b"1", "./d/._a.jpg": b"2"}, tmp_path / "x.tar")
    assert entries(path) == {"x/d/a.jpg": b"1"}


def with_member(path: Path, **facts: object) -> Path:
    info = tarfile.TarInfo("a/file")
    for key, value in facts.items():
        setattr(info, key, value)
    with tarfile.open(path, "w") as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    return path


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    made = (
        with_member(tmp_path / "x.tar", name=name),
        published.zipped({name: b"1"}, tmp_path / "x.zip"),
    )
    for path in made:
        what = f"the archive holds a file called `{name}`, which leads out of it"
        assert told(lambda path=path: entries(path)) == [f"D040 {path}: {what}"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_and_devices_are_left_out(tmp_path: Path, kind: bytes) -> None:
    path = with_member(tmp_path / "x.tar", type=kind, linkname="/etc/passwd")
    assert entries(path) == {}


def test_links_in_a_zip_are_left_out(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
        archive.writestr("file", "1")
    assert entries(tmp_path / "x.zip") == {"x/file": b"1"}


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * share)]


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.xz", "x.zip"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path, content = tmp_path / name, {f"a/{i}": os.urandom(900) for i in range(60)}
    mode = {"tgz": "w:gz", "xz": "w:xz"}.get(name.split(".")[-1], "w")
    _ = published.zipped(content, path) if "zip" in name else published.tar(content, path, mode)
    path.write_bytes(cut(share)(path.read_bytes()))
    (line,) = told(lambda: entries(path))
    assert line.startswith(f"D040 {path}: the archive is damaged or cut off (")


def test_a_tar_that_ends_after_a_member_is_refused_too(tmp_path: Path) -> None:
    path = published.tar(FILES, tmp_path / "x.tar")
    with tarfile.open(path) as archive:
        end = archive.getmembers()[-1].offset_data
    path.write_bytes(path.read_bytes()[:end])
    assert told(lambda: entries(path)) == [
        f"D040 {path}: the archive is damaged or cut off (no end mark)"
    ]


def test_a_page_that_was_saved_as_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.tgz"
    path.write_text("<!DOCTYPE html>" + "x" * 2000)
    (line,) = told(lambda: entries(path))
    assert line.startswith(f"D040 {path}: the archive is damaged or cut off (")
    assert "it begins with `<!DOCTYPE html>" in line


def test_a_bomb_is_refused_before_it_is_laid_down(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))  # 1000 to 1
    (line,) = told(lambda: entries(path))
    assert line.startswith(f"D040 {path}: the archive holds more than ")
    assert not list(tmp_path.glob("*.tar"))
    bomb = published.zipped({"zero": bytes(50 << 20)}, tmp_path / "y.zip")
    (line,) = told(lambda: entries(bomb))
    assert line == f"D040 {bomb}: the archive holds `zero` of 52,428,800 bytes, a bomb"


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    """Of pax headers tarfile reads as many bytes as they claim."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2 << 30
    path = tmp_path / "x.tar"
    with path.open("wb") as f:
        f.write(info.tobuf(tarfile.USTAR_FORMAT))
        f.truncate(3 << 30)
    (line,) = told(lambda: entries(path))
    assert "a header of 2,147,483,648 bytes" in line


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size_does_not_lead_back_for_ever(tmp_path: Path, kind: bytes) -> None:
    """CVE-2025-8194; a size in base 256, as GNU tar writes those beyond 8 GiB."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, -512
    path = tmp_path / "x.tar"
    header = info.tobuf(tarfile.GNU_FORMAT)
    whole = published.tar(FILES, tmp_path / "whole.tar").read_bytes()
    path.write_bytes(header + whole)
    (line,) = told(lambda: entries(path))
    assert line.startswith(f"D040 {path}: the archive is damaged or cut off (")


def test_an_archive_of_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MEMBERS", 2)
    path = published.tar(FILES, tmp_path / "x.tar")
    assert told(lambda: entries(path)) == [f"D040 {path}: the archive holds more than 2 files"]


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    path = published.zipped({"a/one": os.urandom(500), "a/two": b"2"}, tmp_path / "x.zip")
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    (line,) = told(lambda: entries(path))
    assert line.startswith(f"D040 {path}: the archive is damaged or cut off (a/one: ")


def test_flipped_bits_are_refused_or_harmless(tmp_path: Path) -> None:
    """Whatever is flipped: an error of ours, or files that are read."""
    path = published.tar(FILES, tmp_path / "x.tar")
    whole, rng = path.read_bytes(), published.np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        with suppress(archives.DataError):
            entries(path)


def test_links_deep_in_a_folder_do_not_lead_out(tmp_path: Path) -> None:
    secret = published.unpack({"secret.txt": b"1", "more/deep.txt": b"2"}, tmp_path / "else")
    home = published.unpack({"a/b/own.txt": b"3", "a/.hidden": b"4"}, tmp_path / "src")
    (home / "a" / "b" / "out.txt").symlink_to(secret / "secret.txt")
    (home / "a" / "b" / "folder").symlink_to(secret)
    (home / "a" / "again").symlink_to(home / "a")
    (home / "a" / "b" / "own2.txt").symlink_to(home / "a" / "b" / "own.txt")
    (home / "top").symlink_to(secret)  # who made the folder made this one
    os.mkfifo(home / "a" / "pipe")
    assert entries(home) == {
        "src/a/b/own.txt": b"3",
        "src/a/b/own2.txt": b"3",
        "src/top/secret.txt": b"1",
        "src/top/more/deep.txt": b"2",
    }


def test_archives_of_other_names_are_left_where_known_ones_are(tmp_path: Path) -> None:
    published.tar({"VOC2012/a": b"1"}, tmp_path / "VOCtrainval.tar")
    (tmp_path / "holiday.zip").write_bytes(b"no zip at all")
    found = source.open_source([tmp_path], ["*voc*"], tmp_path)
    assert [entry.path for entry in found.entries] == ["VOCtrainval/VOC2012/a"]
    assert found.notes == (
        f"{tmp_path / 'holiday.zip'} was not opened: it is not called like an archive of this set",
    )


def test_unpacked_files_go_before_archives(tmp_path: Path) -> None:
    published.tar({"d/a.txt": b"packed", "d/b.txt": b"packed"}, tmp_path / "x.tar")
    published.unpack({"d/a.txt": b"unpacked"}, tmp_path)
    found = source.open_source([tmp_path], [], tmp_path).matching(r"d/([^/]+)\.txt")
    assert {k[0]: e.bytes() for k, e in found.items()} == {"a": b"unpacked", "b": b"packed"}


def named(text: bytes) -> Callable[[], object]:
    entry = Entry("d/list.txt", Path("list.txt"), lambda: text, unpacked=True)
    return lambda: source.listed_names(entry, {"a": 0, "b": 0})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a\nc\n", "`c` is no picture of this data set (1 of 2 lines)"),
        (b"x\ny\n", "`x` is no picture of this data set (2 of 2 lines)"),
        (b"a\n../b\n", ""),
        (b"a\n../..\n", "`..` is no plain name (1 of 2 lines)"),
        (b"a\na\n", "`a` is listed twice"),
        (b"\xff\xfe", "not a readable list of names (invalid start byte)"),
    ],
)
def test_lists_of_another_data_set_are_refused(text: bytes, line: str) -> None:
    if line:
        assert told(named(text)) == [f"D034 list.txt: {line}"]
    else:
        assert named(text)() == ["a", "b"]  # of a path the last part counts


def test_lists_have_a_mark_columns_and_paths_as_they_are_published() -> None:
    assert named(b"\xef\xbb\xbf/SegNet/CamVid/train/a.png /SegNet/annot/a.png\r\nb  1\r\n")() == [
        "a",
        "b",
    ]


def test_a_zip_that_lies_about_its_members_is_refused(tmp_path: Path) -> None:
    """Fuzzing found both: a name of no letters, and room made for what is not there."""
    path = published.zipped({"x.txt": b"one two three" * 9}, tmp_path / "x.zip")
    whole = path.read_bytes()
    place = whole.index(b"PK\x01\x02")  # the list of members (APPNOTE 4.3.12)
    packed = whole[: place + 20] + (1 << 31).to_bytes(4, "little") + whole[place + 24 :]
    path.write_bytes(packed)
    (line,) = told(lambda: entries(path))
    assert "x.txt: 2,147,483,648 packed bytes in it" in line
    unnamed = whole[: place + 46] + b"\0" + whole[place + 47 :]  # what follows a zero is no name
    path.write_bytes(unnamed)
    (line,) = told(lambda: entries(path))
    assert line == f"D040 {path}: the archive holds a file without a name"
