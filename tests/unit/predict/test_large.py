"""Large pictures by the command: cut without a trace, gone on with, and put back on the earth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import ResourceError
from pixelwise.machine import memory
from pixelwise.pictures.images import read_labels, text_in, write_labels
from pixelwise.predict import cutting, jobs, turns
from pixelwise.predict.model import Model, load
from pixelwise.weights.checkpoint import HeadClasses
from small_model import pixels, save_model

tifffile = pytest.importorskip("tifffile")
SIZE = (600, 390)
GEO = (
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 450000.0, 5400000.0, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True),
    (34737, 2, 0, "WGS 84 / UTM zone 32N|", True),
    (42113, 2, 0, "200", True),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(save_model(tmp_path_factory.mktemp("model") / "m.safetensors", seed=1))


@pytest.fixture
def tif(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "field.tif"
    path.parent.mkdir()
    tifffile.imwrite(
        path, pixels(SIZE), bigtiff=True, tile=(64, 64), compression="zlib", extratags=GEO
    )
    return path


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No picture fits whole."""

    def refused(*_: object) -> None:
        raise ResourceError("R003", "it does not fit whole")

    monkeypatch.setattr("pixelwise.predict.memory.require", refused)
    return monkeypatch


def carried_out(source: Path, out: Path, model: Model, **how: Any) -> jobs.Done:
    plan = jobs.plan([str(source)], out, save=how.pop("save", "labels,overlay"))
    with memory.limited(2**40):
        return jobs.carry_out(plan, model, **how)


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_picture_that_is_cut_has_the_labels_of_the_whole(
    tif: Path, tmp_path: Path, model: Model, small_memory: pytest.MonkeyPatch, blocks: int
) -> None:
    small_memory.setattr(cutting, "BLOCKS", (blocks,))
    small_memory.setattr(cutting, "STRIP", 128)  # columns of a block at the least
    done = carried_out(tif, tmp_path / "out", model)
    again = carried_out(tif, tmp_path / "out", model)
    assert (again.made, again.skipped) == (0, 1)
    small_memory.undo()
    expected = model.predict(pixels(SIZE))
    assert (tifffile.imread(tmp_path / "out" / "field.tif") == expected.labels).all()
    assert done.results[0]["areas"] == pytest.approx(expected.areas())
    with Image.open(tmp_path / "out" / "field_overlay.jpg") as overlay:
        assert overlay.height == SIZE[0]
    assert not [*(tmp_path / "out").rglob("*.parts*"), *(tmp_path / "out").rglob("*.work")]


