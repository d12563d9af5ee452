"""What Datumaro, Supervisely and nnU-Net write, each as a miniature in its true form."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from make_data import picture
from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.labels import VOID
from pixelwise.pictures.outlines import Outline, paint
from problems import told


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def labels_of(root: Path, name: str) -> np.ndarray:
    dataset = open_dataset(root)
    return dataset.read(next(i for i in dataset.all_items() if i.name == name)).labels


# -- Datumaro --------------------------------------------------------------------------------
# As datumaro 1.13.12 wrote it (Dataset.export("datumaro")); masks are pycocotools' strings.
CAT = "T5`0h00000000000000000000000000000000000000000000000000\\f0"  # rows 4..19, columns 4..29
DOG = "Zi0d0d00000000000000000000000000000000000000f9"  # rows 10..29, columns 20..39
COW = [2.0, 25.0, 12.0, 25.0, 12.0, 35.0, 2.0, 35.0]


def datumaro_json(**changes: Any) -> str:
    plain = {"id": 0, "attributes": {}, "group": 0}
    cat = {**plain, "type": "mask", "label_id": 1, "rle": {"counts": CAT, "size": [40, 48]}}
    dog = {**plain, "type": "mask", "label_id": 2, "rle": {"counts": DOG, "size": [40, 48]}}
    annotations = [
        {**dog, "z_order": 1},
        {**cat, "z_order": 0},
        {**plain, "type": "polygon", "label_id": 3, "points": COW, "z_order": 2},
        {**plain, "type": "bbox", "label_id": 3, "bbox": [1, 2, 3, 4], "z_order": 0},
    ]
    listed = [
        {"name": n, "parent": "", "attributes": []} for n in ("background", "cat", "dog", "cow")
    ]
    image = {"path": "a.png", "size": [40, 48]}
    document = {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {"label": {"labels": listed, "label_groups": [], "attributes": []}},
        "items": [{"id": "a", "annotations": annotations, "attr": {"frame": 0}, "image": image}],
    }
    return json.dumps({**document, **changes})


def datumaro_set(root: Path, text: str = "", subsets: tuple[str, ...] = ("train", "val")) -> Path:
    (root / "annotations").mkdir(parents=True)
    for i, subset in enumerate(subsets):
        save(root / f"images/{subset}/a.png", picture(i)[0])
        (root / f"annotations/{subset}.json").write_text(text or datumaro_json())
    return root


def test_datumaro_is_painted_by_z_order(tmp_path: Path) -> None:
    root = datumaro_set(tmp_path / "d")
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == ("datumaro", ("background", "cat", "dog", "cow"))
    assert {s: [i.name for i in v] for s, v in dataset.splits.items()} == {
        "train": ["a"],
        "val": ["val_a"],
    }
    assert "annotations without area are left out: 2 of kind bbox" in dataset.notes
    expected = np.zeros((40, 48), np.uint8)
    expected[4:20, 4:30] = 1
    expected[10:30, 20:40] = 2
    expected[25:36, 2:13] = 3
    assert np.array_equal(labels_of(root, "a"), expected)
    assert not inspect(dataset).problems
    copy = convert(dataset, tmp_path / "copy")
    assert np.array_equal(labels_of(copy, "val_a"), expected)


def test_datumaros_default_subset_is_drawn_from(tmp_path: Path) -> None:
    dataset = open_dataset(datumaro_set(tmp_path / "d", subsets=("default",)))
    assert dataset.drawn
    assert "('default'" not in dataset.evidence
    assert [i.name for i in dataset.all_items()] == ["a"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"items": [{"id": "a"}, {"annotations": []}]}, "'annotations' is missing"),
        ({"categories": {"labels": []}}, "'label' is missing"),
        ({"items": [{"id": "a", "annotations": [3], "image": {}}]}, "of item a is no object"),
        ({"items": [{"id": "a", "annotations": []}]}, "there is no picture None"),
        (
            {"items": [{"annotations": [], "image": {"path": "../../a.png", "size": [4, 4]}}]},
            "there is no picture ../../a.png",
        ),
    ],
)
def test_a_malformed_datumaro_file_is_told(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    root = datumaro_set(tmp_path / "d", datumaro_json(**changes), ("train",))
    assert said in told(lambda: open_dataset(root))[0]


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"type": "polygon", "label_id": 9, "points": COW}, "label_id 9 is no class"),
        ({"type": "polygon", "label_id": 1, "points": [1, 2, 3]}, "an odd number"),
        ({"type": "mask", "label_id": 1}, "run lengths of size None"),
    ],
)
def test_a_malformed_datumaro_annotation_is_told(
    tmp_path: Path, annotation: dict[str, Any], said: str
) -> None:
    item = {"id": "a", "annotations": [annotation], "image": {"path": "a.png", "size": [40, 48]}}
    root = datumaro_set(tmp_path / "d", datumaro_json(items=[item]), ("train",))
    problem = told(lambda: labels_of(root, "a"))[0]
    assert problem.startswith(f"D034 {root}/annotations/train.json: ")
    assert said in problem


# -- Supervisely -----------------------------------------------------------------------------
def bitmap(mask: np.ndarray, mode: str = "P") -> str:
    """As Supervisely's SDK packs it (palette, index 0 transparent), or its page (RGBA)."""
    image, out = Image.fromarray(mask.astype(np.uint8)), io.BytesIO()
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(out, "PNG", transparency=0, optimize=0)
    else:
        layers = np.zeros((*mask.shape, 4), np.uint8)
        layers[mask] = 255
        Image.fromarray(layers).save(out, "PNG")
    return base64.b64encode(zlib.compress(out.getvalue())).decode()


