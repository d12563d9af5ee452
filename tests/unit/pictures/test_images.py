"""Label maps in every form that files have; what is written opens everywhere."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.labels import voc_palette
from pixelwise.pictures import imagefile, images, reading
from tiff import write_tiff

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_palettes_are_colours_in_pictures_and_indices_in_labels(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 15, 255]], np.uint8), "L")
    image.putpalette(voc_palette().tobytes())
    path = save(tmp_path / "a.png", image)
    assert images.read_labels(path).tolist() == [[0, 1, 15, 255]]
    assert reading.read(path)[0, 1].tolist() == [128, 0, 0]
    path = save(tmp_path / "b.png", image, transparency=0)
    assert images.read_labels(path).tolist() == [[0, 1, 15, 255]]


def test_bits_and_one_pixel(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[True, False]])))
    assert reading.read(path)[0, :, 0].tolist() == [255, 0]
    assert images.read_labels(path).tolist() == [[1, 0]]
    path = save(tmp_path / "b.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    assert reading.read(path).tolist() == [[[1, 2, 3]]]


def test_label_maps_in_colours_or_jpeg_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    with pytest.raises(DataError, match="commonest colours are") as caught:
        images.read_labels(path)
    assert caught.value.code == "D016"
    path = save(tmp_path / "a.jpg", Image.fromarray(RAMP))
    with pytest.raises(DataError, match="JPEG") as caught:
        images.read_labels(path)
    assert caught.value.code == "D017"


def test_webp_keeps_labels_or_is_refused(tmp_path: Path) -> None:
    """Pillow tells no difference once it is decoded; the file's chunks do."""
    labels = np.random.default_rng(0).integers(0, 5, (16, 16), np.uint8)
    grey = Image.fromarray(np.repeat(labels[..., None], 3, 2))
    kept = save(tmp_path / "kept.webp", grey, lossless=True)
    assert np.array_equal(images.read_labels(kept), labels)
    transparent = grey.copy()
    transparent.putalpha(200)
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = 1
    for lossy in (
        save(tmp_path / "plain.webp", grey, quality=95),
        save(tmp_path / "extended.webp", transparent, quality=95, exif=exif),
        _as_animation(tmp_path / "plain.webp"),
    ):
        for read in (images.read_labels, images.read_colours):
            with pytest.raises(DataError, match="lossy WebP") as caught:
                read(lossy)
            assert caught.value.code == "D017"
    moving = _as_animation(kept)
    assert reading.decode(moving.read_bytes(), moving).header.lossy == ""


def _as_animation(still: Path) -> Path:
    """The same picture as an animation of one frame (WebP container specification)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content

    side = (16 - 1).to_bytes(3, "little")
    frame = bytes(6) + side + side + bytes(4) + still.read_bytes()[12:]
    header = chunk(b"VP8X", bytes([2, 0, 0, 0]) + side + side) + chunk(b"ANIM", bytes(6))
    path = still.with_name(f"moving-{still.name}")
    path.write_bytes(chunk(b"RIFF", b"WEBP" + header + chunk(b"ANMF", frame)))
    return path


def test_jpeg_inside_tiff_is_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    kept = save(tmp_path / "kept.tif", grey, compression="tiff_lzw")
    assert np.array_equal(images.read_labels(kept), RAMP)
    with pytest.raises(DataError, match="TIFF with jpeg inside") as caught:
        images.read_labels(save(tmp_path / "lossy.tif", grey, compression="jpeg"))
    assert caught.value.code == "D017"


def test_indices_saved_as_rgb_are_indices(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.repeat(RAMP[..., None], 3, 2)))
    assert np.array_equal(images.read_labels(path), RAMP)


def test_written_label_maps_open_in_colour_and_keep_their_text(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    palette = np.array([[9, 8, 7], [1, 2, 3], [4, 5, 6]], np.uint8)
    path = images.write_labels(tmp_path / "a.png", labels, palette, text={"model": "abc"})
    with Image.open(path) as stored:
        assert stored.mode == "P"
        assert stored.text == {"model": "abc"}
        shown = np.asarray(stored.convert("RGB"))
    assert shown[0].tolist() == [[9, 8, 7], [1, 2, 3], [4, 5, 6], [224, 224, 192]]
    assert np.array_equal(images.read_labels(path), labels)
    many = np.array([[0, 300]], np.uint16)
    path = images.write_labels(tmp_path / "b.png", many, palette)
    assert np.array_equal(images.read_labels(path), many)


def test_a_legend_is_beside_the_picture(tmp_path: Path) -> None:
    picture = np.full((120, 160, 3), 77, np.uint8)
    found = images.draw_legend(picture, ["road", "a very long class name"], RGB[:2, 0])
    assert np.array_equal(found[:120, :160], picture)
    assert found.shape[1] > 160
    assert (found[:, 160:] == RGB[0, 0]).all(axis=2).sum() > 50
    assert images.draw_legend(picture, [], RGB[:0, 0]).shape == picture.shape


def test_resize_of_a_part() -> None:
    image = np.repeat(np.repeat(RAMP, 4, 0), 4, 1)
    assert np.array_equal(images.resize(image, (6, 8), method="nearest"), RAMP)
    part = images.resize(image, (2, 3), method="nearest", box=(8, 4, 20, 12))
    assert np.array_equal(part, RAMP[1:3, 2:5])
    five = np.repeat(image[..., None], 5, 2)
    assert images.resize(five, (6, 8)).shape == (6, 8, 5)


def png_by_hand(
    path: Path, depth: int, kind: int, size: tuple[int, int], rows: list[bytes]
) -> Path:
    """A PNG of any depth and colour type (0 grey, 2 RGB, 4 grey with alpha, 6 RGBA)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    signature = b"\x89PNG\r\n\x1a\n"
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b""))
    path.write_bytes(signature + b"".join(parts))
    return path


