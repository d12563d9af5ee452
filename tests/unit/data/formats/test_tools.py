"""Layouts of labelling tools and published data sets, each as a miniature in its true form."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture
from pixelwise.data.convert import convert
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.runs import counts_of, mask_of
from pixelwise.data.sample import Item
from pixelwise.labels import VOID
from pixelwise.pictures.outlines import Outline, paint
from problems import told


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def by_name(dataset: DataSet) -> dict[str, Item]:
    return {item.name: item for item in dataset.all_items()}


def truth_of(dataset: DataSet, name: str) -> list[int]:
    return np.unique(dataset.read(by_name(dataset)[name]).labels).tolist()


def read_all(dataset: DataSet) -> None:
    for item in dataset.all_items():
        dataset.read(item)


def unproblematic(dataset: DataSet, out: Path) -> None:
    """It can be inspected, and what is written is read as it was."""
    assert not inspect(dataset).problems
    copy = open_dataset(convert(dataset, out))
    twins = by_name(copy)
    for item in dataset.all_items():
        assert np.array_equal(copy.read(twins[item.name]).labels, dataset.read(item).labels)


# -- outlines and run lengths ------------------------------------------------------------------
def test_outlines_are_painted_over_those_before_them() -> None:
    square = Outline("polygon", 3, ((1, 1), (3, 1), (3, 3), (1, 3)))
    dot = Outline("mask", 5, ((2, 2),), np.array([[True, False]]))
    expected = np.zeros((5, 6), np.uint8)
    expected[1:4, 1:4] = 3
    expected[2, 2] = 5
    assert paint((5, 6), [square, dot]).tolist() == expected.tolist()
    expected[2, 2] = 3
    assert paint((5, 6), [dot, square]).tolist() == expected.tolist()


def test_run_lengths_go_down_the_columns() -> None:
    rle = {"size": [2, 3], "counts": [1, 2, 3]}
    assert mask_of(rle, (2, 3)).tolist() == [[False, True, False], [True, False, False]]


def test_compressed_run_lengths_are_those_of_pycocotools() -> None:
    # pycocotools 2.0.11, mask.encode of a box with a hole, and of ones with a large hole.
    holed = np.zeros((40, 33), bool)
    holed[1:39, 1:31] = True
    holed[20, 16] = False
    text = "Y1V120000000000000000000000000000]OOO1d000000000000000000000000000_2"
    assert np.array_equal(mask_of({"size": [40, 33], "counts": text}, (40, 33)), holed)
    ring = np.ones((300, 200), bool)
    ring[100:250, 20:150] = False
    text = f"0dn5f4RVJ{'0' * 257}da>"
    assert np.array_equal(mask_of({"size": [300, 200], "counts": text}, (300, 200)), ring)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([1, 2], "fill 3 of 6"),
        ([-1, 7], "no whole numbers"),
        ([1e9], "no whole numbers"),
        ("8p", "strange letter"),
        ("8P", "within a number"),
        (None, "no whole numbers"),
    ],
)
def test_run_lengths_that_cannot_be_meant_are_refused(counts: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        mask_of({"size": [2, 3], "counts": counts}, (2, 3))


def test_a_negative_difference_of_run_lengths_is_read() -> None:
    assert counts_of("0") == [0]
    assert counts_of("5O") == [5, -1]  # 31 is 5 bits, all set


# -- labelme -----------------------------------------------------------------------------------
def labelme_json(*shapes: dict[str, Any], image: str = "a.png") -> str:
    size = {"imageHeight": 40, "imageWidth": 48}
    return json.dumps({"version": "5.4.1", "shapes": shapes, "imagePath": image, **size})


def shape(label: str, *points: tuple[float, float], kind: str = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, "group_id": None}


def labelme_set(root: Path) -> Path:
    box = ((4, 4), (20, 4), (20, 20), (4, 20))
    mask = io.BytesIO()
    Image.fromarray(np.ones((3, 2), bool)).save(mask, "PNG")
    drawn = shape("dog", (30, 30), (31, 32), kind="mask")
    drawn["mask"] = base64.b64encode(mask.getvalue()).decode()
    save(root / "a.png", picture(0)[0])
    save(root / "b.png", picture(1)[0])
    void = shape("__ignore__", (0, 0), (2, 1), kind="rectangle")
    (root / "a.json").write_text(labelme_json(shape("cat", *box), drawn, void))
    over = shape("dog", (4, 4), (8, 20), kind="rectangle")
    (root / "b.json").write_text(labelme_json(shape("cat", *box), over, image="..\\b.png"))
    return root


def test_labelme_outlines_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    dataset = open_dataset(labelme_set(tmp_path / "d"))
    assert (dataset.layout, dataset.classes) == ("labelme", ("background", "cat", "dog"))
    expected = np.zeros((40, 48), np.uint8)
    expected[4:21, 4:21] = 1
    expected[30:33, 30:32] = 2
    expected[0:2, 0:3] = VOID
    assert np.array_equal(dataset.read(by_name(dataset)["a"]).labels, expected)
    b = dataset.read(by_name(dataset)["b"]).labels
    assert b[10, 4:10].tolist() == [2, 2, 2, 2, 2, 1]
    unproblematic(dataset, tmp_path / "out")


def test_a_labelme_label_outside_the_class_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    root = labelme_set(tmp_path / "d")
    (root / "labels.txt").write_text("__ignore__\n_background_\ncat\n")
    dataset = open_dataset(root)
    assert dataset.classes == ("_background_", "cat")
    problem = told(lambda: dataset.read(by_name(dataset)["b"]))
    assert problem == [f"D012 {root}/b.json: `dog` names no class; expected _background_, cat"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (shape("cat", (1, 1), (2, 2)), "a polygon needs 3 points"),
        (shape("cat", (1, 1), (2, 2), (3, float("1e300"))), "a polygon needs 3 points"),
        (shape("cat", (1, 1), kind="cuboid"), "shape_type `cuboid`, expected polygon"),
        ({"label": "cat", "points": 7}, "a polygon needs 3 points"),
    ],
)
def test_a_malformed_shape_is_told_by_its_number(tmp_path: Path, bad: Any, reason: str) -> None:
    save(tmp_path / "a.png", picture(0)[0])
    (tmp_path / "a.json").write_text(labelme_json(bad))
    (problem,) = told(lambda: read_all(open_dataset(tmp_path)))
    assert problem.startswith(f"D034 {tmp_path}/a.json: shape 0 (`cat`): {reason}")


def test_labelme_coco_and_voc_exports_of_the_same_pictures_agree(real_data: Path) -> None:
    root = real_data / "misc/labelme/instance_segmentation"
    ours, coco, voc = (
        open_dataset(root / f"data_{name}") for name in ("annotated", "dataset_coco", "dataset_voc")
    )
    ids = [voc.classes.index("_background_" if n == "background" else n) for n in ours.classes]
    table = np.full(256, VOID, np.uint8)
    table[: len(ids)] = ids
    for name, item in by_name(voc).items():
        truth = voc.read(item).labels
        labelled = truth != VOID  # the COCO export leaves __ignore__ out
        outlined = table[ours.read(by_name(ours)[name]).labels]
        assert (outlined != truth).sum() <= 1  # their Pillow was another
        assert (coco.read(by_name(coco)[name]).labels != truth)[labelled].sum() <= 1


# -- COCO --------------------------------------------------------------------------------------
def coco_json(**changes: Any) -> str:
    box = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]]}
    column = {"size": [40, 48], "counts": [0, 40, 40 * 47]}
    runs = {"id": 2, "image_id": 7, "category_id": 9, "iscrowd": 1, "segmentation": column}
    return json.dumps(
        {
            "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 48}],
            "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
            "annotations": [box, runs],
            **changes,
        }
    )


def test_coco_polygons_and_run_lengths_are_read(tmp_path: Path) -> None:
    root = tmp_path / "d"
    save(root / "train2017/a.png", picture(0)[0])
    save(root / "val2017/a.png", picture(1)[0])
    save(root / "val2017/b.png", picture(1)[0])
    (root / "annotations").mkdir()
    (root / "annotations/instances_train2017.json").write_text(coco_json())
    image = {"id": 7, "file_name": "b.png", "height": 40, "width": 48}
    (root / "annotations/instances_val2017.json").write_text(coco_json(images=[image]))
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == ("coco", ("background", "cat", "dog"))
    assert {s: [i.name for i in items] for s, items in dataset.splits.items()} == {
        "train": ["a"],
        "val": ["b"],
    }
    expected = np.zeros((40, 48), np.uint8)
    expected[4:21, 4:21] = 1
    expected[:, 0] = 2
    assert np.array_equal(dataset.read(by_name(dataset)["a"]).labels, expected)
    unproblematic(dataset, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": [{"id": 7, "file_name": "../a.png"}]}, "D031 {}: there is no picture ../a.png"),
        ({"images": [{"id": [7]}]}, "D034 {}: `id` in `images` is missing or no whole number"),
        ({"categories": [{"id": 3, "name": "cat"}]}, "D034 {}: object 2 is of no category"),
        ({"annotations": {}}, "D034 {}: `annotations` is no list of objects"),
    ],
)
def test_a_malformed_coco_file_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    save(tmp_path / "a.png", picture(0)[0])
    root = tmp_path / "d"
    save(root / "a.png", picture(0)[0])
    text = coco_json(**changes)
    (root / "a.json").write_text(
        text.replace('"annotations": {}', '"annotations": 0, "segmentation": 0')
    )
    (problem,) = told(lambda: open_dataset(root))
    assert problem.startswith(reason.format(root / "a.json"))


# -- maps in colours and numbers of their own ----------------------------------------------------
def test_coco_pictures_of_one_stem_keep_their_own_objects(tmp_path: Path) -> None:
    root = tmp_path / "d"
    images = []
    for i, folder in enumerate(("day", "night")):
        save(root / f"images/{folder}/a.png", picture(i)[0])
        images.append({"id": i, "file_name": f"{folder}/a.png", "height": 40, "width": 48})
    box = [[4, 4, 20, 4, 20, 20, 4, 20]]
    objects = [{"id": 1, "image_id": 1, "category_id": 3, "segmentation": box}]
    (root / "a.json").write_text(coco_json(images=images, annotations=objects))
    dataset = open_dataset(root)
    assert [item.name for item in dataset.all_items()] == ["a", "night_a"]
    assert truth_of(dataset, "a") == [0]
    assert truth_of(dataset, "night_a") == [0, 1]
    twice = [*images, {**images[0], "id": 2}]
    (root / "a.json").write_text(coco_json(images=twice, annotations=objects))
    assert "images/day/a.png stands there twice" in told(lambda: open_dataset(root))[0]


def test_a_json_file_beyond_the_limit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "d/images/a.png", picture(0)[0])
    (tmp_path / "d/a.json").write_text(coco_json())
    monkeypatch.setattr("pixelwise.data.outlined.MAX_JSON", 100)
    assert told(lambda: open_dataset(tmp_path / "d"))[0].startswith("D022")
    (tmp_path / "d/a.json").write_text(json.dumps({"other": "x" * 200}))
    assert told(lambda: open_dataset(tmp_path / "d"))[0].startswith("D011")


def test_cvat_masks_are_read_by_the_colours_of_labelmap_txt(tmp_path: Path) -> None:
    root, colours = tmp_path / "d", np.array([[9, 9, 9], [200, 0, 0], [0, 0, 0]], np.uint8)
    for i in range(3):
        image, labels = picture(i)
        save(root / f"JPEGImages/p{i}.png", image)
        save(root / f"SegmentationClass/p{i}.png", colours[labels])
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:9,9,9::\nroof:200,0,0::\nvoid:0,0,0::\n"
    )
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == ("cvat", ("background", "roof"))
    labels = picture(0)[1]
    expected = np.where(labels == 2, VOID, labels)
    assert np.array_equal(dataset.read(by_name(dataset)["p0"]).labels, expected)
    unproblematic(dataset, tmp_path / "out")
    (root / "labelmap.txt").write_text("background\n")
    assert told(lambda: open_dataset(root)) == [
        f"D034 {root}/labelmap.txt: `background` has no colour"
    ]


def test_cityscapes_ids_become_its_19_classes(tmp_path: Path) -> None:
    root, name = tmp_path / "d", "aachen_000000_000019"
    for split, city in (("train", "aachen"), ("val", "ulm")):
        stem = name.replace("aachen", city)
        save(root / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png", picture(len(city))[0])
        ids = np.zeros((40, 48), np.uint8)
        ids[0, :5] = (7, 33, 6, 29, 255)
        save(root / f"gtFine/{split}/{city}/{stem}_gtFine_labelIds.png", ids)
    dataset = open_dataset(root)
    assert (dataset.layout, len(dataset.classes)) == ("cityscapes", 19)
    assert list(dataset.splits) == ["train", "val"]
    item = by_name(dataset)[name]
    assert item.group == "aachen_000000"
    assert dataset.read(item).labels[0, :6].tolist() == [0, 18, VOID, VOID, VOID, VOID]
    unproblematic(dataset, tmp_path / "out")
    for path in root.glob("gtFine/*/*/*_labelIds.png"):
        labels = np.array([[0, 18, VOID] * 16] * 40, np.uint8)
        save(path.with_name(path.name.replace("labelIds", "labelTrainIds")), labels)
    assert truth_of(open_dataset(root), name) == [0, 18, VOID]


def test_ade20k_0_is_void_and_1_is_wall(real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(real_data / "misc/ade20k_samples")
    assert (dataset.layout, len(dataset.classes)) == ("ade20k", 150)
    assert dataset.classes[:3] == ("wall", "building", "sky")
    item = by_name(dataset)["ADE_val_00000001"]
    raw = np.array(Image.open(item.files[1]))
    assert np.array_equal(dataset.read(item).labels, np.where(raw, raw - 1, VOID))
    unproblematic(dataset, tmp_path / "out")


def test_ade20k_names_that_stand_twice_are_told_apart(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3, labels="annotations")
    rows = "Idx\tRatio\tTrain\tVal\tName\n1\t.1\t1\t1\tdoor, gate\n2\t.1\t1\t1\tdoor\n"
    (root / "objectInfo150.txt").write_text(rows)
    assert open_dataset(root).classes == ("door, gate", "door")
    (root / "objectInfo150.txt").write_text(rows.replace("2\t", "3\t", 1))
    (problem,) = told(lambda: open_dataset(root))
    assert "its indices are not 1, 2, 3" in problem


def test_ultralytics_yaml_names_the_classes(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for split in ("train", "val"):
        for i in range(2):
            image, labels = picture(i + 5 * (split == "val"))
            save(root / f"images/{split}/{split}{i}.png", image)
            save(root / f"truth/{split}/{split}{i}.png", labels)
    text = "path: d\ntrain: images/train\nval: images/val\nmasks_dir: truth\nnames:\n"
    (root / "data.yaml").write_text(text + "  0: road\n  1: sky\n  2: car\n")
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == ("ultralytics", ("road", "sky", "car"))
    assert list(dataset.splits) == ["train", "val"]
    unproblematic(dataset, tmp_path / "out")
    (root / "data.yaml").write_text(
        text + "  0: road\n  1: sky\nlabel_mapping: {0: 1, 1: 0, 2: 255}\n"
    )
    assert truth_of(open_dataset(root), "train0") == [0, 1, VOID]
    (root / "data.yaml").write_text(text.replace("truth", "none") + "  0: road\n")
    assert "masks_dir is `none`" in told(lambda: open_dataset(root))[0]


def test_paddleseg_lists_pair_by_their_two_columns(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4, labels="truth")
    lines = [f"images/p{i}.png truth/p{i}.png" for i in range(4)]
    (root / "train.txt").write_text("\n".join(lines[:3]))
    (root / "val.txt").write_text(lines[3].replace(" ", "\t"))
    (root / "test.txt").write_text("images/p0.png\n")
    dataset = open_dataset(root)
    assert dataset.layout == "paddle"
    assert {s: len(items) for s, items in dataset.splits.items()} == {
        "test": 1,
        "train": 3,
        "val": 1,
    }
    assert truth_of(dataset, "p3") == [0, 1, 2]
    (root / "val.txt").write_text("images/p3.png truth/p9.png")
    (problem, _) = told(lambda: open_dataset(root).items("val"))
    assert problem == (
        f"D031 {root}/val.txt: `images/p3.png truth/p9.png`, expected a picture and a label map "
        f"of {root}"
    )


def test_one_mask_for_each_object_becomes_background_and_object(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for i in range(3):
        at = root / f"stage1_train/id{i}"
        save(at / f"images/id{i}.png", picture(i)[0])
        for j in range(2):
            mask = np.zeros((40, 48), np.uint8)
            mask[5 * j : 5 * j + 3, :4] = 255
            save(at / f"masks/{j}.png", mask)
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.classes) == ("objects", ("background", "object"))
    assert dataset.notes[0] == "6 masks of objects are joined: background and object"
    labels = dataset.read(by_name(dataset)["id0"]).labels
    assert labels.sum() == 24
    assert labels[5:8, :4].all()
    assert not inspect(dataset).problems
    save(root / "stage1_train/id0/masks/2.png", np.zeros((3, 3), np.uint8))
    assert told(lambda: read_all(open_dataset(root)))[0].startswith("D013")
