"""The archive for VOC's test server: layout, values, sizes, and the same bytes every time."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import published
from pixelwise.cli.app import run
from pixelwise.data.prepare import voc
from pixelwise.data.prepare.work import prepare
from pixelwise.labels import VOC_CLASSES, voc_palette
from pixelwise.pictures.images import read_labels
from pixelwise.predict import submission
from problems import told
from small_model import save_model

NAMES = ["2008_000006", "2008_000011", "2009_000001"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The pictures of the test server, as ``data prepare`` makes them."""
    files = published.voc(2012, {"test": NAMES}, NAMES)
    files[f"VOCdevkit/VOC2012/JPEGImages/{NAMES[1]}.jpg"] = published.photo("x", (33, 21))
    source = published.tar(files, tmp_path / "VOC2012test.tar")
    prepare(voc.RECORD, voc.plan, [source], tmp_path / "voc")
    return tmp_path / "voc"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    palette = tuple((i, i, i) for i in range(21))  # not VOC's: the archive has VOC's all the same
    options = {"classes": 21, "width": 1 / 16}
    path = tmp_path / "voc.safetensors"
    return save_model(path, options=options, classes=VOC_CLASSES, palette=palette)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}


def test_the_archive_is_what_the_development_kit_says(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["predict", str(model), str(data), "--split", "test", "-o", str(out), "--submission"]
    assert run([*command, "--save", "overlay", "--json"]) == 0
    archive = out / "submission.tar.gz"
    assert json.loads(capsys.readouterr().out)["submission"] == str(archive)
    found = members(archive)
    folder = "results/VOC2012/Segmentation/comp6_test_cls"
    assert list(found) == [f"{folder}/{name}.png" for name in NAMES]
    for name, content in zip(NAMES, found.values(), strict=True):
        picture, own = data / "images" / f"{name}.jpg", out / f"{name}.png"
        with Image.open(picture) as image:
            size = image.size
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "P", size)
            assert image.getpalette() == voc_palette().ravel().tolist()
            assert np.array_equal(np.asarray(image), read_labels(own))
            assert np.asarray(image).max() <= 20
    before = archive.read_bytes()
    assert run([*command, "--force"]) == 0
    assert archive.read_bytes() == before


def test_a_picture_that_fails_leaves_no_archive(data: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["predict", str(model), str(data), "--split", "test", "-o", str(out), "--submission"]
    assert run(command) == 0
    whole = (out / submission.NAME).read_bytes()
    picture = data / "images" / f"{NAMES[2]}.jpg"
    right = picture.read_bytes()
    picture.write_bytes(right[:200])
    assert run(command) == 1
    assert not (out / submission.NAME).exists()
    picture.write_bytes(right)
    assert run(command) == 0
    assert (out / submission.NAME).read_bytes() == whole


def test_maps_that_are_missing_or_of_other_classes_are_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{NAMES[0]}.png").write_bytes(published.label_png(np.full((4, 4), 21, np.uint8)))
    (line, other) = told(lambda: submission.write(out, NAMES))
    assert line == f"D031 {NAMES[1]} has no label map in {out}"
    assert other == f"D031 {NAMES[2]} has no label map in {out}"
    assert told(lambda: submission.write(out, NAMES[:1])) == [
        f"D012 {out / NAMES[0]}.png: value 21, expected class numbers of 0 to 20"
    ]
    assert not (out / submission.NAME).exists()


def test_what_is_not_a_whole_split_of_voc_is_refused_before_it_begins(tmp_path: Path) -> None:
    def refusal(classes: tuple[str, ...] = VOC_CLASSES, split: str = "test", shard: str = "1/1"):
        return told(lambda: submission.refuse_unfit(classes, split=split, shard=shard))

    submission.refuse_unfit(VOC_CLASSES, split="test", shard="1/1")
    whole = "U002 --submission packs a whole split, but there is"
    assert refusal(split="") == [f"{whole} none"]
    assert refusal(shard="1/2") == [f"{whole} --shard"]
    assert refusal(classes=("sky", "road")) == [
        "U002 --submission: the model has 2 classes (sky, road, ...), expected VOC's 21"
    ]


def test_the_year_is_that_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "VOC2011").mkdir()
    assert submission.year_of(tmp_path / "VOC2011") == "2011"
    assert submission.year_of(tmp_path) == "2012"
    (tmp_path / "dataset.json").write_text('{"source": "PASCAL VOC2011, of downloads"}')
    assert submission.year_of(tmp_path) == "2011"
