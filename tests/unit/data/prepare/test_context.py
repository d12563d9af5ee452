"""PASCAL-Context: the table of 59 against the published lists, and miniatures of the archives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import published
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.prepare import context
from pixelwise.data.prepare.work import prepare
from problems import told

NAMES = [f"2008_{i:06d}" for i in range(5)]
OTHER = 440 + 1  # no name of the 59 has it


def raw(name: str) -> np.ndarray:
    """Numbers of 1 to 459 in stripes: road, sky, aeroplane, diningtable, one that is not taken."""
    stripes = np.array([324, 360, 2, 397, OTHER, 1 + sum(name.encode()) % 459], np.uint16)
    return np.repeat(stripes, 5)[:, None] * np.ones((1, 40), np.uint16)


def labels(name: str) -> np.ndarray:
    """The released layer's rule, written as slowly as it can be."""
    out = np.zeros((30, 40), np.uint8)
    for label, number in enumerate(context.INDEX.values(), 1):
        out[raw(name) == number] = label
    return out


def mat(name: str) -> bytes:
    return published.mat({"LabelMap": raw(name)})


def archives(folder: Path, *, png: bool = False) -> Path:
    home = "VOCdevkit/VOC2010"
    files = {f"{home}/JPEGImages/{n}.jpg": published.photo(n) for n in NAMES}
    files |= {
        f"{home}/ImageSets/Main/train.txt": published.lines(NAMES[:3]),
        f"{home}/ImageSets/Main/val.txt": published.lines(NAMES[3:]),
        f"{home}/ImageSets/Main/cow_train.txt": b"2008_000000 -1\n",
    }
    published.tar(files, folder / "VOCtrainval_03-May-2010.tar")
    maps = {f"trainval/{n}.mat": mat(n) for n in NAMES}
    if png:
        images = {n: published.Image.fromarray(raw(n)) for n in NAMES}
        maps = {f"trainval/{n}.png": published.encoded(i, "PNG") for n, i in images.items()}
    published.tar(maps, folder / "trainval.tar.gz", "w:gz")
    return folder


@pytest.mark.parametrize("png", [False, True])
def test_59_classes_and_background(tmp_path: Path, png: bool) -> None:
    out = tmp_path / "out"
    prepare(context.RECORD, context.plan, [archives(tmp_path / "src", png=png)], out)
    dataset = open_dataset(out)
    assert {s: [i.name for i in items] for s, items in dataset.splits.items()} == {
        "train": NAMES[:3],
        "val": NAMES[3:],
    }
    assert dataset.classes == ("background", *context.INDEX)
    for item in dataset.all_items():
        assert (dataset.read(item).labels == labels(item.name)).all()
    assert labels(NAMES[0])[::5, 0].tolist()[:5] == [46, 50, 1, 11, 0]  # fact sheet 3.5
    assert not inspect(dataset).problems


def test_the_table_is_that_of_the_published_lists(real_data: Path) -> None:
    folder = real_data / "voc_samples" / "lists" / "fcn_pascal-context"
    pairs = {
        file: re.findall(r"^(\d+): (.*)$", (folder / file).read_text(), re.MULTILINE)
        for file in ("classes-59.txt", "classes-400.txt")
    }
    task = [name for _, name in pairs["classes-59.txt"]]
    numbers = {name.replace(" ", ""): int(number) for number, name in pairs["classes-400.txt"]}
    assert len(numbers) == 459
    assert task == ["background", *context.INDEX]
    renamed = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
    assert {n: numbers[renamed.get(n, n)] for n in context.INDEX} == context.INDEX


def test_fewer_classes_by_a_file(tmp_path: Path) -> None:
    source, out = archives(tmp_path / "src"), tmp_path / "out"
    (tmp_path / "33.txt").write_text("1: sky\n2: table\nbackground\naeroplane\n")
    arguments = [str(source), str(out), "--classes", str(tmp_path / "33.txt")]
    assert run(["data", "prepare", "context", *arguments]) == 0
    dataset = open_dataset(out)
    assert dataset.classes == ("background", "sky", "diningtable", "aeroplane")
    read = dataset.read(dataset.all_items()[0]).labels
    assert read[::5, 0].tolist()[:5] == [0, 1, 3, 2, 0]


def test_background_as_void(tmp_path: Path) -> None:
    source, out = archives(tmp_path / "src"), tmp_path / "out"
    assert run(["data", "prepare", "context", str(source), str(out), "--background", "void"]) == 0
    dataset = open_dataset(out)
    assert dataset.classes == tuple(context.INDEX)
    read = dataset.read(dataset.all_items()[0]).labels
    assert read[::5, 0].tolist()[:5] == [45, 49, 0, 10, 255]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sky\nspaceship\n", "`spaceship` is none of the 59, or there twice"),
        ("sky\nsky\n", "`sky` is none of the 59, or there twice"),
        ("background\n", "it names none"),
    ],
)
def test_files_of_other_classes_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text)
    assert told(lambda: context.chosen_names(path)) == [f"U002 --classes {path}: {said}"]


def test_another_list_of_names_is_refused(tmp_path: Path) -> None:
    source = archives(tmp_path / "src")
    rows = [f"{i}: name {i}" for i in range(1, 460)]
    (source / "labels.txt").write_text("\n".join(rows))
    lines = told(lambda: prepare(context.RECORD, context.plan, [source], tmp_path / "out"))
    assert lines == [
        f"D034 {source / 'labels.txt'}: the numbers of aeroplane, bicycle, bird, boat, bottle, and "
        "54 more are not those of PASCAL-Context"
    ]
    for name, number in context.INDEX.items():
        rows[number - 1] = f"{number}: {context.RAW_NAMES.get(name, name)}"
    (source / "labels.txt").write_text("\n".join(rows))
    prepare(context.RECORD, context.plan, [source], tmp_path / "out")


def test_annotations_of_another_year_or_form_are_refused(tmp_path: Path) -> None:
    source = archives(tmp_path / "src")
    maps = {f"trainval/{n}.mat": mat(n) for n in NAMES}
    maps[f"trainval/{NAMES[1]}.mat"] = published.mat({"labels": raw("x")})
    maps[f"trainval/{NAMES[2]}.mat"] = mat(NAMES[2])[:150]
    maps[f"trainval/{NAMES[4]}.mat"] = mat(NAMES[4])
    archive = published.tar(maps, source / "trainval.tar.gz", "w:gz")
    lines = told(lambda: prepare(context.RECORD, context.plan, [source], tmp_path / "out"))
    assert len(lines) == 2
    for line, name in zip(lines, NAMES[1:3], strict=True):
        assert line.startswith(f"D026 {archive}: trainval/{name}.mat: "), line
    del maps[f"trainval/{NAMES[0]}.mat"]
    published.tar(maps, archive, "w:gz")
    lines = told(lambda: prepare(context.RECORD, context.plan, [source], tmp_path / "out"))
    assert lines == [f"D031 1 of 3 pictures of train.txt have no label map: {NAMES[0]}"]
    archive.unlink()
    (line,) = told(lambda: prepare(context.RECORD, context.plan, [source], tmp_path / "out"))
    assert line.startswith(f"D010 {source}: there is no trainval/*.mat (it holds: ")
