"""``--values`` says what label maps mean, in one word and for every command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.class_files import Stated, stated
from pixelwise.data.classes import NEAREST, ClassMap, numbered
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.errors import DataError, UsageError
from pixelwise.labels import VOC_CLASSES, VOID, voc_palette
from pixelwise.predict.sources import find
from problems import told


def class_map(text: str) -> ClassMap:
    made = stated(text).class_map
    assert made
    return made


def two_valued(root: Path, mark: int = 255) -> Path:
    folder_set(root, 6)
    for path in (root / "labels").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values > 0, mark, 0).astype(np.uint8)).save(path)
    return root


def test_values_ranges_colours_and_void() -> None:
    numbers = class_map("0=back, 255=cell ,3..5=void")
    assert numbers.classes == ("back", "cell")
    assert numbers.values == {0: 0, 255: 1, 3: VOID, 4: VOID, 5: VOID}
    half = class_map("0..127=back,128..255=cell")
    assert [half.values[v] for v in (0, 127, 128, 255)] == [0, 0, 1, 1]
    colours = class_map("#ff0000=roof,0,0,255=water,(9, 9, 9)=ignore")
    assert colours.colours == {(255, 0, 0): 0, (0, 0, 255): 1, (9, 9, 9): VOID}
    assert colours.palette == ((255, 0, 0), (0, 0, 255))
    assert stated("") == Stated()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("back", "`back` is no list of value=name"),
        ("0=back,cell", "is no list of value=name"),
        ("0=back,0=cell", "gives a value twice"),
        ("0=a,0..4=b", "`0..4` holds 0, which stands there already"),
        ("70000=a", "expected at most 65535"),
        ("#12345=a", "'#12345' is no colour"),
        ("0=a,#000000=b", "'0' is no colour"),
        ("*=a", "`*=a` names the only class, expected `*=void` or `*=nearest`"),
        ("0=void", "`0=void` names no class, expected all that the maps hold"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="--values: ") as caught:
        stated(text)
    assert said in str(caught.value)
    assert caught.value.hint.startswith("--values ")


def test_what_is_not_listed_is_what_was_said(tmp_path: Path) -> None:
    raw = np.array([[0, 1, 100, 127, 128, 254, 255]], np.uint8)
    path = tmp_path / "m.png"
    Image.fromarray(raw).save(path)
    for text, labels, moved in (
        ("0=a,255=b,*=nearest", [0, 0, 0, 0, 1, 1, 1], 5),
        ("0=a,255=b,*=void", [0, VOID, VOID, VOID, VOID, VOID, 1], 5),
        ("0=a,255=b,*=b", [0, 1, 1, 1, 1, 1, 1], 5),
        ("0=a,255=void,*=b", [0, 1, 1, 1, 1, 1, VOID], 5),
        ("0=a,1..200=b,*=void", [0, 1, 1, 1, 1, VOID, VOID], 1),
    ):
        assert class_map(text).read(path).tolist() == [labels]
        assert class_map(text).moved(path) == moved
    with pytest.raises(DataError, match="value 1, 100") as caught:
        class_map("0=a,255=b").read(path)
    assert '--values "*=void"' in caught.value.hint


def test_the_nearest_colour_is_that_of_the_slow_way(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    listed = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (255, 255, 255)]
    said = ",".join(f"{r},{g},{b}=c{i}" for i, (r, g, b) in enumerate(listed))
    labels = class_map(f"{said},*=nearest").read(tmp_path / "m.png")
    for y in range(20):
        for x in range(30):
            apart = [int(((rgb[y, x].astype(int) - colour) ** 2).sum()) for colour in listed]
            assert apart[labels[y, x]] == min(apart)


def test_nearest_alone_keeps_the_classes_and_reads_colours_by_the_palette(tmp_path: Path) -> None:
    labels = np.kron(np.array([[0, 1, 2], [15, 20, 255]], np.uint8), np.ones((24, 16), np.uint8))
    rgb = voc_palette()[labels]
    own = stated("*=nearest").applied(numbered(VOC_CLASSES))
    assert own.others == NEAREST
    for name, content in (("a.png", rgb), ("b.jpg", rgb), ("c.png", labels)):
        Image.fromarray(content).save(tmp_path / name, quality=90)
        right = own.read(tmp_path / name) == labels
        assert right.all() if name.endswith("png") else right.mean() > 0.97
    Image.fromarray(labels).save(tmp_path / "d.jpg")  # numbers that JPEG has changed
    with pytest.raises(DataError, match="in JPEG") as caught:
        own.read(tmp_path / "d.jpg")
    assert caught.value.code == "D017"


def test_numbers_too_near_for_jpeg_stay_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "m.jpg")
    for text in ("0=a,10=b,*=nearest", "0=a,*=b", "0=a,255=b"):
        with pytest.raises(DataError, match="in JPEG"):
            class_map(text).read(tmp_path / "m.jpg")
    for text in ("0=a,255=b,*=nearest", "0..127=a,128..255=b", "0..9=void,10..99=a,100..255=b"):
        if "9=" not in text or "void" not in text:
            assert not class_map(text).read(tmp_path / "m.jpg").any()


def test_every_command_takes_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, said = two_valued(tmp_path / "d"), "0=back,255=cell"
    assert run(["data", "inspect", str(root)]) == 3
    hint = capsys.readouterr().err.split("hint: ")[1]
    assert hint.startswith(f'pixelwise data inspect {root} --values "0=background,255=object" (')
    assert run(["data", "inspect", str(root), "--values", said, "--json"]) == 0
    assert [c["name"] for c in json.loads(capsys.readouterr().out)["classes"]] == ["back", "cell"]
    assert run(["data", "stats", str(root), "--values", said, "--json"]) == 0
    shares = json.loads(capsys.readouterr().out)["classes"]
    assert [c["name"] for c in shares] == ["back", "cell"]
    assert run(["data", "convert", str(root), str(tmp_path / "c"), "--values", said]) == 0
    assert open_dataset(tmp_path / "c").classes == ("back", "cell")
    guesses = folder_set(tmp_path / "g", 6) / "labels"
    for i in range(6):
        truth = np.asarray(Image.open(root / f"labels/p{i}.png")) > 0
        Image.fromarray(truth.astype(np.uint8)).save(guesses / f"p{i}.png")
    assert run(["score", str(guesses), str(root), "--values", said, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mean_iu"] == 1
    assert [c["name"] for c in scores["per_class"]] == ["back", "cell"]
    assert run(["data", "split", str(root), "--values", said]) == 0
    assert run(["data", "inspect", str(root), "--values", "0=back,cell"]) == 2


def test_a_run_remembers_what_values_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out, said = two_valued(tmp_path / "d"), tmp_path / "r", "0=back,255=cell"
    length = ["--iterations", "2", "--set", "batch=1", "--threads", "1"]
    assert run(["train", str(root), "-o", str(out), "--values", said, *length]) == 0
    assert f"values: {said}" in (out / "recipe.yaml").read_text()
    assert "data:image" in (out / "report.html").read_text()  # pictures: the data was opened again
    capsys.readouterr()
    again = ["evaluate", str(out), str(root), "--split", "train", "--json"]
    assert run(again) == 3
    capsys.readouterr()
    assert run([*again, "--values", said]) == 0
    out_text = capsys.readouterr().out
    assert [c["name"] for c in json.loads(out_text)["per_class"]] == ["back", "cell"]


def test_another_meaning_is_another_fingerprint(tmp_path: Path) -> None:
    root = two_valued(tmp_path / "d")
    prints = {
        open_dataset(root, values=text).fingerprint()
        for text in ("0=a,255=b", "0=a,255=b,*=void", "0=a,255=b,*=nearest", "0=a,*=b")
    }
    assert len(prints) == 4


def test_it_counts_before_what_the_folder_says(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 3)
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    assert open_dataset(root, values="0=a,1..2=b").classes == ("a", "b")
    (root / "dataset.json").write_text('{"classes": ["x", "y", "z"]}')
    dataset = open_dataset(root, values="0=a,1..2=b")
    assert (dataset.layout, dataset.classes) == ("canonical", ("a", "b"))
    labels = dataset.read(dataset.all_items()[0]).labels
    assert np.array_equal(labels, picture(0)[1] > 0)


def test_the_same_is_said_in_a_file(tmp_path: Path) -> None:
    root = two_valued(tmp_path / "d", mark=200)
    said = {
        "classes": {"0": "a", "255": "b"},
        "others": "nearest",
        "palette": [[1, 2, 3], [4, 5, 6]],
    }
    (root / "classes.json").write_text(json.dumps(said))
    dataset = open_dataset(root)
    assert dataset.palette == ((1, 2, 3), (4, 5, 6))
    assert np.array_equal(dataset.read(dataset.all_items()[1]).labels, picture(1)[1] > 0)
    (root / "classes.json").write_text(json.dumps({**said, "palette": [[1, 2, 3]]}))
    assert "1 colours in `palette` of 2 classes" in told(lambda: open_dataset(root))[0]
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "a"}, "ingore": [255]}))
    assert "is called `ingore`; did you mean `ignore`?" in told(lambda: open_dataset(root))[0]


def test_pixels_that_moved_are_told(tmp_path: Path) -> None:
    root = two_valued(tmp_path / "d")
    for i in range(6):
        labels = np.zeros((40, 48), np.uint8)
        labels[:, :10], labels[0, :3] = 255, 90
        Image.fromarray(labels).save(root / f"labels/p{i}.png")
    warnings = inspect(open_dataset(root, values="0=a,255=b,*=nearest")).warnings
    told_of = [w for w in warnings if "nearest" in w]
    assert told_of == [
        "18 of 11,520 pixels in 6 label maps hold no value that is listed (0.2%, most in p0) and "
        "were taken for the nearest one"
    ]


def test_void_beside_a_mark_stays_void_in_the_answer(tmp_path: Path) -> None:
    root = two_valued(tmp_path / "d", mark=9)
    labels = np.zeros((40, 48), np.uint8)
    labels[:, :3] = 255
    Image.fromarray(labels).save(root / "labels/p0.png")
    with pytest.raises(DataError, match=r"0, 9, 255: which classes are they\?") as caught:
        open_dataset(root)
    assert '--values "0=background,9=object,255=void"' in caught.value.hint


def test_pictures_of_a_split_are_predicted_without_a_question(tmp_path: Path) -> None:
    root = two_valued(tmp_path / "d")
    jobs, _ = find([str(root)], tmp_path / "out", split="val")
    named = open_dataset(root, values="0=a,255=b").splits["val"]
    assert [job.name for job in jobs] == [item.name for item in named] != []
