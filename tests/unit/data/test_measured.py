"""Heads of numbers and of edges: declared, read, changed along with pictures, converted."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.measured import edges
from pixelwise.data.preprocess import standard
from pixelwise.data.sample import Sample
from pixelwise.data.scenes.write import make_scenes
from pixelwise.data.transforms import Augmentation, apply, collate, paste
from pixelwise.errors import UsageError
from pixelwise.nets import catalog
from pixelwise.nets.kinds import EDGE, Kind
from problems import told

NUMBERS = {"folder": "far", "kind": "numbers", "planes": ["metres"], "step": 0.5, "void": 0}


def with_numbers(root: Path, **changes) -> Path:
    """Six pictures with classes, and with numbers: the red band, in half metres."""
    folder_set(root, 6)
    (root / "far").mkdir()
    for i in range(6):
        Image.fromarray(picture(i)[0][..., 0].astype(np.uint16)).save(root / f"far/p{i}.png")
    heads = {"things": {"folder": "labels"}, "far": NUMBERS | changes}
    lines = {"classes": ["a", "b", "c"], "heads": heads}
    (root / "dataset.json").write_text(json.dumps(lines))
    return root


def test_numbers_are_counts_of_a_step_and_void_is_not_known(tmp_path: Path) -> None:
    dataset = open_dataset(with_numbers(tmp_path / "d"))
    assert dataset.heads == ("things", "far")
    far = dataset.read(dataset.all_items()[3]).heads["far"]
    counts = picture(3)[0][..., 0]
    assert (far.shape, far.dtype) == ((40, 48, 1), np.float32)
    assert np.array_equal(np.isnan(far[..., 0]), counts == 0)
    assert np.array_equal(np.nan_to_num(far[..., 0]), counts * 0.5)
    kind = dataset.class_maps["far"].kind
    assert (kind.kind, kind.step, kind.void) == ("numbers", 0.5, 0)
    assert not inspect(dataset).problems


def test_a_file_of_floats_has_nan_for_what_is_not_known(tmp_path: Path) -> None:
    root = with_numbers(tmp_path / "d", step=1, void=None)
    wanted = np.linspace(-3, 3, 40 * 48, dtype=np.float32).reshape(40, 48)
    wanted[5, 7] = np.nan
    (root / "far/p0.png").unlink()
    Image.fromarray(wanted).save(root / "far/p0.tiff")
    dataset = open_dataset(root)
    far = dataset.read(dataset.all_items()[0]).heads["far"]
    assert np.array_equal(far[..., 0], wanted, equal_nan=True)
    again = open_dataset(convert(dataset, tmp_path / "out"))
    twin = again.read(again.all_items()[0]).heads["far"]
    assert np.array_equal(twin, far, equal_nan=True)
    assert again.class_maps["far"] == dataset.class_maps["far"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "depth"}, "far"),
        ({"step": 0}, "step"),
        ({"planes": []}, "planes"),
        ({"planes": ["red", "green"]}, "holds 1 planes of numbers, expected red, green"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(
    tmp_path: Path, changes: dict, message: str
) -> None:
    root = with_numbers(tmp_path / "d", **changes)

    def read() -> None:
        dataset = open_dataset(root)
        dataset.read(dataset.all_items()[0])

    (problem,) = told(read)
    assert problem[:4] == ("D018" if "holds" in message else "D034")
    assert message in problem


def test_edges_lie_on_both_sides_and_void_spreads_by_a_pixel() -> None:
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 255]], np.uint8)
    n = np.nan
    wanted = [[0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, n], [0, 0, n, n]]
    assert np.array_equal(edges(labels)[..., 0], np.float32(wanted), equal_nan=True)
    mirrored = edges(labels[:, ::-1])[:, ::-1, 0]
    assert np.array_equal(mirrored, np.float32(wanted), equal_nan=True)


def test_every_data_set_offers_the_edges_of_its_first_head(tmp_path: Path) -> None:
    dataset = open_dataset(folder_set(tmp_path / "d", 6)).using(heads=["edges"])
    item = dataset.all_items()[4]
    assert np.array_equal(dataset.read(item).heads["edges"], edges(picture(4)[1]))
    assert dataset.class_maps["edges"].kind == EDGE
    assert not inspect(dataset).problems
    again = open_dataset(convert(dataset, tmp_path / "out"))
    assert again.heads == ("labels",)
    assert not (tmp_path / "out/edges").exists()


def test_numbers_move_with_the_picture_and_are_void_beyond_it() -> None:
    image = np.random.default_rng(0).integers(1, 255, (9, 11, 3), np.uint8)
    heads = {"labels": image[..., 0] % 3, "far": image[..., :1].astype(np.float32)}
    sample = Sample("s", image, heads)
    changed = apply(
        sample,
        Augmentation(jitter=3),
        np.random.default_rng(5),
        crop=(12, 12),
        fill=np.zeros(3),
    )
    far = changed.heads["far"][..., 0]
    assert np.isnan(far).any()
    assert np.array_equal(np.isnan(far), changed.labels == 255)
    assert np.array_equal(np.nan_to_num(far), changed.image[..., 0])
    onto = Sample("o", np.zeros_like(image), {"labels": heads["labels"] * 0, "far": far * 0})
    onto = Sample("o", onto.image, {"labels": onto.heads["labels"], "far": heads["far"] * 0})
    pasted = paste(onto, sample, [1])
    assert np.array_equal(
        pasted.heads["far"][..., 0], np.where(heads["labels"] == 1, image[..., 0], 0)
    )
    small = Sample("t", image[:5], {h: m[:5] for h, m in heads.items()})
    _, batch = collate([sample, small], standard([0.0] * 3, [1.0] * 3))
    assert batch["far"].shape == (2, 1, 9, 11)
    assert np.isnan(batch["far"][1, 0, 5:]).all()
    assert np.array_equal(batch["far"][1, 0, :5], heads["far"][:5, :, 0])


def test_made_scenes_have_their_distances_as_a_head(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "s", count=20, size=(24, 32))
    dataset = open_dataset(root).using(heads=["distance"], inputs=["image", "depth"])
    sample = dataset.read(dataset.items("val")[0])
    counts = sample.image[..., 3]
    assert np.array_equal(np.nan_to_num(sample.labels[..., 0]), counts * np.float32(0.001))
    assert np.array_equal(np.isnan(sample.labels[..., 0]), counts == 0)


def test_a_spec_has_the_kinds_of_its_heads_and_refuses_what_is_none() -> None:
    made = partial(catalog.spec, "fcn8s-tiny", heads={"sem": 3, "far": 1})
    net = made(kinds={"far": {"kind": "numbers", "centre": [4.0], "spread": [2.0]}})
    assert net.kind("far") == Kind("numbers", centre=(4.0,), spread=(2.0,))
    assert not net.kind("sem").measured
    for wrong in ("numbers", {"far": {"kind": "number"}}, {"far": {"spread": [0]}}):
        with pytest.raises(UsageError, match="kind"):
            made(kinds=wrong)
    scores = np.float32([[[0, 1], [-2, 3]]])
    assert np.array_equal(net.kind("far").numbers(scores)[..., 0], [[4, 6], [0, 10]])
    logs = Kind("numbers", log=True, centre=(1.0,), spread=(0.5,)).numbers(scores)
    assert logs[..., 0] == pytest.approx(np.exp([[1, 1.5], [0, 2.5]]))
    assert EDGE.numbers(scores)[..., 0] == pytest.approx(1 / (1 + np.exp(-scores[0])))
