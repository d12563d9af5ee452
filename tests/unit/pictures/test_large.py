"""Parts of large pictures are those of the whole; label maps by strips are those at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.errors import DataError, ResourceError
from pixelwise.pictures.images import palette_in, read_labels, text_in
from pixelwise.pictures.large import LargePicture, open_large, write_png, write_tiff
from pixelwise.pictures.reading import Values, read

tifffile = pytest.importorskip("tifffile")
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (300, 517, 3), np.uint8)
PALETTE = np.array([[0, 0, 0], [1, 2, 3], [200, 0, 0], [0, 200, 0], [0, 0, 99]], np.uint8)


def opened(path: Path, values: Values = "8-bit", place: int | None = None) -> LargePicture:
    return open_large(path, place, values, path.parent / "decoded")


@pytest.mark.parametrize(
    "how",
    [
        {"tile": (64, 128)},
        {"rowsperstrip": 7},
        {"tile": (64, 64), "compression": "zlib", "predictor": True},
        {"planarconfig": "separate", "rowsperstrip": 16},
        {"bigtiff": True, "byteorder": ">"},
    ],
)
def test_a_tiff_is_read_from_the_disk_in_parts(tmp_path: Path, how: dict[str, Any]) -> None:
    stored = RGB if "planarconfig" not in how else np.moveaxis(RGB, 2, 0).copy()
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **how)
    picture = opened(tmp_path / "a.tif")
    assert picture.size == (300, 517)
    assert isinstance(picture.stored, np.memmap)
    assert (picture.part(slice(5, 130), slice(60, 400)) == RGB[5:130, 60:400]).all()
    assert (picture.part(slice(290, 300), slice(None)) == RGB[290:]).all()
    assert not [*tmp_path.glob("decoded/*")]  # mapped without a name, which no killed run leaves


@pytest.mark.parametrize("values", ["8-bit", "stored"])
@pytest.mark.parametrize("kind", ["grey16", "rgb16", "alpha", "white", "palette", "turned"])
def test_other_numbers_are_those_that_reading_gives(
    tmp_path: Path, kind: str, values: Values
) -> None:
    path, deep = tmp_path / "a.tif", RNG.integers(0, 65536, (40, 30, 3), np.uint16)
    match kind:
        case "grey16":
            tifffile.imwrite(path, deep[..., 0])
        case "rgb16":
            tifffile.imwrite(path, deep, photometric="rgb")
        case "alpha":
            four = RNG.integers(0, 256, (40, 30, 4), np.uint8)
            tifffile.imwrite(path, four, photometric="rgb", extrasamples=["unassalpha"])
        case "white":
            tifffile.imwrite(path, RGB[..., 0], photometric="miniswhite")
        case "palette":
            colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
            tifffile.imwrite(path, RGB[..., 0], photometric="palette", colormap=colours)
        case "turned":
            tifffile.imwrite(path, RGB, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    if kind == "rgb16" and values == "stored":  # Pillow reads no more than the high byte
        expected: Any = deep
    else:
        expected = read(path, bands=1, values=values)
    assert (opened(path, values).part(slice(None), slice(None)) == expected).all()


def test_a_page_is_the_one_that_is_meant(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for shade in (10, 20):
            tiff.write(np.full((20, 30), shade, np.uint8), contiguous=False)
    assert opened(tmp_path / "a.tif", place=1).part(slice(0, 1), slice(0, 1)).item() == 20
    with pytest.raises(DataError, match="holds 2 pictures"):
        opened(tmp_path / "a.tif")


def test_a_damaged_tiff_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), compression="zlib")
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(DataError, match="cannot be read") as told:
        opened(path)
    assert told.value.code == "D020"


@pytest.mark.parametrize("count", [5, 400])
def test_label_maps_are_read_back(tmp_path: Path, count: int) -> None:
    palette = PALETTE if count == 5 else np.zeros((count, 3), np.uint8)
    labels = RNG.integers(0, count, (300, 517)).astype(np.uint8 if count == 5 else np.uint16)
    png = write_png(tmp_path / "a.png", labels, palette, {"classes": '["t\u00fcr"]'})
    tif = write_tiff(tmp_path / "a.tif", labels, palette, {}, ())
    for path in (png, tif):
        assert (read_labels(path) == labels).all()
        assert read_labels(path).dtype == labels.dtype
    assert text_in(png) == {"classes": '["t\u00fcr"]'}
    if count == 5:
        assert (palette_in(png)[:5] == PALETTE).all()  # type: ignore[index]


def test_without_tifffile_a_tiff_is_refused_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ResourceError, match="the package tifffile") as told:
        opened(tmp_path / "a.tif")
    assert told.value.hint == 'pip install "pixelwise[raster]"'
