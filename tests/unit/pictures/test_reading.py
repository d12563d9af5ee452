"""Pictures of any bands and dtype, from every kind of source."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from make_data import folder_set
from pixelwise.data.dataset import as_labelled
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError
from pixelwise.pictures import imagefile, reading

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def decoded(path: Path) -> reading.Picture:
    return reading.decode(path.read_bytes(), path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_grey_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(RAMP), **options)
    assert np.array_equal(reading.read_image(path), np.repeat(RAMP[..., None], 3, 2))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    """0..65535 to 0..255 by 257; a plain conversion would give 255 almost everywhere."""
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert reading.read_image(path)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    stored = reading.read(path, values="stored", bands=1)
    assert stored[..., 0].tolist() == values.tolist()
    assert stored.dtype == np.uint16


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (0, 255, 51)
    path = save(tmp_path / "a.png", Image.fromarray(rgba))
    assert reading.read_image(path)[0].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    grey = save(tmp_path / "b.png", Image.fromarray(rgba[..., [0, 3]]))
    assert reading.read_image(grey)[0, :, 0].tolist() == [255, 200, 244]


def test_cmyk_is_converted_and_float_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 0)), quality=100)
    assert np.abs(reading.read_image(path).astype(int) - [0, 255, 255]).max() <= 3
    path = save(tmp_path / "b.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(DataError, match="mode F") as caught:
        reading.read_image(path)
    assert caught.value.code == "D015"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    with Image.open(path) as stored:
        wanted = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(reading.read_image(path), wanted)
    assert np.array_equal(decoded(path).stored, RGB)
    assert imagefile.image_header(path).shown_size == wanted.shape[:2]


def test_a_label_map_decides_whether_its_picture_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = 6
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    assert np.array_equal(as_labelled(decoded(path), path, np.zeros((6, 8))), RGB)
    turned = as_labelled(decoded(path), path, np.zeros((8, 6)))
    assert np.array_equal(turned, np.rot90(RGB, -1))
    square = save(tmp_path / "b.png", Image.fromarray(RGB[:, :6]), exif=exif)
    with pytest.raises(DataError, match="orientation 6") as caught:
        as_labelled(decoded(square), square, np.zeros((6, 6)))
    assert caught.value.code == "D014"


def test_a_turned_picture_is_read_with_its_labels(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = 8
    upright = np.asarray(Image.open(root / "images" / "p0.png"))
    Image.fromarray(np.rot90(upright, -1)).save(root / "images" / "p0.png", exif=exif)
    dataset = open_dataset(root)
    item = next(i for i in dataset.all_items() if i.name == "p0")
    assert np.array_equal(dataset.read(item).image, upright)


def test_pillows_own_turn_of_tiff_is_not_repeated(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(RGB), tiffinfo={imagefile.ORIENTATION: 6})
    header = imagefile.image_header(path)
    assert (header.orientation, header.shown_size) == (1, (8, 6))
    assert np.array_equal(reading.read_image(path), np.rot90(RGB, -1))
    assert as_labelled(decoded(path), path, np.zeros((8, 6))).shape == (8, 6, 3)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_come_near_the_colours_they_had(tmp_path: Path, mode: str) -> None:
    """YCbCr and LAB are rounded on the way; CMYK as Pillow makes it is exact."""
    rgb = np.zeros((8, 24, 3), np.uint8)
    for i, colour in enumerate([(200, 30, 40), (20, 180, 60), (90, 90, 90)]):
        rgb[:, 8 * i : 8 * i + 8] = colour
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.tif")
    found = reading.read_image(tmp_path / "a.tif").astype(int)
    assert np.abs(found - rgb).max() <= {"CMYK": 0, "YCbCr": 2, "LAB": 10}[mode]
