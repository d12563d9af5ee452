"""Classes are merged, renamed and left out by their names, in every layout and all the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import canonical_set, folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.class_merging import merged, read_map
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from problems import told

COLOURS = {"road": (9, 0, 0), "pavement": (0, 9, 0), "fence": (0, 0, 9)}
Out = pytest.CaptureFixture[str]


def made(root: Path) -> Path:
    """Three classes, of which the last one is void in places."""
    samples = [picture(i) for i in range(5)]
    for _, labels in samples:
        labels[:2] = 255
    return canonical_set(root, {"train": samples[:3], "val": samples[3:]}, COLOURS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"road": "ground", "pavement": "ground", "fence": null}'),
        ("m.json", '{"ground": ["road", "pavement"], "void": ["fence"]}'),
        ("m.yaml", "road: ground\npavement: ' ground '\nfence: void\n"),
        ("m.yml", "ground: [road, pavement]\nfence: ~\n"),
    ],
)
def test_a_map_is_json_or_yaml_from_either_side(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_map(tmp_path / name) == {"road": "ground", "pavement": "ground", "fence": "void"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "no object of names"),
        ("road: [a, a]", "`a` becomes two things"),
        ("ground: [road]\nroad: x", "`road` becomes two things"),
        ("road: 3", "`road` becomes 3, no name"),
        ("a: [", "not YAML"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    (message,) = told(lambda: read_map(tmp_path / "m.yaml"))
    assert message.startswith("D034")
    assert problem in message


def test_labels_are_those_of_before_under_the_table(tmp_path: Path) -> None:
    before = open_dataset(made(tmp_path / "d"))
    after = merged(before, {"road": "ground", "pavement": "ground", "fence": "void"})
    assert after.classes == ("ground",)
    assert after.palette == (COLOURS["road"],)
    assert "3 classes made 1: ground is road + pavement, void is fence" in after.notes
    assert after.fingerprint() != before.fingerprint()
    for item in before.all_items():
        old = before.read(item).labels
        (new,) = (after.read(i).labels for i in after.all_items() if i.name == item.name)
        assert np.array_equal(new, np.where(old <= 1, 0, 255))
    renamed = merged(before, {"road": "street"})
    assert renamed.classes == ("street", "pavement", "fence")
    swapped = merged(before, {"fence": "road"})  # a name that is there already
    assert swapped.classes == ("road", "pavement")


def test_masks_in_colours_and_outlines_are_merged_likewise(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "c", 3)
    palette = np.array([*COLOURS.values()], np.uint8)
    for path in (root / "labels").iterdir():
        Image.fromarray(palette[np.asarray(Image.open(path))]).save(path)
    named = {",".join(map(str, colour)): name for name, colour in COLOURS.items()}
    (root / "classes.json").write_text(json.dumps({"colours": named}))
    outlines = tmp_path / "l"
    outlines.mkdir()
    for i, name in enumerate(("road", "fence")):
        Image.fromarray(picture(i)[0]).save(outlines / f"p{i}.png")
        shape = {"label": name, "shape_type": "rectangle", "points": [[4, 4], [20, 20]]}
        told = {"imagePath": f"p{i}.png", "imageHeight": 40, "imageWidth": 48, "shapes": [shape]}
        (outlines / f"p{i}.json").write_text(json.dumps(told))
    for data, renames in ((root, {"road": "way", "fence": "void"}), (outlines, {"fence": "void"})):
        before = open_dataset(data)
        after = merged(before, renames)
        kept = [c for c in before.classes if c != "fence"]
        assert after.classes == tuple(renames.get(c, c) for c in kept)
        gone = before.classes.index("fence")
        for old, new in zip(before.all_items(), after.all_items(), strict=True):
            labels = before.read(old).labels
            table = [255 if i == gone else kept.index(c) for i, c in enumerate(before.classes)]
            assert np.array_equal(after.read(new).labels, np.array(table)[labels])


def test_names_that_the_data_has_not_are_refused_with_those_that_are_near(tmp_path: Path) -> None:
    dataset = open_dataset(made(tmp_path / "d"))
    (message,) = told(lambda: merged(dataset, {"pavment": "ground"}))
    assert message.startswith("U001")
    assert "`pavment`; did you mean `pavement`?" in message
    (message,) = told(lambda: merged(dataset, dict.fromkeys(COLOURS, "void")))
    assert "the map leaves no class" in message


def test_convert_tells_pixels_before_and_after(tmp_path: Path, capsys: Out) -> None:
    root, file = made(tmp_path / "d"), tmp_path / "map.json"
    file.write_text('{"ground": ["road", "pavement"], "void": ["fence"]}')
    out = tmp_path / "o"
    assert run(["data", "convert", str(root), str(out), "--map", str(file), "--json"]) == 0
    pixels = json.loads(capsys.readouterr().out)["pixels"]
    dataset = open_dataset(root)
    labels = np.concatenate([dataset.read(i).labels.ravel() for i in dataset.all_items()])
    counts = {name: int((labels == i).sum()) for i, name in enumerate(COLOURS)}
    assert pixels == {"before": counts, "after": {"ground": counts["road"] + counts["pavement"]}}
    converted = open_dataset(out)
    assert converted.classes == ("ground",)
    assert (
        sum(int((converted.read(i).labels == 0).sum()) for i in converted.all_items())
        == (pixels["after"]["ground"])
    )


def test_what_is_converted_and_converted_again_is_the_same(tmp_path: Path) -> None:
    first = convert(open_dataset(made(tmp_path / "d")), tmp_path / "one")
    second = convert(open_dataset(first), tmp_path / "two")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for file in files:
        if file.name != "dataset.json":  # which says where it came from
            assert (first / file).read_bytes() == (second / file).read_bytes()


def test_a_run_learns_the_classes_of_its_map_and_is_evaluated_on_the_data_as_it_is(
    tmp_path: Path, capsys: Out
) -> None:
    root, file, out = made(tmp_path / "d"), tmp_path / "map.yaml", tmp_path / "run"
    file.write_text("road: ground\npavement: ground\n")
    words = ["--net", "fcn8s-tiny", "--iterations", "1", "--set", "batch=1", "--threads", "1"]
    copy = Image.open(root / "images/train0.png").resize((96, 80))
    copy.save(root / "images/val0.png")  # in another size: a leak that is told in training too
    Image.open(root / "labels/train0.png").resize((96, 80), 0).save(root / "labels/val0.png")
    assert run(["train", str(root), "-o", str(out), "--map", str(file), *words]) == 0
    assert (
        "pictures of split val look like others of split train (val0 like train0)"
        in (out / "journal.jsonl").read_text()
    )
    assert "ground" in (out / "recipe.yaml").read_text()
    capsys.readouterr()
    assert run(["evaluate", str(out), str(root), "--json", "--threads", "1"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in scores["per_class"]] == ["ground", "fence"]
    converted = tmp_path / "o"
    assert run(["data", "convert", str(root), str(converted), "--map", str(file)]) == 0
    capsys.readouterr()
    assert run(["evaluate", str(out), str(converted), "--json", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion"] == scores["confusion"]
    assert "images" in (out / "report.html").read_text()
    file.write_text("raod: ground\n")
    assert run(["train", str(root), "-o", f"{out}2", "--map", str(file), *words]) == 2
    assert "did you mean `road`" in capsys.readouterr().err
