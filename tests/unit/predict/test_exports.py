"""Label maps for other tools, and back: what is read again equals what was predicted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.runs import counts_of, mask_of, runs_of, text_of
from pixelwise.errors import DataError, UsageError
from pixelwise.pictures.images import read_labels, text_in
from pixelwise.predict import exports
from pixelwise.predict import model as models
from pixelwise.predict.jobs import carry_out, plan
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.saving import Drawing
from predictions import predict
from small_model import CLASSES, HEADER, photo, save_model

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200))


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    for i, name in enumerate(("a/x.jpg", "b/x.png", "y.png")):
        photo(tmp_path / "in" / name, seed=i)
    turned = Image.open(tmp_path / "in/a/x.jpg")
    exif = Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "in/turned.jpg", exif=exif)
    return tmp_path / "in"


def by_name(folder: Path, names: list[str]) -> dict[str, np.ndarray]:
    return {exports.flat(name): read_labels(folder / f"{name}.png") for name in names}


@pytest.mark.parametrize("kind", ["labelme", "cvat"])
@pytest.mark.parametrize("classes", [CLASSES, ("background", "road", "sky")])
def test_exports_come_back_through_convert_as_they_were(
    nested: Path, tmp_path: Path, kind: str, classes: tuple[str, ...]
) -> None:
    model = models.load(save_model(tmp_path / "m.safetensors", classes=classes, palette=PALETTE))
    out = tmp_path / "out"
    predict(model, nested, out, f"labels,{kind}")
    expected = by_name(out, ["a/x", "b/x", "y", "turned"])
    dataset = open_dataset(out / kind)
    assert (dataset.layout, dataset.classes) == (kind, classes)
    convert(dataset, tmp_path / "back")
    for name, labels in expected.items():
        assert np.array_equal(read_labels(tmp_path / f"back/labels/{name}.png"), labels)
    seen = {item.name: dataset.image(item) for item in dataset.all_items()}
    assert np.array_equal(seen["turned"], model.image(nested / "turned.jpg"))
    original = {p.stem: p for p in (tmp_path / "back/images").iterdir()}["a__x"]
    assert original.read_bytes() == (nested / "a/x.jpg").read_bytes()


def test_background_at_the_border_needs_no_shape_and_inside_has_one() -> None:
    labels = np.zeros((7, 7), np.uint8)
    labels[1:6, 1:6] = 1
    labels[2:5, 2:5] = 0
    labels[3, 3] = 2
    made = Prediction(np.zeros((7, 7, 3), np.uint8), labels, ("background", "a", "b"), PALETTE)
    shapes = json.loads(exports.labelme(made, "x.png"))["shapes"]
    assert [(s["label"], len(s["points"])) for s in shapes] == [
        ("a", 4),
        ("background", 4),
        ("b", 3),
    ]
    assert shapes[0]["points"][0] in ([1.5, 1.5], [5.5, 1.5], [5.5, 5.5], [1.5, 5.5])


def test_geojson_has_a_polygon_for_each_region_and_all_pixels(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    predict(model, photos / "p0.png", tmp_path / "out", "labels,polygons")
    whole = json.loads((tmp_path / "out/p0.geojson").read_text("utf-8"))
    labels = read_labels(tmp_path / "out/p0.png")
    counts = dict.fromkeys(CLASSES, 0)
    for feature in whole["features"]:
        told, rings = feature["properties"], feature["geometry"]["coordinates"]
        counts[told["class"]] += told["pixels"]
        assert told["classification"]["color"] == list(HEADER.palette[told["id"]])
        assert all(ring[0] == ring[-1] and len(ring) >= 5 for ring in rings)
    assert counts == {name: int((labels == i).sum()) for i, name in enumerate(CLASSES)}


def test_run_lengths_by_hand_and_back() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)
    assert runs_of(mask) == [2, 3, 1]
    assert runs_of(~mask) == [0, 2, 3, 1]
    assert text_of([2, 3, 1]) == "231"
    rng = np.random.default_rng(0)
    for size in ((1, 1), (3, 70), (90, 80)):
        noise = rng.random(size) < rng.random()
        noise[: size[0] // 2] = True
        text = text_of(runs_of(noise))
        assert counts_of(text) == runs_of(noise)
        assert np.array_equal(mask_of({"size": list(size), "counts": text}, size), noise)


def test_coco_beside_the_pictures_is_read_as_it_was_predicted(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    predict(model, photos, tmp_path / "out", "coco")
    with pytest.raises(DataError, match=r"coco.json: lies among predictions"):
        open_dataset(tmp_path / "out").items("train")
    (tmp_path / "out/coco.json").rename(photos / "coco.json")
    (photos / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    dataset = open_dataset(photos)
    assert dataset.layout == "coco"
    for item in dataset.all_items():
        made = read_labels(tmp_path / f"out/{item.name}.png")
        assert np.array_equal(dataset.read(item).labels, made)


def test_areas_are_those_of_the_label_maps_that_lie_there(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out, drawing = tmp_path / "out", Drawing(pixel=(0.5, "um"))
    work = plan([str(photos)], out, save="areas")
    carry_out(work, model, drawing=drawing)
    corrected = read_labels(out / "p1.png")
    corrected[:10] = 255
    Image.fromarray(corrected).save(out / "p1.png")
    done = carry_out(work, model, drawing=drawing)
    assert (done.skipped, len(done.kept)) == (2, 1)
    assert done.summaries == [str(out / "areas.csv")]
    rows = list(csv.DictReader((out / "areas.csv").read_text("utf-8").splitlines()))
    assert [*rows[0]] == ["picture", "class", "pixels", "share", "area_um2"]
    pixels = {(r["picture"], r["class"]): int(r["pixels"]) for r in rows}
    assert pixels["p1", "void"] == 560
    for i in range(3):
        labels = read_labels(out / f"p{i}.png")
        for value, name in enumerate(CLASSES):
            assert pixels.get((f"p{i}", name), 0) == (labels == value).sum()
    row = next(r for r in rows if (r["picture"], r["class"]) == ("p1", "void"))
    assert (float(row["area_um2"]), float(row["share"])) == (140.0, 0.25)


def test_a_contact_sheet_holds_a_bounded_number_of_pictures(
    model: models.Model, tmp_path: Path
) -> None:
    for i in range(11):
        photo(tmp_path / f"in/{i:02}.png", size=(20 + i % 2, 30), seed=i)
    predict(model, tmp_path / "in", tmp_path / "few", "sheet")
    with Image.open(tmp_path / "few/sheet.jpg") as few:
        width, height = few.size
    assert width > 8 * 240
    assert 2 * 160 < height < 2 * 220
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pixelwise.predict.summaries.SHOWN", 3)
        predict(model, tmp_path / "in", tmp_path / "bounded", "sheet")
    with Image.open(tmp_path / "bounded/sheet.jpg") as bounded:
        assert bounded.height < 220
        assert bounded.width < 4 * 260


def test_overlays_are_drawn_as_asked_and_not_mixed_with_others(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "out", plan([str(photos / "p0.png")], tmp_path / "out", save="labels")
    drawing = Drawing(1.0, ("wall",), {"floor": (1, 2, 3)})
    carry_out(work, model, drawing=drawing)
    assert model.coloured(drawing.colours).palette[2] == (1, 2, 3)
    with Image.open(out / "p0.png") as image:
        assert image.getpalette()[6:9] == [1, 2, 3]
    made = model.coloured(drawing.colours).predict(photos / "p0.png")
    overlay = drawing.overlay(made)[: made.labels.shape[0], : made.labels.shape[1]]
    assert np.array_equal(overlay[made.labels == 0], made.image[made.labels == 0])
    assert (overlay[made.labels == 2] == (1, 2, 3)).all()
    with pytest.raises(UsageError, match=r"look was .*floor.*, is None"):
        carry_out(work, model)
    assert carry_out(work, model, drawing=drawing).skipped == 1
    for wrong in (Drawing(untinted=("roof",)), Drawing(colours={"roof": (0, 0, 0)})):
        with pytest.raises(UsageError, match="no class"):
            carry_out(work, model, drawing=wrong)
    with pytest.raises(UsageError, match="expected 0 to 1"):
        Drawing(1.5)


def test_the_command_draws_and_measures_as_asked(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    colours = tmp_path / "my.json"
    colours.write_text('{"colours": {"#0a0b0c": "floor"}}')
    words = ["predict", str(model.path), str(photos), "-o", str(tmp_path / "out")]
    drawn = ["--strength", "0.9", "--untinted", "door", "--colours", str(colours)]
    assert run([*words, *drawn, "--pixel-size", "2 m", "--threads", "1"]) == 0  # areas by itself
    look = json.loads((tmp_path / "out/manifest.json").read_text("utf-8"))["look"]
    assert look == {"strength": 0.9, "untinted": ["tür, door"], "colours": {"floor": [10, 11, 12]}}
    first, row, *_ = (tmp_path / "out/areas.csv").read_text("utf-8").splitlines()
    assert first.endswith("area_m2")
    assert float(row.split(",")[-1]) == 4 * int(row.split(",")[-3])
    assert run([*words, "--pixel-size", "small"]) == 2
    colours.write_text('{"colours": {"#0a0b0c": "roof"}}')
    assert run([*words, "--colours", str(colours)]) == 2


def test_pictures_name_the_model_and_the_classes(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    predict(model, photos / "p0.png", tmp_path / "out")
    text = text_in(tmp_path / "out/p0.png")
    assert json.loads(text["classes"]) == list(CLASSES)
    with Image.open(tmp_path / "out/p0_overlay.jpg") as image:
        assert json.loads(image.getexif()[270]) == text
    assert text["model"] == model.header.sha256


def test_names_that_exports_would_mix_are_refused(tmp_path: Path, model: models.Model) -> None:
    photo(tmp_path / "in/a/b.png")
    photo(tmp_path / "in/a__b.png")
    with pytest.raises(DataError, match="both be exported as a__b"):
        plan([str(tmp_path / "in")], tmp_path / "out", save="cvat")
    photo(tmp_path / "other/labelme/b.png")
    with pytest.raises(DataError, match="outputs of `labelme` would lie"):
        predict(model, tmp_path / "other", tmp_path / "out", "labelme")
