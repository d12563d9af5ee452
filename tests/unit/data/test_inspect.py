"""Everything that training would stumble over is found beforehand, and told at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.sample import Sample
from pixelwise.data.statistics import count, summarise
from problems import refusal, told
from tiff import write_tiff


def test_problems_of_the_listing_do_not_hide_those_in_the_files(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 6)
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    (root / "labels" / "p0.png").unlink()
    strange = picture(1)[1]
    strange[0, 0] = 9
    Image.fromarray(strange).save(root / "labels" / "p1.png")
    assert [p[:4] for p in told(lambda: open_dataset(root))] == ["D031"]
    dataset = open_dataset(root, strict=False)
    assert [p[:4] for p in refusal(dataset)] == [
        "D012",
        "D031",
    ]
    (root / "classes.txt").unlink()
    colours = np.stack([strange, 2 * strange, 3 * strange], axis=2)
    for name in ("p1", "p2"):
        Image.fromarray(colours).save(root / "labels" / f"{name}.png")
    found = told(lambda: open_dataset(root, strict=False))  # no classes can be concluded
    assert [p[:4] for p in found] == ["D016", "D031"]  # the two in colours are one question


def test_everything_inside_the_files_is_found_in_one_go(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 12)
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    images, labels = root / "images", root / "labels"
    strange = picture(0)[1]
    strange[3, 7] = 9
    Image.fromarray(strange).save(labels / "p0.png")
    Image.fromarray(picture(1)[1][:20]).save(labels / "p1.png")
    (images / "p2.png").write_bytes((images / "p2.png").read_bytes()[:200])
    (images / "p3.png").write_bytes(b"")
    (images / "p4.png").write_text("<html>not found</html>")
    Image.fromarray(picture(5)[0]).save(labels / "p5.png")  # colours
    (labels / "p6.png").unlink()
    Image.fromarray(picture(6)[1]).save(labels / "p6.jpg")  # lossy
    Image.fromarray(np.zeros((40, 48), np.float32)).save(images / "p7.tif")
    (images / "p7.png").unlink()
    found = refusal(open_dataset(root))
    assert [(f[:4], next(w for w in f.split() if "/p" in w).split("/")[-1][:2]) for f in found] == [
        ("D012", "p0"),
        ("D013", "p1"),
        ("D015", "p7"),
        ("D016", "p5"),
        ("D017", "p6"),
        ("D020", "p2"),
        ("D020", "p3"),
        ("D020", "p4"),
    ]
    assert "value 9 names no class (1 px, first at x=7 y=3; expected 0..2, 255)" in found[0]


def test_the_same_picture_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("p0\np1\n")
    (root / "splits" / "val.txt").write_text("p2\n")
    (root / "images" / "p2.png").write_bytes((root / "images" / "p1.png").read_bytes())
    found = [str(p) for p in inspect(open_dataset(root)).problems]
    assert len(found) == 1
    assert "p1.png (train)" in found[0]
    assert "p2.png (val)" in found[0]


def listed(root: Path, **splits: str) -> Path:
    """A folder of six pictures with lists of them: ``train="01"`` names p0 and p1."""
    folder_set(root, 6)
    (root / "splits").mkdir()
    for split, digits in splits.items():
        (root / "splits" / f"{split}.txt").write_text("".join(f"p{d}\n" for d in digits))
    return root


def test_trainval_may_hold_train_and_val_but_is_not_scored_on_them(tmp_path: Path) -> None:
    dataset = open_dataset(listed(tmp_path / "d", train="012", val="34", trainval="01234"))
    assert not inspect(dataset).problems
    assert not inspect(dataset, ["train", "val"]).problems
    problems = refusal(dataset, ["trainval", "val"])
    assert [p[:4] for p in problems] == ["D033", "D033"]
    assert "(trainval) and" in problems[0]


def test_a_split_without_any_label_is_refused(tmp_path: Path) -> None:
    """But a test split may be published without its labels."""
    root = listed(tmp_path / "d", train="012", val="34", test="5")
    blank = Image.fromarray(np.full((40, 48), 255, np.uint8))
    blank.save(root / "labels" / "p5.png")
    dataset = open_dataset(root)
    assert not inspect(dataset).problems
    for name in ("p3", "p4"):
        blank.save(root / "labels" / f"{name}.png")
    assert not inspect(dataset, ["train"]).problems
    problems = refusal(dataset)
    assert any(p.startswith("D032") and "every pixel of split `val` is void" in p for p in problems)


def test_absent_classes_and_empty_maps_are_warnings(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    (root / "classes.txt").write_text("red\ngreen\nblue\nnever\n")
    Image.fromarray(np.full((40, 48), 255, np.uint8)).save(root / "labels" / "p0.png")
    found = inspect(open_dataset(root))
    assert not found.problems
    assert "no pixel of `never` in split train" in found.warnings
    (root / "classes.txt").write_text("red\ngreen\nblue\n" + "".join(f"c{i}\n" for i in range(30)))
    told = [w for w in inspect(open_dataset(root)).warnings if "split train" in w]
    assert len(told) == 1
    assert told[0].endswith("`c9`, and 20 more in split train")
    assert "1 label maps are void everywhere: p0" in found.warnings


def test_mean_and_deviation_of_any_dtype_are_numpys_in_double_precision() -> None:
    """The second picture lies far from zero, where sums of float32 would lose the deviation."""
    rng = np.random.default_rng(0)
    for kind in (np.uint8, np.uint16, np.int16, np.float32):
        bands = [(rng.random((9, 11, 4)) * 100 + 20).astype(kind) for _ in range(3)]
        if kind != np.uint8:
            bands = [b + np.array(30000).astype(kind) for b in bands]
        labels = np.zeros((9, 11), np.uint8)
        counted = [count(Sample(str(i), b, {"labels": labels})) for i, b in enumerate(bands)]
        found = summarise({"labels": ("a",)}, counted)
        pixels = np.concatenate([b.reshape(-1, 4) for b in bands]).astype(np.float64)
        assert found.mean == pytest.approx(pixels.mean(0), rel=1e-12)
        assert found.std == pytest.approx(pixels.std(0), rel=1e-6)
        assert found.dtype == str(np.dtype(kind))


def test_pictures_of_other_bands_than_the_rest_are_told_with_two_files(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 6)
    four = np.dstack([picture(2)[0], picture(3)[0][..., 0]])
    (root / "images" / "p2.png").unlink()
    write_tiff(root / "images" / "p2.tif", four, 8, photometric=2, extra=(0,))
    dataset = open_dataset(root)
    problem, *others = refusal(dataset)
    assert not others
    assert problem.startswith("D018")
    assert "p2.tif has 4 bands of uint8" in problem
    assert ".png has 3 bands of uint8" in problem


def test_a_picture_is_known_by_its_content_and_one_that_cannot_be_read_is_told(
    tmp_path: Path,
) -> None:
    """``p1.jfif`` was said to be missing, and ``p2.heic`` likewise."""
    root = folder_set(tmp_path / "d", 6)
    images = root / "images"
    Image.fromarray(picture(1)[0]).save(images / "p1.jfif", "JPEG", quality=95)
    (images / "p1.png").unlink()
    (images / "p3.png").rename(images / "p3.photo")
    (images / "p2.png").unlink()
    (images / "p2.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (images / "notes.md").write_text("no picture")
    dataset = open_dataset(root)
    assert {i.image.name for i in dataset.all_items()} == {
        "p0.png", "p1.jfif", "p2.heic", "p3.photo", "p4.png", "p5.png"
    }  # fmt: skip
    (problem,) = inspect(dataset).problems
    assert problem.code == "D015"
    assert f"{images / 'p2.heic'}: a file in HEIC, which is not read" in str(problem)
    Image.fromarray(picture(2)[0]).save(images / "p2.png")
    assert inspect(open_dataset(root)).problems == ()


def test_lists_may_name_pictures_with_any_suffix(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    (root / "images" / "p1.png").rename(root / "images" / "p1.photo")
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("p0.png\np1.photo\np2\n")
    assert [i.name for i in open_dataset(root).splits["train"]] == ["p0", "p1", "p2"]


def test_unreadable_label_maps_hide_no_other_problem_where_no_file_names_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The label map was told alone, and the pictures after it was repaired."""
    root = folder_set(tmp_path / "d", 30)
    (root / "labels/p7.png").write_text("<html>")
    (root / "images/p8.png").write_bytes(b"")
    (root / "images/p9.png").write_bytes((root / "images/p9.png").read_bytes()[:300])
    assert [p[:4] for p in told(lambda: open_dataset(root))] == ["D020"]
    for words in (["data", "inspect"], ["train", "--net", "fcn8s-tiny", "-o", f"{tmp_path}/run"]):
        assert run([*words, str(root)]) == 3
        err = capsys.readouterr().err
        assert f"error D035: {root}: 3 problems" in err
        assert [err.count(f"p{i}.png: cannot be read") for i in (7, 8, 9)] == [1, 1, 1]
    assert not (tmp_path / "run").exists()