def test_a_geotiff_keeps_its_place_and_carries_the_classes(
    tif: Path, tmp_path: Path, model: Model
) -> None:
    carried_out(tif, tmp_path / "out", model)
    with tifffile.TiffFile(tmp_path / "out" / "field.tif") as file:
        page = file.pages[0]
        assert file.is_bigtiff
        assert page.is_tiled
        assert [page.tags[code].value for code, *_ in GEO] == [value for _, _, _, value, _ in GEO]
        assert json.loads(json.loads(page.description)["classes"]) == list(model.classes)
        assert (np.array(model.palette) == page.colormap[:, :3].T // 257).all()


def test_no_data_that_is_a_class_is_left_out(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((40, 50)), extratags=[*GEO[:4], (42113, 2, 0, "0", True)])
    carried_out(path, tmp_path / "out", model)
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as file:
        assert 42113 not in file.pages[0].tags


def test_a_killed_run_goes_on_behind_the_last_strip(
    tif: Path, tmp_path: Path, model: Model, small_memory: pytest.MonkeyPatch
) -> None:
    computed: list[float] = []

    class Killed(BaseException):
        """As if the process ended: nothing is tidied up."""

    def killed(share: float = 1.0, text: str = "") -> None:
        computed.append(share)
        if len(computed) == 3:  # nothing, then two strips of 256 rows
            raise Killed

    with pytest.raises(Killed):
        carried_out(tif, tmp_path / "out", model, watch=killed)
    assert not (tmp_path / "out" / "field.tif").exists()
    shares: list[float] = []
    carried_out(tif, tmp_path / "out", model, watch=lambda share=1.0, text="": shares.append(share))
    assert shares == pytest.approx([512 / 600, 88 / 600])
    small_memory.undo()
    expected = model.predict(pixels(SIZE)).labels
    assert (tifffile.imread(tmp_path / "out" / "field.tif") == expected).all()


def test_strips_of_another_picture_are_not_gone_on_with(
    tif: Path, tmp_path: Path, model: Model, small_memory: pytest.MonkeyPatch
) -> None:

    def killed(share: float = 1.0, text: str = "") -> None:
        if share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried_out(tif, tmp_path / "out", model, watch=killed)
    tifffile.imwrite(tif, pixels(SIZE, seed=1), extratags=GEO)
    carried_out(tif, tmp_path / "out", model)
    small_memory.undo()
    expected = model.predict(pixels(SIZE, seed=1)).labels
    assert (tifffile.imread(tmp_path / "out" / "field.tif") == expected).all()


def test_a_picture_over_the_pixel_limit_is_a_png_with_palette_and_text(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_MEGAPIXELS", 1)
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(pixels((1100, 1000))).save(path)
    carried_out(path, tmp_path / "out", model)
    made = tmp_path / "out" / "a.png"
    assert (read_labels(made) == model.predict(pixels((1100, 1000))).labels).all()
    assert json.loads(text_in(made)["classes"]) == list(model.classes)
    with Image.open(made) as image:
        assert image.getpalette()[:9] == [128, 0, 0, 0, 128, 0, 0, 0, 128]


def test_a_picture_that_fits_is_labelled_as_ever(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(pixels()).save(path)
    carried_out(path, tmp_path / "out", model, save="labels,scores")
    assert (tmp_path / "out" / "a_scores.npz").is_file()


def test_outputs_that_a_cut_picture_has_not_are_refused_first(
    tif: Path, tmp_path: Path, model: Model, small_memory: pytest.MonkeyPatch
) -> None:
    done = carried_out(tif, tmp_path / "out", model, save="labels,scores,polygons")
    assert done.failures[0]["code"] == "U002"
    assert "not polygons, scores" in done.failures[0]["error"]


def test_numbers_and_edges_of_a_cut_picture_are_those_of_the_whole(
    tif: Path, tmp_path: Path, small_memory: pytest.MonkeyPatch
) -> None:
    """In files as counts, on the earth as they are; beside a head of classes, and through pw."""
    kinds = {
        "far": {"kind": "numbers", "step": 0.01, "centre": [3.0], "spread": [0.5], "log": True},
        "edge": {"kind": "edges", "step": 1 / 255},
        "clean": {"kind": "numbers", "centre": [99.0] * 3, "spread": [40.0] * 3},
    }
    planes = {"labels": 3, "far": 1, "edge": 1, "clean": 3}
    own = {h: HeadClasses(tuple(f"{h} {i}" for i in range(n)), ()) for h, n in planes.items()}
    options = {"heads": planes, "kinds": kinds, "width": 0.25}
    named = {"options": options, "heads": own, "classes": own["labels"].classes}
    place = save_model(tmp_path / "m.safetensors", seed=1, **named)
    model = load(place)
    small_memory.setattr(cutting, "BLOCKS", (2,))
    small_memory.setattr(cutting, "STRIP", 128)
    png = tmp_path / "in" / "plain.png"
    Image.fromarray(pixels(SIZE)).save(png)
    for path in (tif, png):
        assert not carried_out(path, tmp_path / "out", model).failures
    parts = model.predict(pixels(SIZE)).heads
    small_memory.undo()
    whole = model.predict(pixels(SIZE)).heads
    for head, expected in whole.items():
        assert np.array_equal(parts[head].labels, expected.labels)
        assert parts[head].labels.dtype == expected.labels.dtype
        front = tmp_path / "out" / ("" if head == "labels" else head)
        assert np.array_equal(tifffile.imread(front / "field.tif"), expected.labels.squeeze())
        write_labels(tmp_path / "one.png", expected.labels, np.zeros((3, 3), np.uint8),
                     step=expected.kind.step)  # fmt: skip
        one, made = (Image.open(p) for p in (tmp_path / "one.png", front / "plain.png"))
        assert one.mode == made.mode
        assert np.array_equal(np.asarray(one), np.asarray(made))
        assert text_in(front / "plain.png").get("step") == text_in(tmp_path / "one.png").get("step")
        assert (front / "plain_overlay.jpg").is_file()
