"""SIFT Flow from a miniature of its archive: two heads, void, what is not annotated."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import published
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.prepare import siftflow
from pixelwise.data.prepare.work import prepare
from pixelwise.errors import DataError
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from problems import told

NAMES = ["coast_natu975", "forest_for121", "insidecity_art947", "street_bost64", "tallbuilding_a9"]
TEST = NAMES[::3]
ABSENT = ("cow", "desert", "moon")  # of the test pictures, classes.txt of the release


def numbers(name: str, head: str) -> np.ndarray:
    """As in the archive: 0 to 33, or -1 and 1 to 3; in MATLAB's doubles, or in 16 bits."""
    rng = np.random.default_rng([*name.encode(), len(head), head == "geo"])
    if head == "geo":
        return rng.choice([-1, 1, 2, 3], published.SIZE).astype(np.int16)
    return rng.integers(0, 34, published.SIZE).astype(np.float64)


def layer(raw: np.ndarray) -> np.ndarray:
    """What the released layer makes of them (siftflow_layers.py)."""
    label = raw.copy()
    label[label == -1] = 0
    return label.astype(np.uint8) - np.uint8(1)


def mat(raw: np.ndarray, key: str = "S") -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {key: raw, "names": np.array(["x"], object)}, do_compression=True)
    return buffer.getvalue()


def files(**changed: bytes) -> dict[str, bytes]:
    """Path in the archive to content; two pictures are not annotated."""
    home, made = f"SiftFlowDataset/{{}}/{siftflow.SCENES}/{{}}", {}
    for name in (*NAMES, *siftflow.UNANNOTATED):
        made[home.format("Images", f"{name}.jpg")] = published.photo(name)
    for name in NAMES:
        for head, folder in siftflow.FOLDERS.items():
            made[home.format(folder, f"{name}.mat")] = mat(numbers(name, head))
    windows = "".join(f"{siftflow.SCENES}\\{name}.jpg\r\n" for name in TEST)
    made["SiftFlowDataset/TestSet1.txt"] = windows.encode()
    return made | changed


def refused(source: Path, out: Path) -> list[str]:
    lines = told(lambda: prepare(siftflow.RECORD, siftflow.plan, [source], out))
    assert not out.exists()
    return lines


def inside(folder: str, name: str) -> str:
    return f"SiftFlowDataset/{folder}/{siftflow.SCENES}/{name}"


def test_both_label_maps_are_as_the_released_layer_has_them(tmp_path: Path) -> None:
    published.zipped(files(), tmp_path / "src" / "SiftFlowDataset.zip")
    out = tmp_path / "out"
    plan = prepare(siftflow.RECORD, siftflow.plan, [tmp_path / "src"], out)
    assert plan.notes == ("highway_bost181 and street_urb506 have no annotation and are left out",)
    dataset = open_dataset(out)
    assert dataset.heads == ("sem", "geo")
    assert [len(dataset.class_maps[head].classes) for head in dataset.heads] == [33, 3]
    assert {s: [i.name for i in items] for s, items in dataset.splits.items()} == {
        "trainval": [n for n in NAMES if n not in TEST],
        "test": TEST,
    }
    for item in dataset.all_items():
        sample = dataset.read(item)
        for head in ("sem", "geo"):
            assert (sample.heads[head] == layer(numbers(item.name, head))).all()
            assert 255 in sample.heads[head]
        assert (out / "images" / f"{item.name}.jpg").read_bytes() == published.photo(item.name)
    assert not inspect(dataset, ("trainval", "test")).problems


def test_lists_of_the_release_count_where_they_are(tmp_path: Path, real_data: Path) -> None:
    lists = real_data / "voc_samples" / "lists" / "fcn_sift-flow"
    names = {s: (lists / f"{s}.txt").read_text().split() for s in ("trainval", "test")}
    assert {s: len(n) for s, n in names.items()} == {"trainval": 2486, "test": 200}
    assert not {*names["trainval"], *names["test"]} & {*siftflow.UNANNOTATED}
    told_classes = (lists / "classes.txt").read_text()
    rows = [line.split(maxsplit=1)[1] for line in told_classes.splitlines() if line[:2].isdigit()]
    assert tuple(rows) == (*siftflow.SEMANTIC, *siftflow.GEOMETRIC)
    source = published.unpack(files(), tmp_path / "src")
    (source / "trainval.txt").write_text("\n".join(NAMES[1:3]))
    (source / "test.txt").write_text(f"{NAMES[0]}.mat\n")
    plan = prepare(siftflow.RECORD, siftflow.plan, [source], tmp_path / "out")
    assert plan.splits == {"trainval": NAMES[1:3], "test": NAMES[:1]}
    assert plan.notes[1:] == ("so are 2 that no list names",)


def test_classes_absent_from_the_test_pictures_are_left_out_of_the_mean() -> None:
    """30 classes are right but for one pixel of each, which is called a cow."""
    cow = siftflow.SEMANTIC.index("cow")
    present = [i for i, name in enumerate(siftflow.SEMANTIC) if name not in ABSENT]
    assert len(present) == 30
    truth = np.repeat(np.array(present, np.uint8)[:, None], 4, axis=1)
    guess = truth.copy()
    guess[:, 0] = cow
    truth = np.vstack([truth, np.full((1, 4), 255, np.uint8)])
    guess = np.vstack([guess, np.full((1, 4), cow, np.uint8)])  # void: counts nowhere
    result = scores(confusion(truth, guess, 33))
    assert result.mean_iu == pytest.approx(3 / 4)  # the release's nanmean has 30 * 0.75 / 31
    assert result.mean_accuracy == pytest.approx(3 / 4)


