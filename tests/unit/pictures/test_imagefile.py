"""What is refused before a picture is decoded."""

import io
import re
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import DataError, UsageError
from pixelwise.pictures import imagefile, images, reading

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


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
        reading.read(path)
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
            reading.read(path)


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    """9.9 kB that would take 243 MB; below Pillow's own limit."""
    path = save(tmp_path / "a.png", Image.new("1", (9000, 9000)))
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"9000x9000 \(HxW\) = 81 MP, the limit is 64 MP") as caught:
        reading.read(path)
    assert caught.value.code == "D022"
    assert caught.value.hint.startswith("PIXELWISE_MAX_MEGAPIXELS=81 before the command")
    assert reading.read(save(path, Image.new("1", (90, 90)))).shape == (90, 90, 3)


def test_the_hints_of_a_picture_that_is_too_large_are_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 1 MP: either the limit is raised, or a part is cut as the hint says."""
    path = save(tmp_path / "a.png", Image.new("1", (1500, 1000)))
    monkeypatch.setenv("PIXELWISE_MAX_MEGAPIXELS", "1")
    with pytest.raises(DataError, match="= 2 MP, the limit is 1 MP") as caught:
        reading.read(path)
    setting, _, cut = caught.value.hint.partition(" before the command raises the limit; or cut ")
    program = re.search(r'python -c "(.*)"', cut)
    assert program
    monkeypatch.chdir(tmp_path)
    exec(program[1].replace("8000", "500"), {})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)  # Pillow's, which the hint lifts
    assert reading.read(tmp_path / "a-1.png").shape == (500, 500, 3)
    monkeypatch.setenv(*setting.split("="))
    assert reading.read(path).shape == (1000, 1500, 3)
    monkeypatch.setenv("PIXELWISE_MAX_MEGAPIXELS", "2.5")
    with pytest.raises(UsageError, match=r"PIXELWISE_MAX_MEGAPIXELS is 2\.5"):
        reading.read(path)


def test_pillows_own_limit_is_raised_with_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", Image.new("1", (1500, 1000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert reading.read(path).shape == (1000, 1500, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("suffix", ["tif", "gif", "png", "webp"])
def test_files_of_several_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    """The first page of a stack, or the first frame of a film, may not be the one that is meant."""
    options = {"lossless": True} if suffix == "webp" else {}
    more = [Image.fromarray(255 - RGB), Image.fromarray(RGB[::-1])]
    path = save(
        tmp_path / f"a.{suffix}", Image.fromarray(RGB), save_all=True, append_images=more, **options
    )
    for read in (reading.read, images.read_labels):
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
    assert np.array_equal(reading.read(path), RGB)
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[preview])
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    assert reading.read(path).shape == RGB.shape
    with pytest.raises(DataError, match="a label map in JPEG") as caught:
        images.read_labels(path)
    assert caught.value.code == "D017"


def test_sizes_that_nothing_could_hold_are_refused_with_the_file(tmp_path: Path) -> None:
    """A PNG header of 2**31 - 1 pixels each way."""
    path = save(tmp_path / "a.png", Image.new("L", (2, 2)))
    content = bytearray(path.read_bytes())
    content[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: .*limit.* 64 MP") as caught:
        reading.read(path)
    assert caught.value.code == "D022"


def test_threads_that_open_pictures_leave_each_others_warnings_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reading.read, [path] * 400))
    assert warnings.filters == before


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", [{}, {"progressive": True}, {"subsampling": 0, "quality": 30}])
def test_a_jpeg_has_the_same_numbers_by_its_fast_decoder(
    mode: str, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    noise = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)
    stored = io.BytesIO()
    Image.fromarray(noise).resize((67, 45)).convert(mode).save(stored, "JPEG", **kind)
    fast, used = decoded(stored.getvalue()), imagefile._jpeg_decoder()
    assert used is not None
    monkeypatch.setattr(imagefile, "_jpeg_decoder", lambda: None)
    assert np.array_equal(fast, decoded(stored.getvalue()))


def test_what_the_fast_decoder_refuses_is_pillows_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(data: bytes, colorspace: str) -> None:
        raise ValueError("no")

    stored = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    Image.fromarray(noise).save(stored, "JPEG")
    whole = decoded(stored.getvalue())
    monkeypatch.setattr(imagefile, "_jpeg_decoder", lambda: refusing)
    assert np.array_equal(decoded(stored.getvalue()), whole)
    with pytest.raises(DataError, match="truncated"):
        decoded(stored.getvalue()[:4000])


def decoded(data: bytes) -> np.ndarray:
    with imagefile.opened(data, Path("p.jpg")) as (image, _):
        return np.asarray(image)
