"""Pictures of any bands and dtype, from every kind of source."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageOps

from make_data import folder_set
from pixelwise.data.dataset import as_labelled
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.sample import Item, LabelMap
from pixelwise.errors import DataError
from pixelwise.pictures import bands, imagefile, images, reading
from tiff import write_tiff

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
    assert np.array_equal(reading.read(path), np.repeat(RAMP[..., None], 3, 2))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    """0..65535 to 0..255 by 257; a plain conversion would give 255 almost everywhere."""
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert reading.read(path)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    stored = reading.read(path, values="stored", bands=1)
    assert stored[..., 0].tolist() == values.tolist()
    assert stored.dtype == np.uint16


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (0, 255, 51)
    path = save(tmp_path / "a.png", Image.fromarray(rgba))
    assert reading.read(path)[0].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    grey = save(tmp_path / "b.png", Image.fromarray(rgba[..., [0, 3]]))
    assert reading.read(grey)[0, :, 0].tolist() == [255, 200, 244]


def test_cmyk_is_converted_and_float_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 0)), quality=100)
    assert np.abs(reading.read(path).astype(int) - [0, 255, 255]).max() <= 3
    path = save(tmp_path / "b.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(DataError, match="mode F") as caught:
        reading.read(path)
    assert caught.value.code == "D015"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    with Image.open(path) as stored:
        wanted = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(reading.read(path), wanted)
    assert np.array_equal(decoded(path).stored, RGB)


def test_a_label_map_decides_whether_its_picture_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = 6
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    assert np.array_equal(as_labelled(decoded(path), path, (6, 8)), RGB)
    turned = as_labelled(decoded(path), path, (8, 6))
    assert np.array_equal(turned, np.rot90(RGB, -1))
    square = save(tmp_path / "b.png", Image.fromarray(RGB[:, :6]), exif=exif)
    with pytest.raises(DataError, match="orientation 6") as caught:
        as_labelled(decoded(square), square, (6, 6))
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
    assert decoded(path).header.orientation == 1
    assert np.array_equal(reading.read(path), np.rot90(RGB, -1))
    assert as_labelled(decoded(path), path, (8, 6)).shape == (8, 6, 3)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_come_near_the_colours_they_had(tmp_path: Path, mode: str) -> None:
    """YCbCr and LAB are rounded on the way; CMYK as Pillow makes it is exact."""
    rgb = np.zeros((8, 24, 3), np.uint8)
    for i, colour in enumerate([(200, 30, 40), (20, 180, 60), (90, 90, 90)]):
        rgb[:, 8 * i : 8 * i + 8] = colour
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.tif")
    found = reading.read(tmp_path / "a.tif").astype(int)
    assert np.abs(found - rgb).max() <= {"CMYK": 0, "YCbCr": 2, "LAB": 10}[mode]


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("compression", [1, 8])
def test_grey_tiff_of_every_depth_is_as_bright_as_shown_or_refused(
    tmp_path: Path, bits: int, order: str, photometric: int, compression: int
) -> None:
    """By the definition: the lowest number is black and the highest white, or in reverse."""
    peak = 2**bits - 1
    numbers = np.arange(21).reshape(3, 7) * peak // 20  # rows of 12 bits end in mid-byte
    form = {"photometric": photometric, "order": order, "compression": compression}
    path = write_tiff(tmp_path / "a.tif", numbers, bits, **form)
    plain = (bits == 12 and photometric and order == "<") or (
        bits == 16 and (photometric or order == "<")
    )
    if bits not in (1, 2, 4, 8) and not plain:
        for source in (path, path.read_bytes()):
            with pytest.raises(DataError, match="a TIFF of numbers that are not read") as caught:
                reading.read(source)
            assert caught.value.code == "D015"
        return
    shown = numbers if photometric else peak - numbers
    wanted = np.repeat(np.floor(shown * 255 / peak + 0.5)[..., None], 3, 2)
    with Image.open(path) as image:
        for source in (path, path.read_bytes(), image):
            assert np.array_equal(reading.read(source), wanted)


@pytest.mark.parametrize("bits", [12, 16])
def test_stored_values_of_grey_keep_their_bits(tmp_path: Path, bits: int) -> None:
    numbers = np.array([[0, 1, 1000, 2**bits - 1]])
    path = write_tiff(tmp_path / "a.tif", numbers, bits)
    image = reading.read(path, values="stored")
    assert (image.dtype, image.shape) == (np.uint16, (1, 4, 1))
    assert np.array_equal(image[..., 0], numbers)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "sample_format", "numbers", "kind"),
    [
        (16, 2, [-1597, 11317], np.int16),
        (16, 2, [5, 11317], np.int16),
        (32, 2, [-1597, 11317], np.int16),
        (32, 3, [-0.5, 11317.25], np.float32),
    ],
)
def test_signed_and_float_numbers_are_kept_where_they_are_stored_right(
    tmp_path: Path, bits: int, sample_format: int, numbers, kind, order: str, compression: int
) -> None:
    """Pillow exchanges the bytes of compressed big-endian ones, tifffile does not."""
    form = {"sample_format": sample_format, "order": order, "compression": compression}
    path = write_tiff(tmp_path / "a.tif", np.array([numbers]), bits, **form)
    if (order, compression) == (">", 8):
        with pytest.raises(DataError, match="big-endian and compressed") as caught:
            images.read_labels(path)
        assert caught.value.code == "D015"
    image = reading.read(path, values="stored")
    assert (image.dtype, image.ravel().tolist()) == (kind, numbers)


def test_numbers_without_a_known_range_are_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", np.array([[0.25, 1]]), 32, sample_format=3)
    with pytest.raises(DataError, match="mode F have no known range") as caught:
        reading.read(path)
    assert '"values": "stored"' in caught.value.hint
    for numbers, sample_format, told in (
        (np.array([[np.nan]]), 3, "not finite"),
        (np.array([[70000]]), 1, "beyond 16 bits"),
        (np.array([[40000]]), 2, "beyond 16 bits"),
    ):
        write_tiff(path, numbers, 32, sample_format=sample_format)
        with pytest.raises(DataError, match=told) as caught:
            reading.read(path, values="stored")
        assert caught.value.code == "D015"


def test_signed_8_bit_numbers_are_refused(tmp_path: Path) -> None:
    """Pillow gives 255 for -1: white for the darkest, void for a number that is no class."""
    path = write_tiff(tmp_path / "a.tif", np.array([[-1, 3]]), 8, sample_format=2)
    for read in (reading.read, images.read_labels, images.read_colours):
        with pytest.raises(DataError, match="signed") as caught:
            read(path)
        assert caught.value.code == "D015"


FOUR = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [None, (0,), (999,)])
def test_a_fourth_band_that_is_not_alpha_is_a_band(
    tmp_path: Path, extra: tuple[int, ...] | None, order: str, compression: int
) -> None:
    """Red, green, blue and near infrared; Pillow takes it for alpha or drops it."""
    path = write_tiff(
        tmp_path / "a.tif", FOUR, 8, photometric=2, extra=extra, order=order,
        compression=compression,
    )  # fmt: skip
    with Image.open(path) as image:
        for source in (path, image, path.read_bytes()):
            assert np.array_equal(reading.read(source), FOUR)
            assert np.array_equal(reading.read(source, bands=4, values="stored"), FOUR)


def test_a_fourth_band_of_16_bits_is_one_too(tmp_path: Path) -> None:
    wide = FOUR.astype(np.uint16) * 257
    for extra in (None, (0,)):
        path = write_tiff(tmp_path / "a.tif", wide, 16, photometric=2, extra=extra)
        assert np.array_equal(reading.read(path), FOUR)
        assert np.array_equal(reading.read(path, values="stored"), wide)
        with Image.open(path) as image, pytest.raises(DataError, match="16 bits a band") as caught:
            reading.read(image, values="stored")
        assert caught.value.code == "D015"


def test_a_fourth_band_that_is_alpha_lies_over_white(tmp_path: Path) -> None:
    values = FOUR.copy()
    values[..., 3] = 0
    values[0, 0] = (10, 20, 30, 255)
    path = write_tiff(tmp_path / "a.tif", values, 8, photometric=2, extra=(2,))
    image = reading.read(path)
    assert image[0, 0].tolist() == [10, 20, 30]
    assert (image.reshape(-1, 3)[1:] == 255).all()


@pytest.mark.parametrize(
    ("bands", "photometric", "extra", "kept"),
    [
        (2, 1, (0,), True),
        (5, 2, (0, 0), True),
        (10, 1, (0,) * 9, True),
        (2, 1, None, True),
        (6, 2, (2, 0, 0), False),  # alpha is no band
        (5, 5, (0,), False),  # ink
    ],
)
def test_all_bands_are_read_or_none(
    tmp_path: Path, bands: int, photometric: int, extra: tuple[int, ...] | None, kept: bool
) -> None:
    numbers = np.arange(6 * bands).reshape(2, 3, bands)
    path = write_tiff(tmp_path / "a.tif", numbers, 8, photometric=photometric, extra=extra)
    for values in get_args(reading.Values):
        if kept:
            assert np.array_equal(reading.read(path, values=values), numbers)
            continue
        with pytest.raises(DataError, match=rf"a\.tif: a TIFF of {bands} band") as caught:
            reading.read(path, values=values)
        assert caught.value.code == "D015"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_arrays_of_stored_values_pass_as_they_are(kind: type) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    assert np.array_equal(reading.read(array, bands=4, values="stored"), array)
    assert reading.read(array, bands=4, values="stored").dtype == kind
    assert reading.read(array[..., 0], bands=1, values="stored").shape == (2, 3, 1)
    if kind != np.uint8:
        with pytest.raises(DataError, match="expected uint8, 0 to 255") as caught:
            reading.read(array, bands=4)
        assert caught.value.code == "D015"


def test_every_door_gives_the_same_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = 6
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    wanted = np.rot90(RGB, -1)
    with Image.open(path) as image:
        for source in (path, str(path), path.read_bytes(), image, wanted):
            assert np.array_equal(reading.read(source), wanted)


def test_a_stack_has_the_bands_of_all_and_a_dtype_that_holds_them() -> None:
    depth = np.full((6, 8, 1), 40000, np.uint16)
    both = bands.stack([RGB, depth])
    assert (both.shape, both.dtype) == ((6, 8, 4), np.uint16)
    assert np.array_equal(both[..., :3], RGB)
    assert (both[..., 3] == 40000).all()
    assert bands.stack([RGB, depth.astype(np.float32)]).dtype == np.float32
    assert bands.stack([RGB]) is RGB


def test_inputs_of_an_item_are_stacked_and_must_be_of_one_size(tmp_path: Path) -> None:
    dataset = replace(open_dataset(folder_set(tmp_path / "d", 3)), inputs=("color", "depth"))
    depth = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) + 1000
    Image.fromarray(depth).save(tmp_path / "depth.png")
    photo, label_map = (tmp_path / "d" / kind / "p0.png" for kind in ("images", "labels"))
    inputs = {"color": photo, "depth": tmp_path / "depth.png"}
    item = Item("p0", inputs, {"labels": LabelMap(label_map)})
    sample = dataset.read(item)
    assert (sample.image.shape, sample.image.dtype) == ((40, 48, 4), np.uint16)
    assert np.array_equal(sample.image[..., :3], np.asarray(Image.open(photo)))
    assert np.array_equal(sample.image[..., 3], depth)
    Image.fromarray(depth[1:]).save(tmp_path / "depth.png")
    with pytest.raises(DataError, match=r"depth\.png is 39x48.*images/p0\.png is 40x48") as caught:
        dataset.read(item)
    assert caught.value.code == "D013"


def test_a_sample_opens_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(folder_set(tmp_path / "d", 3))
    opened = []
    original = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, *a, **k: opened.append(path.parent.name) or original(path, *a, **k),
    )
    dataset.read(dataset.all_items()[0])
    assert sorted(opened) == ["images", "labels"]


def test_numbers_that_are_not_finite_are_the_pictures_fault() -> None:
    image = np.ones((4, 5), np.float32)
    image[1, 2:4] = np.nan, np.inf
    with pytest.raises(DataError, match="holds 2 numbers that are not finite") as caught:
        reading.read(image, bands=1, values="stored")
    assert caught.value.code == "D015"


def test_a_tiff_of_no_rows_is_refused(tmp_path: Path) -> None:
    """Found by damaged copies (docs/trust.md)."""
    path = tmp_path / "a.tif"
    Image.new("RGB", (32, 24)).save(path)
    rows = struct.pack("<HHI", 257, 4, 1)  # ImageLength, one long; TIFF 6.0, section 8
    data = path.read_bytes()
    assert data.count(rows) == 1
    at = data.index(rows) + len(rows)
    path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
    with pytest.raises(DataError, match="cannot be read") as refused:
        reading.read(path)
    assert refused.value.code == "D020"