def test_grey_label_maps_of_few_bits_keep_their_numbers(tmp_path: Path) -> None:
    """Pillow gives 17 and 255 for the classes 1 and 15 of a 4-bit file."""
    four = png_by_hand(tmp_path / "4.png", 4, 0, (1, 4), [bytes([0x01, 0x2F])])
    two = png_by_hand(tmp_path / "2.png", 2, 0, (1, 4), [bytes([0b00011011])])
    assert images.read_labels(four).tolist() == [[0, 1, 2, 15]]
    assert images.read_labels(two).tolist() == [[0, 1, 2, 3]]
    assert reading.read(four)[0, :, 0].tolist() == [0, 17, 34, 255]
    for bits in (1, 2, 4):
        indices = np.arange(2**bits, dtype=np.uint8)[None]
        image = Image.fromarray(indices, "L")
        image.putpalette([value for i in range(2**bits) for value in (9 * i, 200 - i, 7)])
        image.save(tmp_path / "p.png", bits=bits)
        assert np.array_equal(images.read_labels(tmp_path / "p.png"), indices)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_label_maps_of_16_bits_a_channel_are_refused_not_cut(
    tmp_path: Path, kind: int, channels: int
) -> None:
    """Pillow keeps the high byte alone: class 3 would be read as class 0."""
    row = struct.pack(f">{2 * channels}H", *([3] * channels + [4] * channels))
    path = png_by_hand(tmp_path / "a.png", 16, kind, (1, 2), [row])
    for read, hint in ((images.read_labels, "grey"), (images.read_colours, "8 bits a channel")):
        with pytest.raises(DataError, match=r"a\.png: stored as .*16B") as caught:
            read(path)
        assert caught.value.code == "D015"
        assert hint in caught.value.hint


def test_grey_of_16_bits_is_no_colour(tmp_path: Path) -> None:
    Image.fromarray(np.array([[256, 512]], np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="holds no colours"):
        images.read_colours(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "PA", "F"])
def test_modes_without_class_numbers_are_refused_in_label_maps(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (4, 3), (3, 3, 3))
    image = image.convert("P").convert(mode) if mode == "PA" else image.convert("RGB")
    image = image.convert("L").convert("F") if mode == "F" else image
    image = image if mode in ("PA", "F") else image.convert(mode)
    image.save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"mode {mode} holds no whole numbers") as caught:
        images.read_labels(tmp_path / "a.tif")
    assert "save it as" in caught.value.hint


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_tiff_label_maps_are_read_as_drawn_or_refused(
    tmp_path: Path, bits: int, order: str, compression: int
) -> None:
    """Tools differ on WhiteIsZero: a boolean map of 54 pixels would be read as one of 586."""
    drawn = np.zeros((20, 32), np.uint16)
    drawn[2:8, 3:12] = 1
    form = {"order": order, "compression": compression}
    white = write_tiff(tmp_path / "white.tif", drawn, bits, photometric=0, **form)
    for read in (images.read_labels, images.read_colours):
        with pytest.raises(DataError, match=r"white\.tif.*WhiteIsZero") as caught:
            read(white)
        assert caught.value.code == "D015"
    black = write_tiff(tmp_path / "black.tif", drawn, bits, **form)
    if (bits, order) == (12, ">"):  # Pillow reads none
        with pytest.raises(DataError, match="odd bits, WhiteIsZero, big-endian"):
            images.read_labels(black)
    else:
        assert np.array_equal(images.read_labels(black), drawn)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("bands", [2, 4])
