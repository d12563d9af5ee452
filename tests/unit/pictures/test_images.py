"""Pictures and label maps in every form that files have."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from make_data import folder_set
from pixelwise.data.dataset import exif_rule
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError
from pixelwise.labels import voc_palette
from pixelwise.pictures import imagefile, images

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_grey_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(RAMP), **options)
    assert np.array_equal(images.read_image(path), np.repeat(RAMP[..., None], 3, 2))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    """0..65535 to 0..255 by 257; a plain conversion would give 255 almost everywhere."""
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert images.read_image(path)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert images.read_raw(path).tolist() == values.tolist()
    assert images.read_raw(path).dtype == np.uint16


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (0, 255, 51)
    path = save(tmp_path / "a.png", Image.fromarray(rgba))
    assert images.read_image(path)[0].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    grey = save(tmp_path / "b.png", Image.fromarray(rgba[..., [0, 3]]))
    assert images.read_image(grey)[0, :, 0].tolist() == [255, 200, 244]


def test_palettes_are_colours_in_pictures_and_indices_in_labels(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 15, 255]], np.uint8), "L")
    image.putpalette(voc_palette().tobytes())
    path = save(tmp_path / "a.png", image)
    assert images.read_labels(path).tolist() == [[0, 1, 15, 255]]
    assert images.read_image(path)[0, 1].tolist() == [128, 0, 0]
    path = save(tmp_path / "b.png", image, transparency=0)
    assert images.read_labels(path).tolist() == [[0, 1, 15, 255]]


def test_cmyk_is_converted_and_float_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 0)), quality=100)
    assert np.abs(images.read_image(path).astype(int) - [0, 255, 255]).max() <= 3
    path = save(tmp_path / "b.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(DataError, match="mode F") as caught:
        images.read_image(path)
    assert caught.value.code == "D015"


def test_bits_and_one_pixel(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[True, False]])))
    assert images.read_image(path)[0, :, 0].tolist() == [255, 0]
    assert images.read_labels(path).tolist() == [[1, 0]]
    path = save(tmp_path / "b.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    assert images.read_image(path).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    with Image.open(path) as stored:
        wanted = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(images.read_image(path), wanted)
    assert np.array_equal(images.read_image(path, exif="ignore"), RGB)
    assert imagefile.image_header(path).shown_size == wanted.shape[:2]


def test_a_label_map_decides_whether_its_picture_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[imagefile.ORIENTATION] = 6
    path = save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif)
    assert exif_rule(path, (6, 8)) == "ignore"
    assert exif_rule(path, (8, 6)) == "apply"
    square = save(tmp_path / "b.png", Image.fromarray(RGB[:, :6]), exif=exif)
    with pytest.raises(DataError, match="orientation 6") as caught:
        exif_rule(square, (6, 6))
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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "0 bytes"),
        (b"<html>404</html>", "not a picture"),
        (b"%PDF-1.7 nothing", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        images.read_image(path)
    assert caught.value.code == "D020"
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_cut_files_are_refused_at_every_length(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(
        buffer, kind
    )
    whole = buffer.getvalue()
    path = tmp_path / "a.bin"
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError):
            images.read_image(path)


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    """9.9 kB that would take 243 MB; below Pillow's own limit."""
    path = save(tmp_path / "a.png", Image.new("1", (9000, 9000)))
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"9000x9000 \(HxW\) = 81 MP, the limit is 64 MP") as caught:
        images.read_image(path)
    assert caught.value.code == "D022"
    assert images.read_raw(save(tmp_path / "b.png", Image.new("1", (90, 90)))).shape == (90, 90)


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
    assert imagefile.image_header(_as_animation(kept)).lossy == ""


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


@pytest.mark.parametrize("suffix", ["tif", "gif", "png", "webp"])
def test_files_of_several_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    """The first page of a stack, or the first frame of a film, may not be the one that is meant."""
    options = {"lossless": True} if suffix == "webp" else {}
    more = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1])]
    path = save(
        tmp_path / f"a.{suffix}", Image.fromarray(RGB), save_all=True, append_images=more, **options
    )
    for read in (images.read_image, images.read_labels):
        with pytest.raises(DataError, match="holds 3 pictures, expected one") as caught:
            read(path)
        assert caught.value.code == "D025"
        assert str(path) in str(caught.value)


def test_previews_are_no_further_pictures(tmp_path: Path) -> None:
    """A TIFF with a small preview behind it, and what phones write: a JPEG with another inside."""
    preview = Image.fromarray(RGB[::2, ::2].copy())
    preview.encoderinfo = {"tiffinfo": {imagefile.NEW_SUBFILE_TYPE: 1}}
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).save(path, save_all=True, append_images=[preview])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert np.array_equal(images.read_image(path), RGB)
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[preview])
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    assert images.read_image(path).shape == RGB.shape
    with pytest.raises(DataError, match="a label map in JPEG") as caught:
        images.read_labels(path)
    assert caught.value.code == "D017"


def test_jpeg_inside_tiff_is_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    kept = save(tmp_path / "kept.tif", grey, compression="tiff_lzw")
    assert np.array_equal(images.read_labels(kept), RAMP)
    with pytest.raises(DataError, match="TIFF with jpeg inside") as caught:
        images.read_labels(save(tmp_path / "lossy.tif", grey, compression="jpeg"))
    assert caught.value.code == "D017"


def test_pillows_own_turn_of_tiff_is_not_repeated(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(RGB), tiffinfo={imagefile.ORIENTATION: 6})
    header = imagefile.image_header(path)
    assert (header.orientation, header.shown_size) == (1, (8, 6))
    assert np.array_equal(images.read_image(path), np.rot90(RGB, -1))
    assert exif_rule(path, (8, 6)) == "apply"


def test_sizes_that_nothing_could_hold_are_refused_with_the_file(tmp_path: Path) -> None:
    """A PNG header of 2**31 - 1 pixels each way."""
    path = save(tmp_path / "a.png", Image.new("L", (2, 2)))
    content = bytearray(path.read_bytes())
    content[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: .*limit.* 64 MP") as caught:
        images.read_image(path)
    assert caught.value.code == "D022"


def test_threads_that_open_pictures_leave_each_others_warnings_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(imagefile.image_header, [path] * 400))
    assert warnings.filters == before


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
    assert images.resize_channels(five, (6, 8)).shape == (6, 8, 5)


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
    assert images.read_image(four)[0, :, 0].tolist() == [0, 17, 34, 255]
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


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_come_near_the_colours_they_had(tmp_path: Path, mode: str) -> None:
    """YCbCr and LAB are rounded on the way; CMYK as Pillow makes it is exact."""
    rgb = np.zeros((8, 24, 3), np.uint8)
    for i, colour in enumerate([(200, 30, 40), (20, 180, 60), (90, 90, 90)]):
        rgb[:, 8 * i : 8 * i + 8] = colour
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.tif")
    found = images.read_image(tmp_path / "a.tif").astype(int)
    assert np.abs(found - rgb).max() <= {"CMYK": 0, "YCbCr": 2, "LAB": 10}[mode]
