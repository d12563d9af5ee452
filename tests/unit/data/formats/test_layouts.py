"""Layouts are recognised by content; every problem of a listing is named with its file."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import camvid_set, folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.listing import write_splits
from pixelwise.errors import DataError, UsageError, raise_all
from pixelwise.labels import VOC_CLASSES, default_names, voc_palette
from pixelwise.pictures.images import write_labels
from problems import told


# -- what is recognised ----------------------------------------------------------------------
@pytest.mark.parametrize("labels", ["labels", "masks", "annotations", "gt", "mask"])
def test_pictures_beside_masks(tmp_path: Path, labels: str) -> None:
    dataset = open_dataset(folder_set(tmp_path / "d", labels=labels))
    assert dataset.layout == "folder"
    assert dataset.classes == ("class 0", "class 1", "class 2")
    assert {s: len(i) for s, i in dataset.splits.items()} == {"train": 7, "val": 1}
    sample = dataset.read(dataset.items("train")[0])
    image, labels_ = picture(int(sample.name[1:]))
    assert np.array_equal(sample.image, image)
    assert np.array_equal(sample.labels, labels_)


def test_a_drawn_split_depends_on_names_alone(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 20)
    before = [i.name for i in open_dataset(root).items("val")]
    assert before == [i.name for i in open_dataset(root).items("val")]
    for kind in ("images", "labels"):
        (root / kind / "another.png").write_bytes((root / kind / "p0.png").read_bytes())
    after = {i.name for i in open_dataset(root).items("val")}
    assert len(after & set(before)) >= 3


@pytest.mark.parametrize("layout", ["folder", "canonical", "voc"])
def test_a_split_that_was_drawn_and_written_is_read_back(tmp_path: Path, layout: str) -> None:
    """Dots in names are part of them; `data split` writes where its own layout reads."""
    root = tmp_path / "d"
    if layout == "voc":
        folder_set(root, 10, images="JPEGImages", labels="SegmentationClass")
        kinds = ("JPEGImages", "SegmentationClass")
    else:
        folder_set(root, 10)
        kinds = ("images", "labels")
    for kind in kinds:
        for path in (root / kind).iterdir():
            path.rename(path.with_name(f"a.{path.name[1:]}"))
    if layout == "canonical":
        (root / "dataset.json").write_text('{"classes": ["a", "b", "c"]}')
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.drawn) == (layout, True)
    assert run(["data", "split", str(root), "--seed", "3", "--held", "0.3"]) == 0
    dataset = open_dataset(root)
    assert not dataset.drawn
    assert {s: len(i) for s, i in dataset.splits.items()} == {"train": 7, "val": 3}
    assert run(["data", "split", str(root)]) == 2  # it has lists now


def test_one_picture_cannot_be_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_set(tmp_path / "d", 1)
    assert "there is no val" in open_dataset(root).notes[0]
    assert run(["data", "split", str(root)]) == 2
    told = capsys.readouterr().err  # in blocks, as the hint says how
    assert "parts one head of canonical data" in told
    assert f"pixelwise data convert {root} OUT" in told


@pytest.mark.parametrize("end", ["_mask", "-label", "_gt"])
def test_an_ending_that_all_label_maps_have_is_understood(tmp_path: Path, end: str) -> None:
    root = folder_set(tmp_path / "d", 3)
    for path in (root / "labels").iterdir():
        path.rename(path.with_name(f"{path.stem}{end}.png"))
    assert [i.name for i in open_dataset(root).all_items()] == ["p0", "p1", "p2"]
    (root / "labels" / f"p0{end}.png").rename(root / "labels" / "p0.png")
    assert [p[:4] for p in told(lambda: open_dataset(root))] == ["D031"] * 4


def test_an_empty_folder_is_told_as_such(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    assert told(lambda: open_dataset(tmp_path / "d")) == [
        f"D032 {tmp_path}/d/images holds no picture"
    ]
    assert open_dataset(tmp_path / "d", strict=False).notes == ()


def test_label_files_of_another_kind_are_one_problem(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    for path in [*(root / "labels").iterdir()]:
        path.unlink()
        path.with_suffix(".xml").write_text("<annotation/>")
    assert told(lambda: open_dataset(root)) == [
        f"D031 {root}/labels holds no label map (3 .xml), expected one for each picture"
    ]
    notes = open_dataset(root, strict=False).notes
    assert notes == ("not used: 3 .png in images/, 3 .xml in labels/",)


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    """Some systems put a ._NAME beside every file they copy."""
    root = folder_set(tmp_path / "d", 3)
    (root / "images" / "._p0.png").write_bytes(b"\0\5\x16\7")
    assert len(open_dataset(root).all_items()) == 3


def test_a_folder_that_fails_to_list_is_named(tmp_path, monkeypatch) -> None:
    folder_set(tmp_path, 2)

    def refused(path: Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)") as caught:
        open_dataset(tmp_path)
    assert caught.value.code == "D010"


def test_voc_needs_labels_only_for_listed_pictures(tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    folder_set(root, 3, images="JPEGImages", labels="SegmentationClass")
    Image.fromarray(picture(9)[0]).save(root / "JPEGImages" / "unlabelled.jpg")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("p0\np1\n")
    (lists / "val.txt").write_text("p2\n")
    dataset = open_dataset(root)
    assert dataset.layout == "voc"
    assert [i.name for i in dataset.items("val")] == ["p2"]
    (root / "classes.txt").write_text("roof\nroad\ntree\n")
    assert open_dataset(root).classes == ("roof", "road", "tree")
    assert open_dataset(root).notes == ("not used: 1 .jpg in JPEGImages/",)


def test_voc_folders_have_pascals_names_where_the_evidence_says_so(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "v", 3, images="JPEGImages", labels="SegmentationClass")
    assert open_dataset(root).classes == ("class 0", "class 1", "class 2")
    values = (np.arange(40 * 48).reshape(40, 48) // 45 % 21).astype(np.uint8)
    assert set(np.unique(values)) == {*range(21)}
    for i in range(3):
        write_labels(root / f"SegmentationClass/p{i}.png", values, voc_palette())
    assert open_dataset(root).classes == VOC_CLASSES
    write_labels(root / "SegmentationClass/p0.png", values, np.zeros((21, 3), np.uint8))
    assert open_dataset(root).classes == default_names(21)  # another palette: other classes
    for kind in ("JPEGImages", "SegmentationClass"):
        for i in range(3):
            (root / kind / f"p{i}.png").rename(root / kind / f"2007_00003{i}.png")
    dataset = open_dataset(root)
    assert dataset.classes == VOC_CLASSES
    assert "21 names of PASCAL VOC are meant (the label maps are called" in dataset.notes[0]


def test_conversion_keeps_every_label_and_opens_in_colour(tmp_path: Path) -> None:
    source = open_dataset(camvid_set(tmp_path / "c"))
    made = open_dataset(convert(source, tmp_path / "out"))
    assert made.layout == "canonical"
    assert made.classes == source.classes
    assert made.palette == source.palette
    assert made.splits.keys() == source.splits.keys()
    for item in source.all_items():
        twin = next(i for i in made.all_items() if i.name == item.name)
        assert np.array_equal(made.read(twin).labels, source.read(item).labels)
        with Image.open(twin.files[1]) as stored:
            assert stored.mode == "P"
            assert tuple(stored.getpalette()[3:6]) == source.palette[1]
    with pytest.raises(UsageError, match="not empty"):
        convert(source, tmp_path / "out")


def test_a_conversion_that_fails_tells_all_and_leaves_nothing(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 6)
    write_splits(root / "splits", {"train": [f"p{i}" for i in range(6)]})
    dataset = open_dataset(root)
    for i in (2, 4):
        Image.fromarray(np.zeros((9, 7), np.uint8)).save(root / f"labels/p{i}.png")
    for carry_out in (
        lambda: convert(dataset, tmp_path / "o"),
        lambda: raise_all(root, inspect(dataset, ["train"]).problems),
    ):
        problems = told(carry_out)
        assert [p[:4] for p in problems] == ["D013", "D013"]
        assert "p2.png is 40x48, its label map" in problems[0]
        assert "is 9x7 (HxW)" in problems[0]
    assert not (tmp_path / "o").exists()


# -- classes ---------------------------------------------------------------------------------
def two_valued(root: Path) -> Path:
    folder_set(root, 4)
    for path in (root / "labels").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8)).save(path)
    return root


def test_0_and_255_are_not_guessed(tmp_path: Path) -> None:
    root = two_valued(tmp_path / "d")
    problem = told(lambda: open_dataset(root))[0]
    assert "D012" in problem
    assert "0, 255: is 255 a class, or void?" in problem
    (root / "classes.json").write_text('{"classes": {"0": "membrane", "255": "cell"}}')
    dataset = open_dataset(root)
    assert dataset.classes == ("membrane", "cell")
    assert set(np.unique(dataset.read(dataset.items("train")[0]).labels)) == {0, 1}


@pytest.mark.parametrize("value", [2, 128, 254])
def test_0_and_another_mark_are_not_guessed(tmp_path: Path, value: int) -> None:
    root = folder_set(tmp_path / "d", 4)
    for path in (root / "labels").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values > 0, value, 0).astype(np.uint8)).save(path)
    assert f"0, {value}: which classes are they?" in told(lambda: open_dataset(root))[0]
    Image.fromarray(np.full_like(values, 1)).save(path)
    if value == 2:
        assert len(open_dataset(root).classes) == 3
    else:  # three levels far apart are no 129 or 255 classes
        problem = told(lambda: open_dataset(root))[0]
        assert f"0..1, {value}: which classes are they?" in problem


def test_a_small_part_of_many_classes_needs_no_question(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    for value, path in zip([0, 9, 20], sorted((root / "labels").iterdir()), strict=True):
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), value)).save(path)
    assert len(open_dataset(root).classes) == 21


@pytest.mark.parametrize("name", ["a.jpg", "a.v2.png", "a", "3.04\u202fPM", "a\u00a0b", "👩‍💻"])
def test_names_that_look_like_files_are_listed_and_found(tmp_path: Path, name: str) -> None:
    root = folder_set(tmp_path / "d", 4)
    for folder in ("images", "labels"):
        (root / folder / "p0.png").rename(root / folder / f"{name}.png")
    write_splits(root / "splits", {"train": [name, "p1"], "val": ["p2", "p3.png"]})
    dataset = open_dataset(root)
    assert [i.name for i in dataset.items("train")] == [name, "p1"]
    assert [i.name for i in dataset.items("val")] == ["p2", "p3"]
    again = open_dataset(convert(dataset, tmp_path / "out"))
    assert {s: [i.name for i in items] for s, items in again.splits.items()} == {
        s: [i.name for i in items] for s, items in dataset.splits.items()
    }


@pytest.mark.parametrize("name", ["a ", " a", "a\nb", "a\u2028b", "\udce9", ""])
def test_names_that_no_list_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot stand on a line of its own") as caught:
        write_splits(tmp_path / "splits", {"train": ["b"], "val": ["c", name]})
    assert caught.value.code == "D034"
    assert not (tmp_path / "splits").exists()


def test_a_conversion_that_could_not_be_listed_writes_nothing(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    for folder in ("images", "labels"):
        (root / folder / "p0.png").rename(root / folder / "p0 .png")
    with pytest.raises(DataError, match=r"out/splits/\w+\.txt: 'p0 ' cannot stand"):
        convert(open_dataset(root), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hidden_lists_are_no_splits(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    write_splits(root / "splits", {"train": ["p0", "p1"], "val": ["p2", "p3"]})
    (root / "splits/._train.txt").write_bytes(b"\0\5\x16\7")
    assert set(open_dataset(root).splits) == {"train", "val"}


def test_masks_in_colours(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    table = np.array([[0, 0, 0], [128, 0, 0], [9, 9, 9]], np.uint8)
    for path in (root / "labels").iterdir():
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    problem = told(lambda: open_dataset(root))[0]
    assert "D016" in problem
    assert "4 label maps (p0.png, ...): in 3 colours" in problem
    assert "#800000 (" in problem
    colours = {"colours": {"0,0,0": "ground", "128,0,0": "roof"}, "ignore": ["9,9,9"]}
    (root / "classes.json").write_text(json.dumps(colours))
    dataset = open_dataset(root)
    labels = dataset.read(dataset.items("train")[0]).labels
    number = int(dataset.items("train")[0].name[1:])
    assert np.array_equal(labels, np.where(picture(number)[1] == 2, 255, picture(number)[1]))


# -- what is refused -------------------------------------------------------------------------
def test_no_folder_and_no_layout(tmp_path: Path) -> None:
    assert told(lambda: open_dataset(tmp_path / "x"))[0].startswith("D010")
    (tmp_path / "notes.txt").write_text("hello")
    problem = told(lambda: open_dataset(tmp_path))[0]
    assert problem.startswith("D011")
    assert "notes.txt" in problem


def test_all_problems_of_a_listing_are_told_at_once(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 5)
    (root / "labels" / "p0.png").unlink()
    (root / "images" / "p1.png").unlink()
    Image.fromarray(picture(2)[0]).save(root / "images" / "P2.jpg")
    found = told(lambda: open_dataset(root))
    assert [f[:4] for f in found] == ["D030", "D031", "D031"]
    assert "P2.jpg" in found[0]
    assert any("p0.png" in f for f in found)
    assert any("p1.png" in f for f in found)


def test_conversion_into_the_source_is_refused(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    with pytest.raises(UsageError, match="lies inside"):
        convert(open_dataset(root), root / "images" / "new")
    assert not (root / "images" / "new").exists()


def test_lists_that_name_strange_things(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("p0\n../../etc/passwd\nnobody\n")
    (root / "splits" / "val.txt").write_text("\n")
    dataset = open_dataset(root)
    problems = told(lambda: dataset.items("train"))
    assert [p[:4] for p in problems] == ["D031", "D034"]
    assert "`nobody`" in problems[0]
    assert "../../etc/passwd" in problems[1]
    (empty,) = told(lambda: dataset.items("val"))
    assert empty.startswith("D032")
    assert "`val` is empty" in empty


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    dataset = open_dataset(folder_set(tmp_path / "d"))
    problem = told(lambda: dataset.items("test"))[0]
    assert "split `test` is empty or missing; there are: train (7), val (1)" in problem


@pytest.mark.parametrize("name", ["isbi2012", "ade20k_samples"])
def test_real_folders_of_others(real_data: Path, name: str) -> None:
    """0/255 masks are refused with a hint; index masks are read."""
    if name == "isbi2012":
        assert told(lambda: open_dataset(real_data / "misc" / name))[0].startswith("D012")
    else:
        dataset = open_dataset(real_data / "misc" / name)
        labels = dataset.read(dataset.all_items()[0]).labels
        assert labels[labels != 255].max() < 150


def test_fingerprints_tell_data_apart(tmp_path: Path) -> None:
    one, two = folder_set(tmp_path / "a", 4), folder_set(tmp_path / "b", 5)
    assert open_dataset(one).fingerprint() == open_dataset(one).fingerprint()
    assert open_dataset(one).fingerprint() != open_dataset(two).fingerprint()
    dataset = open_dataset(one)
    assert dataset.fingerprint("train") != dataset.fingerprint("val")
    assert dataset.fingerprint("train", "val") == dataset.fingerprint()
    before = dataset.fingerprint()
    Image.fromarray(picture(99)[0]).save(dataset.items("train")[0].image)
    assert dataset.fingerprint() != before


def test_more_than_255_classes_are_refused(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    (root / "classes.txt").write_text("".join(f"c{i}\n" for i in range(300)))
    with pytest.raises(DataError, match="300 classes, expected 1 to 255"):
        open_dataset(root)
