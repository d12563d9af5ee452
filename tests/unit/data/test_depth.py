"""HHA as an input that a data set has as depth only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import small_runs
from make_data import two_of_each
from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.dataset import DataSet
from pixelwise.data.depth import Depth
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.hha import Camera, hha
from pixelwise.data.inspect import inspect
from pixelwise.data.scenes.compose import scene
from pixelwise.data.scenes.write import make_scenes
from pixelwise.errors import DataError
from pixelwise.predict.model import Model, load
from problems import told

LENS = [60.0, 61.0, 24.5, 20.5]
OF_DEPTH = {"hha": {"of": "depth", "unit": 0.0005, "camera": LENS}}
USE = ["colour", "hha", "things"]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def data_set(root: Path, **changes: object) -> DataSet:
    return open_dataset(two_of_each(root, **({"computed": OF_DEPTH, "use": USE} | changes)))


def test_hha_is_computed_of_the_depth_beside_it(tmp_path: Path) -> None:
    dataset = data_set(tmp_path / "d")
    assert dataset.inputs == ("colour", "hha")
    assert not inspect(dataset).problems
    item = dataset.all_items()[2]
    image = dataset.read(item).image
    assert (image.shape, image.dtype) == ((40, 48, 6), np.uint8)
    depth = read(tmp_path / f"d/depth/{item.name}.png")
    assert np.array_equal(image[..., 3:], hha(depth, unit=0.0005, camera=Camera(*LENS)))
    alone = dataset.using(inputs=["hha"])
    assert np.array_equal(alone.image(item), image[..., 3:])
    both = dataset.using(inputs=["colour", "depth"]).image(item)
    assert np.array_equal(both[..., 3], depth)


def test_raw_depth_says_what_is_missing(tmp_path: Path) -> None:
    of_both = {"hha": {"of": "depth", "raw": "raw", "unit": 0.0005}}
    inputs = {"colour": "images", "depth": "depth", "raw": "raw"}
    root = two_of_each(tmp_path / "d", computed=of_both, use=USE, inputs=inputs)
    (root / "raw").mkdir()
    for path in (root / "depth").iterdir():
        values = read(path).copy()
        values[5:25, 8:30] = 0
        Image.fromarray(values).save(root / "raw" / path.name)
    dataset = open_dataset(root)
    item = dataset.all_items()[0]
    depth, raw = (read(root / kind / f"{item.name}.png") for kind in ("depth", "raw"))
    assert np.array_equal(dataset.image(item)[..., 3:], hha(depth, raw, unit=0.0005))
    (root / "raw" / f"{item.name}.png").unlink()
    assert "raw/p0.*" in told(lambda: open_dataset(root))[0]


def test_a_picture_without_the_depth_that_hha_needs_is_told(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "s", count=20, size=(24, 32))
    next(iter((root / "depth").iterdir())).unlink()
    (line,) = told(lambda: open_dataset(root).using(inputs=["hha"]))
    assert line.endswith("expected a picture for input `hha`, which is computed of `depth`")


def test_made_scenes_offer_hha_with_the_camera_of_each_picture(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "s", count=20, size=(24, 32))
    dataset = open_dataset(root).using(inputs=["image", "hha"])
    for item in dataset.all_items()[:3]:
        made = scene(0, int(item.name[-4:]), (24, 32))
        own = made.camera
        camera = Camera(own.fx, own.fy, own.cx + 1, own.cy + 1)  # pixels are counted from 1
        assert np.array_equal(dataset.image(item)[..., 3:], hha(made.depth, camera=camera))
    out = tmp_path / "hha"
    lens = ["--camera", str(root / "cameras.json")]
    assert run(["data", "hha", str(root / "depth"), "-o", str(out), *lens]) == 0
    for item in dataset.all_items():
        assert np.array_equal(read(out / f"{item.name}.png"), dataset.image(item)[..., 3:])
    cameras = json.loads((root / "cameras.json").read_text())
    (root / "cameras.json").write_text(json.dumps({"cameras": {}}))
    item = dataset.all_items()[0]
    (problem,) = told(lambda: open_dataset(root).using(inputs=["hha"]).image(item))
    assert f"cameras.json has no camera for `{item.name}`" in problem
    cameras["cameras"][item.name]["fx"] = 0
    (root / "cameras.json").write_text(json.dumps(cameras))
    assert open_dataset(root).inputs == ("image",)  # which need no cameras
    assert run(["data", "hha", str(root / "depth"), "-o", str(out), *lens, "--force"]) == 3


def test_what_is_computed_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    dataset = data_set(tmp_path / "d")
    other = {"hha": {**OF_DEPTH["hha"], "unit": 0.001}}
    assert data_set(tmp_path / "e", computed=other).fingerprint() != dataset.fingerprint()
    plain = data_set(tmp_path / "f", computed={}, use=["colour", "things"])
    assert dataset.using(inputs=["colour"]).fingerprint() == plain.fingerprint()


def test_conversion_writes_what_is_computed(tmp_path: Path) -> None:
    dataset = data_set(tmp_path / "d")
    again = open_dataset(convert(dataset, tmp_path / "out"))
    assert (again.inputs, dict(again.computed)) == (("colour", "hha"), {})
    for item, twin in zip(dataset.all_items(), again.all_items(), strict=True):
        assert np.array_equal(dataset.image(item), again.image(twin))
    assert "depth" in again.known_inputs


@pytest.mark.parametrize(
    ("computed", "message"),
    [
        ({"hha": {"of": "deep"}}, "`hha` is computed of `deep`, which is no input"),
        ({"hha": {"of": "depth", "raw": "r"}}, "`hha` is computed of `r`, which is no input"),
        ({"depth": {"of": "depth"}}, "`depth` is an input and computed"),
        ({"things": {"of": "depth"}}, "`things` is an input and a head"),
        ({"hha": {"of": "depth", "unit": 0}}, "unit is 0, expected more than 0"),
        ({"hha": {"of": "depth", "camera": [1, 2]}}, "camera is [1.0, 2.0], expected fx, fy, cx"),
        ({"hha": {"of": "depth", "camera": "../c.json"}}, "'../c.json' is no plain name"),
        ({"hha": {"of": "depth", "lens": 1}}, "lens"),
    ],
)
def test_senseless_descriptions_are_refused(tmp_path: Path, computed: dict, message: str) -> None:
    problem = told(lambda: data_set(tmp_path / "d", computed=computed, use=["colour", "things"]))[0]
    assert problem.startswith("D034")
    assert message in problem


def test_depth_in_another_unit_is_refused_by_name(tmp_path: Path) -> None:
    far = {"hha": {**OF_DEPTH["hha"], "unit": 1.0}}
    dataset = data_set(tmp_path / "d", computed=far)
    problems = inspect(dataset).problems
    assert len(problems) == 6
    assert "depth/p0.png: its median depth is" in str(problems[0])
    assert problems[0].code == "D019"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("depth") / "d"
    return two_of_each(place, computed=OF_DEPTH, use=USE)


@pytest.fixture(scope="module")
def model(root: Path) -> Model:
    place = root.parent / "run"
    assert (
        small_runs.train(root, place, "fusion=sum validate_every=2 batch=2", "--iterations", "2")
        == 0
    )
    return load(place, device="cpu")


def test_a_net_of_colour_and_hha_is_trained_on_depth_and_takes_it(root: Path, model: Model) -> None:
    dataset = open_dataset(root)
    item = dataset.items("val")[0]
    whole = model.predict(dataset.image(item), probabilities=True)
    colour, depth = (read(root / kind / f"{item.name}.png") for kind in ("images", "depth"))
    made = hha(depth, unit=0.0005, camera=Camera(*LENS))
    for given in (
        made,
        depth,
        root / f"depth/{item.name}.png",
        Depth(depth, dataset.computed["hha"], item.name),
    ):
        found = model.predict({"colour": colour, "hha": given}, probabilities=True)
        assert np.array_equal(found.probabilities, whole.probabilities)
    assert np.array_equal(whole.image[..., 3:], made)
    scores = model.evaluate(dataset, "val")
    assert len(scores.names) == len(dataset.items("val"))
    with pytest.raises(DataError, match="its median depth is") as caught:
        model.predict({"colour": colour, "hha": depth // 1000})
    assert caught.value.code == "D019"


def test_predict_takes_the_depth_of_a_split_or_of_a_folder(
    root: Path, model: Model, tmp_path: Path
) -> None:
    dataset = open_dataset(root)
    item = dataset.items("val")[0]
    expected = model.predict(dataset.image(item)).labels
    run_folder = str(root.parent / "run")
    split, folder = tmp_path / "split", tmp_path / "folder"
    assert run(["predict", run_folder, str(root), "--split", "val", "-o", str(split)]) == 0
    further = ["--input", f"hha={root / 'depth'}"]
    words = ["predict", run_folder, str(root / f"images/{item.name}.png"), *further]
    assert run([*words, "-o", str(folder)]) == 0
    for out in (split, folder):
        assert np.array_equal(read(out / f"{item.name}.png"), expected)


def test_raw_depth_and_the_cameras_of_a_split_count_in_predict(tmp_path: Path) -> None:
    scenes = make_scenes(tmp_path / "s", count=20, size=(24, 32))
    description = json.loads((scenes / "dataset.json").read_text())
    description["inputs"]["raw"] = "raw"
    description["computed"]["hha"]["raw"] = "raw"
    (scenes / "dataset.json").write_text(json.dumps(description))
    (scenes / "raw").mkdir()
    for path in (scenes / "depth").iterdir():
        Image.fromarray(np.where(np.arange(32) < 20, read(path), 0).astype(np.uint16)).save(
            scenes / "raw" / path.name
        )
    place = tmp_path / "run"
    assert small_runs.train(scenes, place, "inputs=hha validate_every=1", "--iterations", "1") == 0
    model, dataset = load(place, device="cpu"), open_dataset(scenes).using(inputs=["hha"])
    words = ["predict", str(place), str(scenes), "--split", "val", "-o", str(tmp_path / "out")]
    assert run(words) == 0
    for item in dataset.items("val"):
        expected = model.predict(dataset.image(item)).labels
        assert np.array_equal(read(tmp_path / f"out/{item.name}.png"), expected)
    before = (tmp_path / f"out/{item.name}.png").stat().st_mtime_ns
    assert run(words) == 0
    assert (tmp_path / f"out/{item.name}.png").stat().st_mtime_ns == before
    Image.fromarray(read(scenes / f"depth/{item.name}.png")).save(scenes / f"raw/{item.name}.png")
    assert run(words) == 0  # other raw depth is another picture
    assert (tmp_path / f"out/{item.name}.png").stat().st_mtime_ns != before


def test_depth_whose_camera_is_not_known_is_refused(tmp_path: Path) -> None:
    scenes = make_scenes(tmp_path / "s", count=20, size=(24, 32))
    place = tmp_path / "run"
    assert small_runs.train(scenes, place, "inputs=hha validate_every=1", "--iterations", "1") == 0
    model, dataset = load(place, device="cpu"), open_dataset(scenes).using(inputs=["hha"])
    item = dataset.items("val")[0]
    depth = read(scenes / f"depth/{item.name}.png")
    with pytest.raises(DataError, match="the camera of this depth is not known"):
        model.predict(depth)
    by_file = model.predict(Depth(depth, dataset.computed["hha"], item.name))
    assert np.array_equal(by_file.labels, model.predict(dataset.image(item)).labels)