def test_a_mask_that_lies_in_alpha_is_refused(tmp_path: Path, suffix: str, bands: int) -> None:
    """Colour 0 everywhere was one class; a constant alpha says nothing and is passed over."""
    values = np.zeros((6, 8, bands), np.uint8)
    values[1:4, 2:5, -1] = 255
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(values), **options)
    for read in (images.read_labels, images.read_colours):
        with pytest.raises(DataError, match=rf"a\.{suffix}.*alpha") as caught:
            read(path)
        assert caught.value.code == "D016"
    values[..., :-1], values[..., -1] = 3, 255
    path = save(path, Image.fromarray(values), **options)
    assert (images.read_labels(path) == 3).all()


def test_colours_under_alpha_count_where_masks_are_described_by_colour(tmp_path: Path) -> None:
    values = np.zeros((2, 2, 4), np.uint8)
    values[0] = (128, 0, 0, 255)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert np.array_equal(images.read_colours(path), values[..., :3])
    with pytest.raises(DataError, match="last band varies"):
        images.read_labels(path)


def test_a_label_map_with_a_further_band_is_refused(tmp_path: Path) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    path = write_tiff(tmp_path / "a.tif", values, 8, photometric=2, extra=(0,))
    for read in (images.read_labels, images.read_colours):
        with pytest.raises(DataError, match="a TIFF of 4 bands, expected one number per pixel"):
            read(path)


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32])
def test_bands_of_any_dtype_are_resized_as_bytes_are(kind: type) -> None:
    """The mean of each 2x2 block, beyond what 8 bits hold."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 100, (6, 8, 5))
    wide = (small * 300 - (0 if kind == np.uint16 else 10000)).astype(kind)
    blocks = np.repeat(np.repeat(wide, 2, 0), 2, 1)
    found = images.resize(blocks, (6, 8))
    by_hand = np.stack(
        [images.resize(b.astype(np.float32), (6, 8)) for b in np.moveaxis(blocks, 2, 0)], axis=2
    )
    assert found.dtype == kind
    assert np.array_equal(found, by_hand if kind == np.float32 else by_hand.round())
    flat = np.full((6, 8, 2), wide[0, 0, 0], kind)
    assert np.array_equal(images.resize(flat, (9, 5)), np.full((9, 5, 2), wide[0, 0, 0]))


def test_numbers_are_rounded_and_held_within_their_dtype() -> None:
    values = np.array([-3.0, 0.5, 1.5, 254.6, 70000.0])
    assert images.cast(values, np.dtype(np.uint8)).tolist() == [0, 0, 2, 255, 255]
    assert images.cast(values, np.dtype(np.uint16)).tolist() == [0, 0, 2, 255, 65535]
    assert images.cast(values, np.dtype(np.float32)).tolist() == pytest.approx(values.tolist())


def test_mixed_colours_by_hand() -> None:
    picture = np.array([[[10, 20, 30], [0, 100, 255]]], np.uint8)
    assert np.array_equal(images.mixed(picture, np.eye(3), 0.0), picture)
    matrix = np.array([[0.5, 0.25, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 1.0]])
    # 5 + 5 + 0.7 rounds to 11, 40.7 to 41; 0.7 beyond 255 and below 0 are cut.
    assert images.mixed(picture, matrix, 0.7).tolist() == [[[11, 41, 61], [26, 201, 255]]]
    assert images.mixed(picture, matrix, -50.0).tolist() == [[[0, 0, 10], [0, 150, 255]]]


def test_mixed_colours_are_those_of_the_matrix_product() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)[:, ::-1]
    matrix = np.eye(3) + rng.normal(0, 0.2, (3, 3))
    wanted = np.clip(np.floor(picture @ matrix.T - 7.3 + 0.5), 0, 255)
    assert (
        np.abs(images.mixed(picture, matrix, -7.3) - wanted).max() <= 1
    )  # in float32, near a half
    assert np.mean(images.mixed(picture, matrix, -7.3) == wanted) > 0.999
