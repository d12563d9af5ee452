"""The page of a data set says what is in it, shows pictures as they are, and holds nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import canonical_set, folder_set, picture
from page_tree import Element, page_tree, pixels
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.labels import overlay, shown_numbers
from pixelwise.pages.data_view import COUNT, page, panels, sample

Out = pytest.CaptureFixture[str]
COLOURS = {"red": (200, 0, 0), "<i>green</i>": (0, 200, 0), "blue & more": (0, 0, 200)}


def test_it_tells_classes_and_shows_picture_overlay_and_labels(tmp_path: Path) -> None:
    samples = [picture(i) for i in range(3)]
    samples[0][1][:3] = 255
    root = canonical_set(tmp_path / "d", {"train": samples[:2], "val": samples[2:]}, COLOURS)
    inspection = inspect(open_dataset(root))
    tree = page_tree(page(inspection))
    rows = [[cell.text for cell in row.all("th") + row.all("td")] for row in tree.all("tr")]
    assert rows[0] == ["class", "share", "train", "val"]
    known = np.concatenate([labels.ravel() for _, labels in samples])
    for i, (name, row) in enumerate(zip(COLOURS, rows[1:], strict=True)):
        counts = [[int((labels == i).sum()) for _, labels in s] for s in (samples[:2], samples[2:])]
        share = (known == i).sum() / (known != 255).sum()
        cells = [f"{sum(c):,} in {sum(n > 0 for n in c)}".replace(",", " ") for c in counts]
        assert row == [name, f"{100 * share:.1f} %", *cells]
    images = {image.attributes["alt"]: pixels(image) for image in tree.all("img")}
    palette = np.array([*COLOURS.values()], np.uint8)
    for i, split in enumerate(("train0", "train1", "val0")):
        image, labels = samples[i]
        shown = images[f"labels of {split}"]
        assert (shown[labels < 3] == palette[labels[labels < 3]]).all()
        assert (
            np.abs(images[f"picture of {split}"].astype(int) - image).mean() < 20
        )  # noise, as JPEG
        under = overlay(image, labels, palette)
        assert np.abs(images[f"labels over it of {split}"].astype(int) - under).mean() < 20
    assert "All of them." in tree.text


def test_names_with_markup_are_text_and_the_page_loads_nothing(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "<script>d", 4)
    for kind in ("images", "labels"):
        (root / kind / "p1.png").rename(root / kind / "<img src=x onerror=alert(1)>.png")
        (root / kind / "p2.png").rename(root / kind / '"q" & {{ 7 * 7 }}.png')
        (root / kind / "p3.png").rename(os.fsdecode(os.fsencode(root / kind) + b"/odd\xff\x1b.png"))
    (root / "labels/<img src=x onerror=alert(1)>.png").write_bytes(b"no picture")
    (root / "classes.json").write_text(json.dumps({"classes": ["<b>a", "b", "c"]}))
    text = page(inspect(open_dataset(root, strict=False)))
    tree = page_tree(text)
    assert not tree.all("script")
    assert not tree.all("link")
    assert all(image.attributes["src"].startswith("data:image/") for image in tree.all("img"))
    assert not [i for i in tree.all("img") if "onerror" in i.attributes]
    assert "<img src=x onerror=alert(1)>" in tree.text
    assert '"q" & {{ 7 * 7 }}' in tree.text
    assert "odd\\udcff\\x1b" in tree.text
    assert "<b>a" in tree.text
    assert text.encode()  # no half surrogates


def test_problems_are_shown_with_their_pictures(tmp_path: Path, capsys: Out) -> None:
    root = folder_set(tmp_path / "d", 8)
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    labels = picture(3)[1]
    labels[0, 0] = 9
    Image.fromarray(labels).save(root / "labels/p3.png")
    (root / "images/p5.png").write_bytes(b"")
    (root / "images/p6.png").write_bytes((root / "images/p7.png").read_bytes())
    place = tmp_path / "view.html"
    assert run(["data", "view", str(root), "-o", str(place), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"page": str(place), "pictures": 8, "problems": 2, "warnings": 2}
    figures = page_tree(place.read_text()).all("figure")
    by_word = {f.all("b")[0].text: f for f in figures}
    assert "value 9 names no class (1 px" in by_word["D012"].text
    assert [i.attributes["alt"] for i in by_word["D012"].all("img")] == ["p3 of D012"]
    assert not by_word["D020"].all("img")
    copies = next(f for f in figures if "copies of each other" in f.text)
    assert {i.attributes["alt"] for i in copies.all("img")} == {"p6 of warning", "p7 of warning"}


def test_of_large_sets_a_sample_is_shown_with_the_rarest_class(tmp_path: Path, capsys: Out) -> None:
    root = folder_set(tmp_path / "d", 40)
    (root / "classes.txt").write_text("red\ngreen\nblue\nrare\n")
    labels = picture(17)[1]
    labels[0, 0] = 3
    Image.fromarray(labels).save(root / "labels/p17.png")
    inspection = inspect(open_dataset(root))
    chosen = [view.item.name for views in sample(inspection, 5).values() for view in views]
    assert len(chosen) == 5
    assert "p17" in chosen
    assert [v.item.name for r in sample(inspection, 5).values() for v in r] == chosen
    place = tmp_path / "v.html"
    assert run(["data", "view", str(root), "-o", str(place), "--count", "5"]) == 0
    tree = page_tree(place.read_text())
    assert "5 of 40, some of each class." in tree.text
    assert len(tree.all("img")) == 15
    assert place.stat().st_size < 200_000


def test_pictures_without_labels_and_of_many_bands_are_shown(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 6)
    (root / "labels/p5.png").unlink()
    (root / "splits").mkdir()
    for split, names in {"train": "p0 p1 p2", "val": "p3 p4", "test": "p5"}.items():
        (root / f"splits/{split}.txt").write_text(names.replace(" ", "\n"))
    tree = page_tree(page(inspect(open_dataset(root))))
    (bare,) = (f for f in tree.all("figure") if f.all("b")[0].text == "p5")
    assert "no label map" in bare.text
    assert [i.attributes["alt"] for i in bare.all("img")] == ["picture of p5"]


def test_what_is_no_page_of_ours_is_kept(tmp_path: Path, capsys: Out) -> None:
    root = folder_set(tmp_path / "d", 4)
    place = tmp_path / "thesis.html"
    place.write_text("<html>mine</html>")
    assert run(["data", "view", str(root), "-o", str(place)]) == 2
    assert "thesis.html is no page of ours" in capsys.readouterr().err
    assert place.read_text() == "<html>mine</html>"
    assert run(["data", "view", str(root), "-o", str(root)]) == 2
    again = tmp_path / "view.html"
    for _ in range(2):
        assert run(["data", "view", str(root), "-o", str(again)]) == 0


def test_numbers_have_no_overlay(tmp_path: Path) -> None:
    dataset = open_dataset(folder_set(tmp_path / "d", 2))
    one = dataset.read(dataset.all_items()[0])
    numbers = np.linspace(0, 1, 40 * 48, dtype=np.float32).reshape(40, 48, 1)
    made = panels(replace(one, heads={"labels": numbers}), [*COLOURS.values()])
    assert [word for word, _ in made] == ["picture", "numbers"]
    drawn = pixels(Element("img", {"src": made[1][1]}))
    assert (drawn == shown_numbers(numbers)).all()


def test_void_is_told_as_a_share_of_the_picture(tmp_path: Path) -> None:
    image, labels = picture(0)
    labels[:10, :24] = 255  # an eighth of 40 x 48
    classes = dict(zip("abc", [*COLOURS.values()], strict=True))
    root = canonical_set(tmp_path / "d", {"train": [(image, labels), picture(1)]}, classes)
    tree = page_tree(page(inspect(open_dataset(root))))
    rows = {f.all("b")[0].text: f.text for f in tree.all("figure")}
    assert rows["train0"].startswith("train0 train0.png 40x48 12.5 % void")
    assert rows["train1"].startswith("train1 train1.png 40x48 0.0 % void")


def test_each_class_is_in_the_sample_and_the_rarest_first(tmp_path: Path) -> None:
    """Of 30 pictures three of which hold a class that no other does: with three shown, these."""
    samples = [(picture(i)[0], np.zeros((40, 48), np.uint8)) for i in range(30)]
    for i in (4, 11, 23):
        samples[i][1][0, 0] = {4: 1, 11: 2, 23: 3}[i]
    colours = dict(zip("abcd", [*[*COLOURS.values()], (9, 9, 9)], strict=True))
    root = canonical_set(tmp_path / "d", {"train": samples[:20], "val": samples[20:]}, colours)
    inspection = inspect(open_dataset(root))
    made = sample(inspection, 3)
    names = {split: {view.item.name for view in views} for split, views in made.items()}
    assert names == {"train": {"train4", "train11"}, "val": {"val3"}}
    assert sum(map(len, sample(inspection, 24).values())) == 24
    assert sum(map(len, sample(inspection, 99).values())) == 30
    assert COUNT == 24


def test_twenty_problems_and_three_pictures_of_a_remark_are_shown(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 30)
    for i in range(23):
        (root / f"images/p{i}.png").write_bytes(b"")
    for i in range(25, 30):  # copies of p24
        (root / f"images/p{i}.png").write_bytes((root / "images/p24.png").read_bytes())
    inspection = inspect(open_dataset(root, strict=False))
    tree = page_tree(page(inspection))
    (section,) = [s for s in tree.all("section") if s.attributes.get("id") == "problems"]
    problems, remarks = len(inspection.problems), len(inspection.remarks)
    assert problems >= 23
    assert len(section.all("figure")) == 20
    assert f"{problems + remarks - 20} more are told" in section.text
    few = replace(inspection, problems=inspection.problems[:1])
    tree = page_tree(page(few))
    (section,) = [s for s in tree.all("section") if s.attributes.get("id") == "problems"]
    copies = next(f for f in section.all("figure") if "copies" in f.text)
    assert len(copies.all("img")) == 3
    assert "more are told" not in section.text
