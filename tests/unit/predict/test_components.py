"""Small regions and holes: by hand, and against a slower way that goes pixel by pixel."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import UsageError
from pixelwise.pictures import images
from pixelwise.predict.components import Sieve, sieved, without_holes, without_small
from pixelwise.predict.model import Model, load
from pixelwise.predict.view import View
from small_model import photo, pixels, save_classifier, save_model


def label_map(*rows: str, void: str = ".") -> np.ndarray:
    values = [[255 if c == void else int(c) for c in row] for row in rows]
    return np.array(values, np.uint8)


def flooded(labels: np.ndarray, start: tuple[int, int], *, corners: bool = False) -> set:
    """The pixels of a region, from one to the next."""
    around = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    around += [(1, 1), (1, -1), (-1, 1), (-1, -1)] if corners else []
    seen, waiting = {start}, [start]
    while waiting:
        y, x = waiting.pop()
        for dy, dx in around:
            at = y + dy, x + dx
            inside = 0 <= at[0] < labels.shape[0] and 0 <= at[1] < labels.shape[1]
            if inside and at not in seen and labels[at] == labels[start]:
                seen.add(at)
                waiting.append(at)
    return seen


def regions(labels: np.ndarray, **how: bool) -> list[set]:
    """In the order of their first pixels."""
    found: list[set] = []
    for at in np.ndindex(labels.shape):
        if not any(at in region for region in found):
            found.append(flooded(labels, at, **how))
    return found


def small_by_hand(labels: np.ndarray, least: int) -> np.ndarray:
    """One region after the other, the smallest first; all regions are found anew each time."""
    labels = labels.copy()
    while True:
        moves = []
        for number, region in enumerate(regions(labels)):
            value = labels[next(iter(region))]
            if len(region) >= least or value == 255:
                continue
            shared = Counter(
                int(labels[at])
                for y, x in region
                for at in ((y, x + 1), (y + 1, x), (y, x - 1), (y - 1, x))
                if 0 <= at[0] < labels.shape[0] and 0 <= at[1] < labels.shape[1]
                if labels[at] not in (value, 255)
            )
            if shared:
                best = min(shared, key=lambda v: (-shared[v], v))
                moves.append((len(region), number, region, best))
        if not moves:
            return labels
        _, _, region, best = min(moves, key=lambda move: move[:2])
        for at in region:
            labels[at] = best


def holes_by_hand(labels: np.ndarray, most: int) -> np.ndarray:
    """The largest holes first: what they swallow needs no filling of its own."""
    found = []
    for value in set(labels.ravel().tolist()) - {255}:
        for hole in regions((labels == value).astype(np.uint8), corners=True):
            first = next(iter(hole))
            rim = any(
                y in (0, labels.shape[0] - 1) or x in (0, labels.shape[1] - 1) for y, x in hole
            )
            if labels[first] != value and not rim and len(hole) <= most:
                found.append((len(hole), value, hole))
    labels = labels.copy()
    for _, value, hole in sorted(found, key=lambda f: f[0]):
        for at in hole:
            labels[at] = value if labels[at] != 255 else 255
    return labels


def test_small_regions_go_to_the_label_of_the_longest_border() -> None:
    before = label_map("0001", "0201", "0221", "0001")
    assert without_small(before, 3) is not None
    after = label_map("0001", "0001", "0001", "0001")  # 5 edges to 0, 2 to 1
    assert np.array_equal(without_small(before, 4), after)
    assert np.array_equal(without_small(before, 3), before)
    assert without_small(label_map("22133"), 2).tolist() == [[2, 2, 2, 3, 3]]  # the lower of equals
    assert without_small(label_map("312"), 2).tolist() == [[1, 1, 1]]  # 3 to 1, and 2 to both


def test_regions_hang_together_by_edges_and_void_stays() -> None:
    corners = label_map("10", "01")
    assert np.array_equal(without_small(corners, 2), np.zeros((2, 2)))
    void = label_map("..0", ".1.", "0..")
    assert np.array_equal(without_small(void, 9), void)
    beside = label_map("1.0", "000")
    assert np.array_equal(without_small(beside, 2), label_map("0.0", "000"))
    wide = np.array([[255, 7, 7]], np.uint16)  # of 16 bits 255 is a class
    assert without_small(wide, 2).tolist() == [[7, 7, 7]]


def test_a_hole_is_what_a_region_surrounds() -> None:
    before = label_map("00000", "01110", "01210", "01310", "01110")
    after = before.copy()
    after[2:4, 2] = 1
    assert np.array_equal(without_holes(before, 2), after)  # 2 and 3 are one hole
    assert np.array_equal(without_holes(before, 1), before)
    assert np.array_equal(without_holes(before, 25), after)  # 1 touches the border, so 0 has none
    leak = label_map("1111", "1020", "1111")  # and so has 0, at the right
    assert np.array_equal(without_holes(leak, 9), leak)
    nested = label_map("00000", "01110", "01210", "01110", "00000")
    assert np.array_equal(without_holes(nested, 9), np.zeros((5, 5)))
    void = label_map("000", "0.0", "000")
    assert np.array_equal(without_holes(void, 9), void)


@pytest.mark.parametrize("seed", range(6))
def test_both_are_those_of_a_slower_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, (7, 9), np.uint8).repeat(2, 0).repeat(2, 1)
    noisy = np.where(rng.random(coarse.shape) < 0.3, rng.integers(0, 4, coarse.shape), coarse)
    labels = np.where(rng.random(coarse.shape) < 0.05, 255, noisy).astype(np.uint8)
    for limit in (2, 5, 12, 400):
        small, full = without_small(labels, limit), without_holes(labels, limit)
        assert np.array_equal(small, small_by_hand(labels, limit))
        assert np.array_equal(full, holes_by_hand(labels, limit))
        assert np.array_equal(without_small(small, limit), small)
        assert ((small == 255) == (labels == 255)).all()


def test_what_is_rejected_is_void_at_the_end() -> None:
    labels = label_map("0000", "0100", "0000")
    sure = np.full(labels.shape, 0.9, np.float32)
    sure[1, 1:3] = 0.4
    kept = sieved(labels, Sieve(min_area=2, reject=0.5), sure)
    assert np.array_equal(kept, label_map("0000", "0..0", "0000"))
    assert np.array_equal(sieved(labels, Sieve(), None), labels)
    for wrong in ({"reject": 1.5}, {"min_area": -1}, {"fill_holes": "x"}):
        with pytest.raises(UsageError):
            Sieve(**wrong)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(save_model(tmp_path_factory.mktemp("sieve") / "net.safetensors"))


def test_a_model_sieves_its_labels_and_rejects_by_their_probability(noisy: Model) -> None:
    image, sieve = pixels(), Sieve(min_area=30, fill_holes=9, reject=0.6)
    plain = noisy.predict(image, probabilities=True)
    made = noisy.shown(sieve=sieve).predict(image)
    expected = without_small(without_holes(plain.labels, 9), 30)
    expected[plain.probabilities.max(0) < 0.6] = 255
    assert np.array_equal(made.labels, expected)
    assert 0.05 < (expected == 255).mean() < 0.95  # or the test could not tell
    assert (without_small(plain.labels, 30) != plain.labels).any()
    assert sum(made.areas().values()) == pytest.approx((expected != 255).mean())
    assert made.overlay.height >= 40
    assert "void" not in repr(made)


def test_a_sieve_travels_with_a_saved_model_and_older_headers_have_none(
    noisy: Model, tmp_path: Path
) -> None:
    shown = noisy.shown(sieve=Sieve(min_area=30))
    kept = load(shown.save(tmp_path / "kept.safetensors"))
    assert kept.predictor.view == shown.predictor.view
    assert View().as_dict() == {"zooms": [1.0], "mirror": False, "stitch": 1}
    again = kept.shown(sieve=Sieve())
    assert np.array_equal(again.predict(pixels()).labels, noisy.predict(pixels()).labels)


def test_what_has_no_regions_or_no_void_is_refused(tmp_path: Path) -> None:
    classifier = load(save_classifier(tmp_path / "classifier.safetensors"))
    with pytest.raises(UsageError, match="sieve: the net gives a coarse map"):
        classifier.shown(sieve=Sieve(min_area=9))
    names, options = tuple(map(str, range(300))), {"classes": 300, "width": 0.25}
    path = save_model(tmp_path / "many.safetensors", classes=names, palette=(), options=options)
    with pytest.raises(UsageError, match="void is 255, which is a class where there are 300"):
        load(path).shown(sieve=Sieve(reject=0.5))
    assert load(path).shown(sieve=Sieve(min_area=5)).predict(pixels()).labels.dtype == np.uint16


def test_the_command_sieves_and_every_output_knows_void(
    noisy: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = photo(tmp_path / "photo.png"), tmp_path / "out"
    words = ["predict", str(noisy.path), str(source), "-o", str(out), "--json", "--reject", "0.6"]
    sizes = ["--pixel-size", "0.5um", "--min-area", "7.5um2", "--fill-holes", "9"]
    save = "labels,overlay,scores,heatmaps,polygons,labelme,cvat,areas,sheet,coco"
    assert run([*words, *sizes, "--save", save]) == 0, capsys.readouterr().err
    capsys.readouterr()
    expected = noisy.shown(sieve=Sieve(9, 30, 0.6)).predict(source)
    stored = images.read_labels(out / "photo.png")
    assert np.array_equal(stored, expected.labels)
    assert (stored == 255).any()
    for folder in ("labelme", "cvat"):
        data = open_dataset(out / folder)
        (item,) = data.all_items()
        own = data.read(item)
        assert np.array_equal(own.labels == 255, stored == 255), folder
        names = np.array([*data.classes, *["void"] * (256 - len(data.classes))])
        known = np.array([*noisy.classes, *["void"] * (256 - len(noisy.classes))])
        assert (names[own.labels] == known[stored]).all(), folder
    polygons = json.loads((out / "photo.geojson").read_text())["features"]
    assert sum(f["properties"]["pixels"] for f in polygons) == (stored != 255).sum()
    assert "void" in (out / "areas.csv").read_text()
    assert run([*words[:-2], "--save", "labels"]) == 2  # made otherwise
    for wrong in (["--min-area", "5mm2"], ["--min-area", "x"], ["--reject", "2"]):
        assert run([*words[:4], str(tmp_path / "new"), *wrong]) == 2
        assert not (tmp_path / "new").exists()
    assert "expected pixels, or an area in the unit of --pixel-size" in capsys.readouterr().err
