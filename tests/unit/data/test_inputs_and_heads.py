"""A picture of several files and several label maps; a new kind of label source is one class."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture, two_of_each
from pixelwise.cli.app import run
from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.preprocess import CAFFE, IMAGENET, PUBLISHED, Preprocess, joined, standard
from pixelwise.data.sample import Item
from pixelwise.data.scenes.write import make_scenes
from pixelwise.errors import UsageError
from pixelwise.labels import three_bands
from pixelwise.pictures.images import read_labels, resize
from problems import told


@dataclass(frozen=True)
class MapOfEachClass:
    """One binary map a class; the last one that is set wins, nothing set is void."""

    files: tuple[Path, ...]

    def read(self, class_map: ClassMap) -> np.ndarray:
        maps = [read_labels(path) > 0 for path in self.files]
        labels = np.full(maps[0].shape, 255, np.uint8)
        for i, mask in enumerate(maps):
            labels[mask] = i
        return labels


def test_a_label_source_of_another_kind_is_read_inspected_and_converted(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 6)
    dataset = open_dataset(root)

    def with_maps(item: Item) -> Item:
        labels = read_labels(item.files[1])
        places = tuple(root / "maps" / str(i) / f"{item.name}.png" for i in range(3))
        for i, path in enumerate(places):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((labels == i).astype(np.uint8)).save(path)
        return replace(item, labels={"labels": MapOfEachClass(places)})

    splits = {s: tuple(map(with_maps, items)) for s, items in dataset.splits.items()}
    other = replace(dataset, splits=splits)
    for item, twin in zip(dataset.all_items(), other.all_items(), strict=True):
        assert np.array_equal(other.read(twin).labels, dataset.read(item).labels)
    assert not inspect(other).problems
    assert other.fingerprint() != dataset.fingerprint()
    assert root / "maps" / "2" in {p.resolve() for p in other.folders}
    made = open_dataset(convert(other, tmp_path / "out"))
    for item in made.all_items():
        assert np.array_equal(made.read(item).labels, picture(int(item.name[1:]))[1])


def test_inputs_are_stacked_as_bands_and_heads_come_by_name(tmp_path: Path) -> None:
    dataset = open_dataset(two_of_each(tmp_path / "d"))
    assert (dataset.inputs, dataset.heads) == (("colour", "depth"), ("things", "shapes"))
    assert dataset.classes == ("a", "b", "c")
    assert dataset.class_maps["shapes"].classes == ("flat", "high")
    item = dataset.all_items()[2]
    image, labels = picture(2)
    sample = dataset.read(item)
    assert sample.image.shape == (40, 48, 4)
    assert np.array_equal(sample.image[..., :3], image)
    assert np.array_equal(sample.image[..., 3], image[..., 0].astype(np.uint16) * 200)
    assert np.array_equal(sample.labels, labels)
    assert list(sample.heads) == ["things", "shapes"]
    assert np.array_equal(sample.heads["shapes"], labels > 0)
    assert item.image.parent.name == "images"


def test_colours_beside_depth_are_those_of_8_bits_to_the_net_and_to_the_eye(tmp_path: Path) -> None:
    dataset = open_dataset(two_of_each(tmp_path / "d"))
    image = dataset.read(dataset.all_items()[2]).image
    assert image.dtype == np.uint16
    colour = picture(2)[0]
    shown = PUBLISHED["nyud-color-d"](image)
    assert np.array_equal(shown[:3], PUBLISHED["nyud-color"](colour))
    assert np.array_equal(three_bands(image), colour)
    apart = resize(image, (20, 24))[..., :3].astype(int) - resize(colour, (20, 24))
    assert abs(apart).max() <= 1  # Pillow rounds bytes after each of its two passes


def test_one_head_and_one_input_of_several_can_be_chosen(tmp_path: Path) -> None:
    dataset = open_dataset(two_of_each(tmp_path / "d"))
    shapes = dataset.using(inputs=["colour"], heads=["shapes"])
    assert shapes.classes == ("flat", "high")
    sample = shapes.read(shapes.all_items()[0])
    assert sample.image.shape == (40, 48, 3)
    assert np.array_equal(sample.labels, picture(0)[1] > 0)
    assert shapes.fingerprint() != dataset.fingerprint()
    with pytest.raises(UsageError, match=r"no head of .* is called `shape`"):
        dataset.using(heads=["shape"])
    with pytest.raises(UsageError, match=r"no input of .* is called `hha`"):
        dataset.using(inputs=["colour", "hha"])


def test_depth_alone_keeps_the_numbers_that_it_has_beside_colours(tmp_path: Path) -> None:
    both = open_dataset(two_of_each(tmp_path / "d"))
    item = both.all_items()[2]
    alone = both.using(inputs=["depth"]).read(item).image
    assert (alone.shape, alone.dtype) == ((40, 48, 1), np.uint16)
    assert np.array_equal(alone[..., 0], both.read(item).image[..., 3])
    Image.fromarray(picture(2)[0]).convert("L").save(item.inputs["colour"])
    grey = both.using(inputs=["colour"]).read(item).image
    assert grey.shape == (40, 48, 3)  # a grey photo is one all the same


def test_files_of_inputs_and_heads_must_be_there_and_of_one_size(tmp_path: Path) -> None:
    root = two_of_each(tmp_path / "d")
    (root / "depth/p1.png").unlink()
    (root / "shapes/p2.png").unlink()
    problems = told(lambda: open_dataset(root))
    assert [p[:4] for p in problems] == ["D031", "D031"]
    assert "depth/p1.*" in problems[0]
    assert "shapes/p2.*" in problems[1]
    for place in ("depth/p1.png", "shapes/p2.png"):
        Image.fromarray(np.zeros((9, 7), np.uint8)).save(root / place)
    dataset = open_dataset(root)
    for item, place in zip(
        dataset.all_items()[1:3], ("depth/p1.png", "shapes/p2.png"), strict=True
    ):
        (problem,) = told(partial(dataset.read, item))
        assert problem.startswith("D013")
        assert f"{place} is 9x7" in problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {"a b": "images"}}, "'a b' is no plain name"),
        ({"inputs": {"colour": "../images"}}, "'../images' is no plain name"),
        ({"inputs": ["images"]}, "inputs is ['images'], expected a value for each name"),
        ({"heads": {"things": {"folder": "labels"}}}, "head `things`: classes is missing"),
        ({"heads": {"things": {"classes": ["a"]}}}, "head `things`: folder is missing"),
        ({"inputs": {"things": "images"}}, "`things` is an input and a head"),
        ({"use": ["colour", "depth"]}, "`use` names no head"),
        ({"use": ["colour", "things", "hha"]}, "`use` names `hha`, which is neither"),
    ],
)
def test_a_description_that_cannot_be_meant_is_refused(
    tmp_path: Path, changes: dict, message: str
) -> None:
    (problem,) = told(lambda: open_dataset(two_of_each(tmp_path / "d", **changes)))
    assert problem.startswith("D034")
    assert message in problem


def test_conversion_keeps_inputs_and_heads(tmp_path: Path) -> None:
    dataset = open_dataset(two_of_each(tmp_path / "d"))
    again = open_dataset(convert(dataset, tmp_path / "out"))
    assert (again.inputs, again.heads) == (dataset.inputs, dataset.heads)
    assert again.class_maps["shapes"].classes == ("flat", "high")
    for item, twin in zip(dataset.all_items(), again.all_items(), strict=True):
        before, after = dataset.read(item), again.read(twin)
        assert np.array_equal(before.image, after.image)
        for head in dataset.heads:
            assert np.array_equal(before.heads[head], after.heads[head])


def test_made_scenes_offer_depth_and_geometry_and_use_neither(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "s", count=20, size=(24, 32))
    dataset = open_dataset(root)
    assert (dataset.inputs, dataset.heads) == (("image",), ("labels",))
    item = dataset.items("val")[0]
    sample = dataset.read(item)
    assert sample.image.shape == (24, 32, 3)
    assert len(dataset.classes) == 12
    more = dataset.using(inputs=["image", "depth"], heads=["labels", "geometry"])
    both = more.read(item)
    assert both.image.shape == (24, 32, 4)
    assert np.array_equal(both.image[..., :3], sample.image)
    assert np.array_equal(both.labels, sample.labels)
    with Image.open(root / "geometric" / f"{item.name}.png") as stored:
        assert np.array_equal(both.heads["geometry"], np.asarray(stored))
    again = open_dataset(convert(dataset, tmp_path / "out"))
    assert (again.inputs, again.heads) == (("image",), ("labels",))
    offered = again.using(inputs=["image", "depth"], heads=["labels", "geometry"])
    assert np.array_equal(offered.read(offered.items("val")[0]).image, both.image)


def test_what_was_described_before_is_described_in_the_same_words(tmp_path: Path) -> None:
    """Files of one input and one head are written and read as ever."""
    root = folder_set(tmp_path / "d", 4)
    (root / "classes.txt").write_text("a\nb\nc\n")
    assert run(["data", "convert", str(root), str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out/dataset.json").read_text())
    assert list(told) == ["classes", "palette", "ignore", "source"]
    assert told["classes"] == ["a", "b", "c"]
    assert numbered(told["classes"], told["palette"]) == open_dataset(tmp_path / "out").class_map


def test_inspection_and_statistics_tell_of_each_head(tmp_path: Path, capsys) -> None:
    root = two_of_each(tmp_path / "d")
    truth = [picture(i)[1] for i in range(6)]
    assert run(["data", "inspect", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == found["heads"]["things"]["classes"]
    flat, high = found["heads"]["shapes"]["classes"]
    assert sum(flat["pixels"].values()) == sum(int((t == 0).sum()) for t in truth)
    assert sum(high["pixels"].values()) == sum(int((t > 0).sum()) for t in truth)
    assert run(["data", "stats", str(root), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted["classes"] == counted["heads"]["things"]["classes"]
    shares = [c["share"] for c in counted["heads"]["shapes"]["classes"]]
    assert sum(shares) == pytest.approx(1)
    assert len(counted["mean"]) == 4
    for words in (["inspect"], ["stats"]):
        assert run(["data", *words, str(root)]) == 0
        assert "(head `shapes`)" in " ".join(capsys.readouterr().out.split())


def test_a_head_whose_labels_are_all_void_is_refused_by_its_name(tmp_path: Path) -> None:
    root = two_of_each(tmp_path / "d")
    for path in (root / "shapes").iterdir():
        Image.fromarray(np.full((40, 48), 7, np.uint8)).save(path)  # its void
    problems = [str(p) for p in inspect(open_dataset(root)).problems]
    assert len(problems) == 2  # train and val
    assert all("(head `shapes`) is void, expected labels" in p for p in problems)


def test_inputs_are_preprocessed_together_as_each_alone() -> None:
    """Turned colours, another scale, a logarithm: each part keeps its own."""
    rng = np.random.default_rng(0)
    depth = Preprocess("rgb", 1.0, (7.0,), (0.5,), "stored", log=(0,))
    parts = (IMAGENET, depth, CAFFE, standard([300.0, 20.0], [10.0, 2.0], "stored"))
    images = [rng.integers(1, 256, (5, 6, len(p.mean)), np.uint8) for p in parts]
    alone = np.concatenate([p(image) for p, image in zip(parts, images, strict=True)])
    stack = np.concatenate(images, axis=2).astype(np.uint16)
    together = joined(parts)
    np.testing.assert_allclose(together(stack), alone, rtol=1e-5, atol=1e-5)
    means = np.concatenate([p.mean_pixel() for p in parts])
    np.testing.assert_allclose(together.mean_pixel(), means, rtol=1e-12)
    assert joined([CAFFE]) is CAFFE