def supervisely_set(root: Path, objects: list[Any], folders: tuple[str, ...] = ("ds1",)) -> Path:
    classes = [
        {"title": title, "shape": "any", "color": "#00FF00", "id": i, "hotkey": ""}
        for i, title in enumerate(("cell", "lumen", "bg"))
    ]
    root.mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for i, folder in enumerate(folders):
        save(root / folder / "img/a.png", picture(i)[0])
        (root / folder / "ann").mkdir()
        size = {"height": 40, "width": 48}
        said = {"description": "", "tags": [], "size": size, "objects": objects}
        (root / folder / "ann/a.png.json").write_text(json.dumps(said))
    return root


def square(y: int, x: int, side: int) -> list[list[int]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_supervisely_bitmaps_and_polygons_with_holes(tmp_path: Path, mode: str) -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:5, 2:7] = True
    polygon = {"exterior": square(2, 2, 20), "interior": [square(8, 8, 6)]}
    objects = [
        {"classTitle": "cell", "geometryType": "polygon", "points": polygon},
        {
            "classTitle": "lumen",
            "geometryType": "bitmap",
            "bitmap": {"origin": [30, 20], "data": bitmap(mask, mode)},
        },
    ]
    root = supervisely_set(tmp_path / "p", objects)
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == (
        "supervisely",
        ("background", "cell", "lumen", "bg"),
    )
    expected = np.zeros((40, 48), np.uint8)
    expected[2:23, 2:23] = 1
    expected[8:15, 8:15] = 0
    expected[21:25, 32:37] = 2
    assert np.array_equal(labels_of(root, "a"), expected)
    assert not inspect(dataset).problems
    assert np.array_equal(labels_of(convert(dataset, tmp_path / "copy"), "a"), expected)


def test_a_hole_shows_what_lies_below(tmp_path: Path) -> None:
    rings = tuple(tuple((float(x), float(y)) for x, y in square(*where)) for where in ((8, 8, 6),))
    below = Outline("rectangle", 1, ((0.0, 0.0), (30.0, 30.0)))
    outer = tuple((float(x), float(y)) for x, y in square(2, 2, 20))
    painted = paint((40, 48), [below, Outline("polygon", 2, outer, holes=rings)])
    assert painted[10, 10] == 1
    assert painted[4, 4] == 2
    assert painted[35, 35] == 0


def test_supervisely_folders_named_after_splits_are_splits(tmp_path: Path) -> None:
    dataset = open_dataset(supervisely_set(tmp_path / "p", [], ("train", "val")))
    assert {s: len(items) for s, items in dataset.splits.items()} == {"train": 1, "val": 1}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"classTitle": "cell", "geometryType": "bitmap"}, "object 0: 'bitmap'"),
        ({"classTitle": "cell", "geometryType": "graph"}, "geometryType `graph`, expected bitmap"),
        (
            {"classTitle": "x", "geometryType": "polygon", "points": {"exterior": square(1, 1, 5)}},
            "`x` names no class",
        ),
        (
            {
                "classTitle": "cell",
                "geometryType": "bitmap",
                "bitmap": {"origin": [0, 0], "data": "AAAA"},
            },
            "object 0: ",
        ),
    ],
)
def test_a_malformed_supervisely_object_is_told(tmp_path: Path, row: Any, said: str) -> None:
    root = supervisely_set(tmp_path / "p", [row])
    problem = told(lambda: labels_of(root, "a"))[0]
    assert f"{root}/ds1/ann/a.png.json: " in problem
    assert said in problem


