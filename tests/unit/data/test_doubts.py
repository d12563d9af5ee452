"""Label maps whose values are no classes are asked about, and the answer is read."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError
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
    assert problem.startswith(f"D012 {root}: 3 label maps (p0.png, ...): ")
    assert "values 0 (" in problem
    assert "), 255 (" in problem
    for said in (answered(root), "0..127=background,128..255=object"):
        dataset = open_dataset(root, values=said)
        assert dataset.classes == ("background", "object")
        for i, item in enumerate(dataset.all_items()):
            drawn = np.array(Image.open(root / f"labels/p{i}.png"))
            assert np.array_equal(dataset.read(item).labels, drawn >= 128)


def answered(root: Path) -> str:
    """What the hint says in ``--values``."""
    with pytest.raises(DataError) as caught:
        open_dataset(root)
    words = shlex.split(caught.value.hint.partition(" (with")[0].rpartition("or ")[2])
    assert words[:4] == ["pixelwise", "data", "inspect", str(root)]
    return words[words.index("--values") + 1]


def test_numbers_of_objects_are_no_classes(tmp_path: Path) -> None:
    maps = [disks(count, count) for count in (9, 12, 16)]
    root = with_maps(tmp_path / "d", [Image.fromarray(labels) for labels in maps])
    (problem,) = told(lambda: open_dataset(root))
    assert "10 values, each on one piece of the map: numbers of objects, or classes?" in problem
    dataset = open_dataset(root, values=answered(root))
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
    assert answered(root) == "#0000c8=name0,#c80000=name1"
    dataset = open_dataset(root, values="#c80000=roof,#0000c8=water")
    for item in dataset.all_items():
        assert np.array_equal(dataset.read(item).labels, labels)


SHADES = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)


def four_classes(seed: int) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, 4, (5, 6)).astype(np.uint8)
    return np.kron(labels, np.ones((16, 16), np.uint8))


def test_masks_in_colours_are_one_question_for_all_files(tmp_path: Path) -> None:
    maps = [Image.fromarray(SHADES[four_classes(i)]) for i in range(5)]
    root = with_maps(tmp_path / "d", maps)
    (problem,) = told(lambda: open_dataset(root))
    assert "5 label maps (p0.png, ...): in 4 colours" in problem
    said = answered(root)
    assert said == "#000000=background,#008000=bicycle,#800000=aeroplane,#808000=bird"  # VOC's
    dataset = open_dataset(root, values=said.replace("=bird", "=void"))
    assert dataset.classes == ("background", "bicycle", "aeroplane")
    order = np.array([0, 2, 1, 255], np.uint8)
    for i, item in enumerate(dataset.all_items()):
        labels = dataset.class_map.read(item.files[1])
        assert np.array_equal(labels, order[four_classes(i)])


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize("grey", [False, True])
def test_masks_in_jpeg_are_read_by_the_nearest_level(
    tmp_path: Path, grey: bool, quality: int
) -> None:
    root = folder_set(tmp_path / "d", 4)
    for i in range(4):
        (root / f"labels/p{i}.png").unlink()
        labels = four_classes(i)
        drawn = Image.fromarray(labels * 85 if grey else SHADES[labels])
        drawn.save(root / f"labels/p{i}.jpg", quality=quality)
    (problem,) = told(lambda: open_dataset(root))
    assert problem.startswith(f"D017 {root}: 4 label maps (p0.jpg, ...): stored with lossy")
    said = answered(root)
    assert said.endswith(",*=nearest")
    names = [part.partition("=") for part in said.split(",")[:-1]]
    levels = [int(v) if grey else tuple(bytes.fromhex(v[1:])) for v, _, _ in names]
    truth = [0, 85, 170, 255] if grey else [tuple(shade) for shade in SHADES.tolist()]
    near = [min(truth, key=lambda t: np.abs(np.subtract(t, level)).max()) for level in levels]
    assert sorted(near) == sorted(truth)
    assert np.abs(np.subtract(near, levels)).max() <= 4
    class_map = open_dataset(root, values=said).class_map
    order = np.array([near.index(t) for t in truth], np.uint8)
    for i in range(4):
        path = root / f"labels/p{i}.jpg"
        right = class_map.read(path) == order[four_classes(i)]
        assert right.mean() > 0.97
        assert grey or class_map.moved(path) > 0  # blocks of grey fit JPEG's own of 8x8


def test_antialiased_colours_have_their_levels_told(tmp_path: Path) -> None:
    large = [Image.fromarray(SHADES[four_classes(i)]) for i in range(3)]
    soft = [image.rotate(5, resample=Image.Resampling.BICUBIC) for image in large]
    root = with_maps(tmp_path / "d", soft)
    (problem,) = told(lambda: open_dataset(root))
    assert "are levels and the others lie at edges, as in an antialiased mask" in problem
    assert answered(root) == (
        "#000000=background,#008000=bicycle,#800000=aeroplane,#808000=bird,*=nearest"
    )


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
