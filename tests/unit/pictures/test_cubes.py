"""Arrays of many bands from files: whole or not at all, and what is not known told or left out."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pixelwise.errors import DataError
from pixelwise.pictures import imagefile, reading
from pixelwise.pictures.cubes import tiff_bands
from pixelwise.pictures.large import open_large
from pixelwise.pictures.recognise import is_picture

CUBE = np.random.default_rng(0).integers(0, 2**16, (4, 6, 12), np.uint16)


def told(path: Path, values: str = "stored") -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        reading.decode(path.read_bytes(), path, values=values)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<u4", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_files_of_any_order_are_read(tmp_path: Path, kind: str, order: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(CUBE.astype(kind), order=order))
    image = reading.read(path, values="stored", bands=12)
    assert is_picture(path)
    assert np.array_equal(image, CUBE)
    assert image.dtype == (np.float32 if "f" in kind else np.uint16)


def test_what_no_numpy_file_of_bands_is_gets_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, CUBE[None])
    assert told(path) == (
        "D018",
        f"{path}: an array of shape (1, 4, 6, 12), expected (H, W) or (H, W, bands)",
    )
    np.save(path, CUBE)
    assert told(path, "8-bit")[0] == "D015"
    whole = path.read_bytes()
    for cut in (7, 40, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert told(path)[0] == "D020"
    np.save(path, np.array([[{}]], object), allow_pickle=True)
    assert "Object arrays cannot be loaded" in told(path)[1]
    path.write_bytes(whole[:10] + pickle.dumps([1]))
    assert told(path)[0] == "D020"
    head = whole.replace(b"(4, 6, 12)", b"(9999999, 99999, 9)"[:10].ljust(10))
    path.write_bytes(head.replace(b"(9999999, ", b"(99999999,"))
    assert told(path)[0] in ("D020", "D022")
    np.save(path, np.full((2, 2, 2), 40000, np.int32))
    assert "holds int32 beyond 16 bits, expected one of uint8" in told(path)[1]


def test_size_is_checked_before_numbers_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagefile, "MAX_BYTES", CUBE.nbytes - 1)
    np.save(tmp_path / "a.npy", CUBE)
    tifffile.imwrite(tmp_path / "a.tif", CUBE, photometric="minisblack", planarconfig="contig")
    for path in tmp_path.iterdir():
        code, text = told(path)
        assert code == "D022"
        assert text.startswith(f"{path}: (4, 6, 12) of ")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32])
def test_tiffs_of_many_bands_are_read_whole(tmp_path: Path, planar: str, kind: type) -> None:
    path, cube = tmp_path / "a.tif", (CUBE // 2).astype(kind)
    stored = cube if planar == "contig" else np.moveaxis(cube, 2, 0)
    tifffile.imwrite(path, stored, photometric="minisblack", planarconfig=planar)
    assert np.array_equal(reading.read(path, values="stored", bands=12), cube)
    assert told(path, "8-bit")[0] == "D015"
    tifffile.imwrite(path, np.stack([cube, cube]), photometric="minisblack", planarconfig="contig")
    assert told(path)[0] == "D025"


@pytest.mark.parametrize("bands", [1, 12])
def test_no_data_is_refused_by_name_or_left_out_where_that_is_declared(
    tmp_path: Path, bands: int
) -> None:
    path, cube = tmp_path / "a.tif", CUBE[..., :bands].astype(np.float32)
    cube[0, 1], cube[2, 3, 0] = -9999, -9999
    form = {"photometric": "minisblack", "extratags": [(42113, 2, 6, "-9999", True)]}
    tifffile.imwrite(path, cube if bands > 1 else cube[..., 0], **form, **(
        {"planarconfig": "contig"} if bands > 1 else {}
    ))  # fmt: skip
    said = f"{path} has 2 pixels of no data (its TIFF tag: -9999)"
    assert told(path) == ("D015", said)
    image = reading.read(path, values="gaps", bands=bands)
    assert np.array_equal(np.isnan(image), cube == -9999)
    assert np.array_equal(image[~np.isnan(image)], cube[cube != -9999])
    tifffile.imwrite(path, cube if bands > 1 else cube[..., 0], photometric="minisblack", **(
        {"planarconfig": "contig"} if bands > 1 else {}
    ))  # fmt: skip
    assert np.array_equal(reading.read(path, values="stored", bands=bands), cube)  # no tag


def test_nan_is_refused_by_name_or_left_out_and_gaps_are_float(tmp_path: Path) -> None:
    path, cube = tmp_path / "a.npy", CUBE.astype(np.float32)
    cube[1, 1, 3], cube[0, 0, 0] = np.nan, np.inf
    np.save(path, cube)
    assert told(path)[1] == f"{path} holds 2 numbers that are not finite, expected none"
    image = reading.read(path, values="gaps", bands=12)
    assert np.isnan(image).sum() == 2
    np.save(path, CUBE)
    assert reading.read(path, values="gaps", bands=12).dtype == np.float32


def test_a_real_cube_of_ten_bands_is_read_as_gdal_wrote_it(real_data: Path) -> None:
    pytest.importorskip("imagecodecs", reason="the file is LZW inside")
    image = reading.read(real_data / "hyperspectral/multiband10_input.tif", values="stored")
    assert (image.shape, image.dtype) == ((224, 224, 10), np.float32)
    assert (image.min(), image.max()) == (-1597, 11317)


def test_pages_that_lead_back_are_refused(tmp_path: Path) -> None:
    """Found by 150,000 damaged pictures: tifffile follows such a chain for ever."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, CUBE, photometric="minisblack", planarconfig="contig")
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)  # TIFF 6.0, section 2: the next
    path.write_bytes(data)
    for read in (
        lambda: tiff_bands(bytes(data), path, None),
        lambda: open_large(path, None, "stored", tmp_path),
    ):
        with pytest.raises(DataError, match=f"its pages lead back to byte {first}") as told:
            read()
        assert told.value.code == "D020"
