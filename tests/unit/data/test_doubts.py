"""Label maps whose values are no classes are asked about, and the answer is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set
from pixelwise.data.formats.layouts import open_dataset
from problems import told


def with_maps(root: Path, maps: list[Image.Image]) -> Path:
    folder_set(root, len(maps))
    for i, image in enumerate(maps):
        image.save(root / f"labels/p{i}.png")
    return root


def soft(angle: float) -> Image.Image:
    mask = np.zeros((40, 48), np.uint8)
    mask[10:30, 12:36] = 255
    large = Image.fromarray(mask).resize((192, 160), Image.Resampling.NEAREST)
    turned = large.rotate(angle, resample=Image.Resampling.BICUBIC)
    return turned.resize((48, 40), Image.Resampling.LANCZOS)


def disks(count: int, seed: int) -> np.ndarray:
    rows, columns = np.mgrid[:40, :48]
    labels = np.zeros((40, 48), np.uint16)
    rng = np.random.default_rng(seed)
    for i in range(count):
        y, x = 5 + 10 * (i // 4), 6 + 12 * (i % 4)
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= rng.integers(5, 20)] = i + 1
    return labels


def test_antialiased_masks_are_asked_about_and_cut_half_way(tmp_path: Path) -> None:
    root = with_maps(tmp_path / "d", [soft(7), soft(11), soft(15)])
    (problem,) = told(lambda: open_dataset(root))
    assert problem.startswith(f"D012 {root}/labels/p0.png: ")
    assert "57 values, of which 0 (67%), 255 (18%) are levels" in problem
    answer = {"0..127": "background", "128..65535": "object"}
    assert json.dumps(answer) in hint_of(root)
    (root / "classes.json").write_text(json.dumps({"classes": answer, "ignore": []}))
    dataset = open_dataset(root)
    for i, item in enumerate(dataset.all_items()):
        drawn = np.array(Image.open(root / f"labels/p{i}.png"))
        assert np.array_equal(dataset.read(item).labels, drawn >= 128)


def hint_of(root: Path) -> str:
    with pytest.raises(ValueError, match="p0") as caught:
        open_dataset(root)
    return str(getattr(caught.value, "hint", ""))


def test_numbers_of_objects_are_no_classes(tmp_path: Path) -> None:
    maps = [disks(count, count) for count in (9, 12, 16)]
    root = with_maps(tmp_path / "d", [Image.fromarray(labels) for labels in maps])
    (problem,) = told(lambda: open_dataset(root))
    assert "10 values, each on one piece of the map: numbers of objects, or classes?" in problem
    answer = {"0": "background", "1..65535": "object"}
    assert json.dumps(answer) in hint_of(root)
    (root / "classes.json").write_text(json.dumps({"classes": answer, "ignore": []}))
    dataset = open_dataset(root)
    for labels, item in zip(maps, dataset.all_items(), strict=True):
        assert np.array_equal(dataset.read(item).labels, labels > 0)


def test_real_numbers_of_objects_are_asked_about(real_data: Path, tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 1)
    source = real_data / "misc/tiff16_instances"
    mask = next(p for p in sorted(source.iterdir()) if "mask" in p.name)
    (root / "labels/p0.png").unlink()
    (root / "labels/p0.tif").write_bytes(mask.read_bytes())
    assert "126 values, each on one piece" in told(lambda: open_dataset(root))[0]


def test_many_classes_in_several_pieces_are_read_as_classes(tmp_path: Path) -> None:
    labels = np.kron(np.random.default_rng(0).integers(0, 12, (10, 12)), np.ones((4, 4)))
    root = with_maps(tmp_path / "d", [Image.fromarray(labels.astype(np.uint8))] * 2)
    assert len(open_dataset(root).classes) == 12


def test_palettes_that_contradict_each_other_are_told_with_two_files(tmp_path: Path) -> None:
    labels = np.zeros((40, 48), np.uint8)
    labels[:9] = 1
    maps = []
    for palette, values in ([[200, 0, 0, 0, 0, 200], labels], [[0, 0, 200, 200, 0, 0], 1 - labels]):
        image = Image.fromarray(np.array(values, np.uint8))
        image.putpalette(palette)
        maps.append(image)
    root = with_maps(tmp_path / "d", maps)
    (problem,) = told(lambda: open_dataset(root))
    assert problem == (
        f"D012 colour (200,0,0) is 1 in {root}/labels/p1.png and 0 in {root}/labels/p0.png: are "
        "colours meant, or numbers?"
    )
    colours = {"200,0,0": "roof", "0,0,200": "water"}
    (root / "classes.json").write_text(json.dumps({"colours": colours}))
    dataset = open_dataset(root)
    for item in dataset.all_items():
        assert np.array_equal(dataset.read(item).labels, labels)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("5..3", "`5..3` ends before it begins"),
        ("1..70000", "`1..70000` ends beyond 65535"),
        ("0..4", "`0..4` holds 0, which stands there already"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(tmp_path: Path, key: str, reason: str) -> None:
    root = folder_set(tmp_path / "d", 2)
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "a", key: "b"}}))
    assert reason in told(lambda: open_dataset(root))[0]