def test_a_supervisely_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(2**24), 9)).decode()
    row = {"classTitle": "cell", "geometryType": "bitmap", "bitmap": {"origin": [0, 0]}}
    row["bitmap"]["data"] = bomb  # type: ignore[index]
    root = supervisely_set(tmp_path / "p", [row])
    assert "D020" in told(lambda: labels_of(root, "a"))[0]


# -- nnU-Net ---------------------------------------------------------------------------------
def nnunet_set(root: Path, channels: int = 1, **changes: Any) -> Path:
    names = {str(i): name for i, name in enumerate(("T2", "ADC map", "T1")[:channels])}
    said = {
        "channel_names": names,
        "labels": {"background": 0, "PZ": 1, "TZ": 2},
        "numTraining": 4,
        "file_ending": ".png",
        **changes,
    }
    root.mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(said))
    for i in range(6):
        image, labels = picture(i)
        part = "Tr" if i < 5 else "Ts"
        for channel in range(channels):
            grey = image if channels == 1 else image[..., channel]
            save(root / f"images{part}/case_{i:03}_{channel:04}.png", grey)
        if part == "Tr":
            save(root / f"labelsTr/case_{i:03}.png", labels)
    return root


def test_nnunet_one_channel_is_one_input(tmp_path: Path) -> None:
    root = nnunet_set(tmp_path / "Dataset005_x")
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == ("nnunet", ("background", "PZ", "TZ"))
    assert dataset.inputs == ("image",)
    assert dataset.drawn
    assert [i.name for i in dataset.splits["test"]] == ["case_005"]
    assert not dataset.splits["test"][0].labels
    assert np.array_equal(labels_of(root, "case_000"), picture(0)[1])
    assert not inspect(dataset).problems


def test_nnunet_channels_are_inputs_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = nnunet_set(tmp_path / "d", 3)
    dataset = open_dataset(root)
    assert dataset.inputs == ("T2", "ADC_map", "T1")
    sample = dataset.read(dataset.all_items()[0])
    assert np.array_equal(sample.image, picture(0)[0])
    assert run(["data", "inspect", str(root)]) == 0
    assert "T2, ADC_map, T1" in capsys.readouterr().out
    copy = open_dataset(convert(dataset, tmp_path / "copy"))
    assert copy.inputs == dataset.inputs
    assert np.array_equal(copy.read(copy.all_items()[0]).image, picture(0)[0])
    (root / "imagesTr/case_002_0001.png").unlink()
    assert told(lambda: open_dataset(root)) == [
        f"D031 {root}/imagesTr/case_002_0001.* has no partner, expected a channel `ADC_map`"
    ]


def test_nnunet_of_version_1_and_regions(tmp_path: Path) -> None:
    old = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "a", "2": "b"}}
    assert open_dataset(nnunet_set(tmp_path / "o", **old)).classes == ("background", "a", "b")
    labels = {"background": 0, "kidney": [1, 2], "tumor": 2, "ignore": 3}
    root = nnunet_set(tmp_path / "r", labels=labels, regions_class_order=[1, 2])
    dataset = open_dataset(root)
    assert dataset.classes == ("background", "kidney", "tumor")
    assert dataset.class_map.values == {0: 0, 1: 1, 2: 2, 3: VOID, 255: VOID}
    root = nnunet_set(tmp_path / "n", labels=labels)
    assert "regions without one" in told(lambda: open_dataset(root))[0]
    root = nnunet_set(tmp_path / "b", labels={"background": 0, "a": "1x"})
    assert "the label of `a` is no number" in told(lambda: open_dataset(root))[0]


def test_volumes_of_nnunet_are_refused_by_name(tmp_path: Path) -> None:
    root = nnunet_set(tmp_path / "d")
    for path in [*(root / "labelsTr").iterdir()]:
        path.rename(path.with_suffix(".nii.gz"))
    problem = f"D015 {root}/labelsTr/case_000.nii.gz: a volume, expected pictures"
    assert told(lambda: open_dataset(root)) == [problem]
