"""What is a picture is decided by its content."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.pictures.recognise import FORMATS, is_picture, kind_in, kind_of, unread_kind

PICTURE = Image.fromarray(np.zeros((4, 5), np.uint8))
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_known_by_its_first_bytes_whatever_the_suffix(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.dat"
    PICTURE.save(path, kind)
    assert kind_of(path) == kind
    assert is_picture(path)
    assert unread_kind(path) == ""


@pytest.mark.parametrize("kind", ["JPEG2000", "AVIF", "PPM"])
def test_what_pillow_writes_in_other_formats_is_told_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.xyz"
    PICTURE.save(path, kind)
    assert unread_kind(path) == {"JPEG2000": "JPEG 2000", "AVIF": "AVIF", "PPM": "PNM"}[kind]
    assert not is_picture(path)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (HEIC, "HEIC"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera raw"),
        (b"\xff\x0a", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"BM is how this text begins", ""),
        (b"P5 and P6 are formats", ""),
        (b"name,class\n", ""),
        (b"", ""),
    ],
)
def test_first_bytes_name_the_format_or_nothing(first: bytes, kind: str) -> None:
    assert kind_in(first) == kind


def test_camera_raw_is_not_taken_for_the_tiff_that_it_looks_like(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.nef", "TIFF")
    assert unread_kind(tmp_path / "a.nef") == "camera raw"
    assert not is_picture(tmp_path / "a.nef")


def test_folders_and_missing_files_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        assert (is_picture(path), kind_of(path), unread_kind(path)) == (False, "", "")
