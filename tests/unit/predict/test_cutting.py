"""A picture that does not fit into memory whole is labelled in parts, and nobody sees where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.cli.app import run
from pixelwise.cli.arguments import parse_bytes
from pixelwise.engine import convolutions, needs
from pixelwise.engine.layout import layout_for
from pixelwise.engine.needs import of_layout
from pixelwise.engine.planned import PlannedRunner
from pixelwise.errors import ResourceError
from pixelwise.machine import memory
from pixelwise.pictures.images import read_labels
from pixelwise.predict import cutting
from pixelwise.predict.cutting import cut
from pixelwise.predict.model import Model, load
from random_weights import save_random
from small_model import pixels, save_model

SIZE = (600, 390)
"""Whole it takes 19 MB of maps, in bands less than 4."""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Fresh: one that has labelled a picture holds the memory for the next."""
    return load(save_model(tmp_path / "m.safetensors", seed=1))


def refused(*_: object) -> None:
    raise ResourceError("R003", "it does not fit whole")


def leave(patch: pytest.MonkeyPatch, model: Model, numbers: int) -> None:
    """Memory for so many numbers beside what each way takes."""
    runner = model.predictor.runner
    assert isinstance(runner, PlannedRunner)
    weights, _, work = of_layout(layout_for(runner.plan, 1, *SIZE), "fast")
    left = weights + work + 256 * SIZE[1] * 16 + 4 * numbers
    patch.setattr(memory, "available", lambda _: left)


@pytest.mark.parametrize(("blocks", "way"), [((1,), "bands of rows"), ((3,), "3 blocks of col")])
def test_its_labels_are_those_of_the_whole(
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    blocks: tuple[int],
    way: str,
) -> None:
    with monkeypatch.context() as patch:
        leave(patch, model, 10**6)
        patch.setattr("pixelwise.predict.memory.require", refused)
        patch.setattr(cutting, "BLOCKS", blocks)
        patch.setattr(cutting, "STRIP", 128)  # columns of a block at the least
        made = model.predict(pixels(SIZE))
    assert f"a picture of 600x390 (HxW) is labelled in {way}" in caplog.text
    assert (made.labels == model.predict(pixels(SIZE)).labels).all()
    assert max(made.areas().values()) < 0.9


def test_heads_of_many_classes_have_maps_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tuple(f"thing {i}" for i in range(300))
    options = {"classes": 300, "width": 0.25}
    own = load(save_model(tmp_path / "m.safetensors", options=options, classes=many, palette=()))
    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.predict.memory.require", refused)
        made = own.predict(pixels((300, 70))).labels
    assert made.dtype == np.uint16
    assert (made == own.predict(pixels((300, 70))).labels).all()


def test_what_fits_in_no_way_is_refused_with_the_least(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda _: 10**6)
    with pytest.raises(ResourceError, match=r"at least [\d,]+ bytes, cut into parts; 1,0"):
        model.predict(pixels(SIZE))


def test_scores_and_zoomed_pictures_are_whole_or_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda _: 10**6)
    for attempt in (
        lambda: model.predict(pixels(SIZE), probabilities=True),
        lambda: model.shown(mirror=True).predict(pixels(SIZE)),
    ):
        with pytest.raises(ResourceError, match="needs about"):
            attempt()


def test_the_first_way_that_fits_is_taken(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = model.predictor.runner
    assert isinstance(runner, PlannedRunner)
    bands = []
    for numbers in (5 * 10**6, 7 * 10**5):
        leave(monkeypatch, model, numbers)
        (stream,) = cut(runner, SIZE)
        bands.append(stream.band)
    assert bands[0] == 2**24 > bands[1]


def test_weights_that_are_packed_are_not_counted_again(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = model.predictor.runner
    assert isinstance(runner, PlannedRunner)
    monkeypatch.setattr(memory, "available", lambda _: 0)
    least = []
    for _ in range(2):
        with pytest.raises(ResourceError) as told:
            cut(runner, SIZE)
        least.append(int(str(told.value).split("at least ")[1].split()[0].replace(",", "")))
        runner.maps(torch.zeros(1, 3, 60, 60))
    assert least[0] - least[1] == of_layout(layout_for(runner.plan, 1, *SIZE), "fast").weights


def test_a_limit_counts_what_the_process_has() -> None:
    cpu = torch.device("cpu")
    before = memory.available(cpu)
    with memory.limited(2**45):
        assert memory.available(cpu) == pytest.approx(before, rel=0.2)  # others work meanwhile
        with memory.limited(10**6):  # python alone takes more
            assert memory.available(cpu) == 0
            assert memory.process_limit() == 10**6
        assert memory.process_limit() == 2**45
    assert memory.process_limit() == 0


def test_the_command_takes_larger_pictures_with_a_limit_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIXELWISE_MAX_MEGAPIXELS", "1")
    path, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(pixels((1100, 1000))).save(path)
    net = save_model(tmp_path / "m.safetensors")
    words = ["predict", str(net), str(path), "-o", str(out), "--save", "labels", "--json"]
    assert run(words) == 1
    assert "--max-memory 2GiB" in json.loads(capsys.readouterr().out)["failures"][0]["hint"]
    for wrong in ("much", "0GB", "2Gb/s", "-1", "256"):
        assert run([*words, "--max-memory", wrong]) == 2
    assert "expected a size above zero, with its unit" in capsys.readouterr().err
    assert run([*words, "--max-memory", "0.5TiB"]) == 0
    monkeypatch.delenv("PIXELWISE_MAX_MEGAPIXELS")
    assert (read_labels(out / "a.png") == load(net).predict(path).labels).all()
    assert [parse_bytes(s) for s in ("", "2GiB", "1.5 kb", "7b")] == [0, 2**31, 1500, 7]


def test_where_packed_weights_do_not_fit_they_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (convolutions, needs):
        monkeypatch.setattr(module, "PIECE", 2**12)
    save_random(tmp_path / "m.safetensors", "fcn8s-vgg16", width=1 / 16)
    model, image = load(tmp_path / "m.safetensors"), pixels((64, 64))
    runner = model.predictor.runner
    expected = model.predict(image).labels
    plenty = layout_for(runner.plan, 1, 64, 64)
    needed = {mode: sum(of_layout(plenty, mode)) for mode in ("fast", "low")}
    assert needed["low"] < needed["fast"]
    poor = load(tmp_path / "m.safetensors")
    monkeypatch.setattr(memory, "available", lambda _: needed["low"])
    assert (poor.predict(image).labels == expected).all()
    assert poor.predictor.runner.memory == "low"
    assert "large layers' weights are packed for each picture" in caplog.text
    monkeypatch.setattr(memory, "available", lambda _: 1)
    with pytest.raises(ResourceError, match="cut into parts"):
        poor.predict(pixels((80, 64)))