# -- what is refused ------------------------------------------------------------------------------
def test_what_is_missing_is_named(tmp_path: Path) -> None:
    whole = files()
    for gone, line in (
        ("Images", f"there is no Images/{siftflow.SCENES}/*.jpg (it holds: "),
        ("GeoLabels", f"there is no GeoLabels/{siftflow.SCENES}/*.mat (it holds: "),
        ("TestSet1", "there is no test.txt or TestSet1.txt, expected test.txt or what is in it"),
    ):
        left = {path: content for path, content in whole.items() if gone not in path}
        source = published.zipped(left, tmp_path / gone / "SiftFlowDataset.zip")
        (found,) = refused(source, tmp_path / "out")
        assert found.startswith(f"D010 {source}: {line}")


def test_a_picture_without_labels_is_told_unless_it_is_one_of_the_two(tmp_path: Path) -> None:
    left = {p: c for p, c in files().items() if p != inside("GeoLabels", f"{NAMES[1]}.mat")}
    source = published.unpack(left, tmp_path / "src")
    (line,) = refused(source, tmp_path / "out")
    assert line == f"D031 1 of 3 pictures of trainval.txt have no label map: {NAMES[1]}"


def test_lists_of_others_and_of_the_same_pictures_are_refused(tmp_path: Path) -> None:
    source = published.unpack(files(), tmp_path / "src")
    (source / "test.txt").write_text("2007_000033\n")
    (line,) = refused(source, tmp_path / "out")
    assert line.startswith(f"D034 {source / 'test.txt'}: `2007_000033` is no picture of this data")
    (source / "test.txt").write_text(f"{NAMES[0]}\n")
    (source / "trainval.txt").write_text("\n".join(NAMES[:2]))
    (line,) = refused(source, tmp_path / "out")
    assert line.startswith("D033")
    assert line.endswith(f"both name {NAMES[0]}")


@pytest.mark.parametrize(
    ("folder", "content", "said"),
    [
        ("SemanticLabels", mat(np.full((30, 40), 34)), "value 34 names no class (1200 px, first"),
        ("SemanticLabels", mat(np.full((30, 40), -1)), "expected (H, W) whole numbers from 0"),
        ("GeoLabels", mat(np.full((30, 40), -2)), "expected (H, W) whole numbers from -1"),
        ("SemanticLabels", mat(np.diag([1, 1, -1])), "from 0, not -1 as at x=2 y=2"),
        ("GeoLabels", mat(np.full((30, 40), 1.5)), "`S` is float64 of shape (30, 40), expected"),
        ("GeoLabels", mat(np.full((30, 40), np.nan)), "`S` is float64 of shape (30, 40), expected"),
        ("GeoLabels", mat(np.ones((30, 41))), "is 30x40, its label map is 30x41 (HxW)"),
        ("GeoLabels", mat(np.ones((30, 40)), "T"), "holds no `S` (it holds: T, names)"),
        ("SemanticLabels", mat(np.ones((30, 40)))[:150], "it cannot be read ("),
    ],
)
def test_a_label_map_that_is_not_as_it_should_be_is_told(
    tmp_path: Path, folder: str, content: bytes, said: str
) -> None:
    place = inside(folder, f"{NAMES[2]}.mat")
    source = published.zipped(files(**{place: content}), tmp_path / "SiftFlowDataset.zip")
    (line,) = refused(source, tmp_path / "out")
    assert said in line
    assert f"{source}: SiftFlowDataset/" in line
    assert NAMES[2] in line


def test_what_to_do_about_a_strange_value_is_not_to_describe_it(tmp_path: Path) -> None:
    content = {inside("SemanticLabels", f"{NAMES[2]}.mat"): mat(np.full((30, 40), 34))}
    source = published.zipped(files(**content), tmp_path / "SiftFlowDataset.zip")
    with pytest.raises(DataError) as caught:
        prepare(siftflow.RECORD, siftflow.plan, [source], tmp_path / "out")
    assert caught.value.hint.startswith("get the archive again")


def test_killed_and_started_again_the_result_is_that_of_one_run(tmp_path: Path) -> None:
    source = published.zipped(files(), tmp_path / "SiftFlowDataset.zip")
    prepare(siftflow.RECORD, siftflow.plan, [source], tmp_path / "one")
    out = tmp_path / "out"
    slow = (  # every write waits, so that the kill finds the work half done
        "import sys, time; from pixelwise.data.prepare import work; own = work.atomic_write\n"
        "def late(*a): time.sleep(0.2); return own(*a)\n"
        "work.atomic_write = late; from pixelwise.cli.app import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", slow, "data", "prepare", "siftflow", str(source), str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    content = tmp_path / ".pixelwise-out.work" / "content"
    while process.poll() is None and len(list(content.rglob("*.jpg"))) < 2:
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    prepare(siftflow.RECORD, siftflow.plan, [source], out)
    assert published.contents(out) == published.contents(tmp_path / "one")
