"""A quantised model: made from pictures, kept in a file, used as any other, refused elsewhere."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from make_data import folder_set
from pixelwise.cli.app import run as command
from pixelwise.engine.rounding import unsupported
from pixelwise.errors import DataError, ModelError, PixelwiseError, UsageError
from pixelwise.export.export import export_model
from pixelwise.predict import quantising
from pixelwise.predict.model import Model, load
from pixelwise.predict.quantising import apart, quantised
from pixelwise.weights.checkpoint import load_checkpoint, read_header, save_checkpoint
from pixelwise.weights.load import read_weights, show
from small_model import photo, pixels, save_model

pytestmark = pytest.mark.skipif(bool(unsupported("int8")), reason=unsupported("int8"))
LOOSE = 0.5
"""An agreement that untrained weights reach with all layers in eight bits."""


@contextmanager
def unseen(doing: str, count: int):
    del doing, count
    yield lambda: None


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = {"classes": ("a", "b", "c"), "palette": ()}
    return save_model(tmp_path_factory.mktemp("exact") / "exact.safetensors", **named)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(5):
        photo(folder / f"p{i}.png", seed=i)
    return folder


@pytest.fixture(scope="module")
def low(exact: Path, pictures: Path) -> Path:
    made = quantised(load(exact), pictures, pictures=3, agreement=LOOSE, stage=unseen)
    return made.model.save(exact.parent / "low.safetensors")


def changed(low: Path, path: Path, **changes: object) -> Path:
    """The quantised file with another calibration, its checksum right."""
    header, tensors = load_checkpoint(low, quantised=True)
    assert header.quantised
    return save_checkpoint(
        path, tensors, replace(header, quantised=replace(header.quantised, **changes))
    )


# -- made -----------------------------------------------------------------------------------------
def test_a_file_gives_the_labels_of_the_model_that_was_written(
    exact: Path, pictures: Path, tmp_path: Path
) -> None:
    made = quantised(load(exact), pictures, pictures=3, agreement=LOOSE, stage=unseen)
    assert (made.calibrated, made.compared, made.exact, made.evaluations) == (3, 2, (), ())
    path = made.model.save(tmp_path / "low.safetensors")
    again = load(path)
    assert again.predictor.runner.precision == "int8"
    assert load(path, precision="int8").classes == again.classes
    before = made.model.predict(pixels(), probabilities=True)
    after = again.predict(pixels(), probabilities=True)
    assert np.array_equal(before.probabilities, after.probabilities)
    differ = load(exact).predict(pixels()).labels != after.labels
    assert 0 < differ.mean() < 1 - LOOSE
    assert again.save(tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_agreement_is_that_of_the_pictures_that_were_not_calibrated_on(
    exact: Path, pictures: Path
) -> None:
    made = quantised(load(exact), pictures, pictures=3, agreement=LOOSE, stage=unseen)
    labels = [
        [model.predict(pictures / f"p{i}.png").labels for i in (2, 4)]
        for model in (load(exact), made.model)
    ]
    assert made.agreement == pytest.approx(np.mean([a == b for a, b in zip(*labels, strict=True)]))
    assert made.model.header.quantised.agreement == made.agreement


def test_layers_stay_exact_until_enough_labels_stay(exact: Path, pictures: Path) -> None:
    model = load(exact)
    first, others = (
        quantised(model, pictures, pictures=3, agreement=a, stage=unseen) for a in (LOOSE, 0.999)
    )
    assert first.exact == ()
    assert 0 < len(others.exact) < others.layers
    labels = [
        [m.predict(pictures / f"p{i}.png").labels for i in (0, 1, 3)] for m in (model, others.model)
    ]
    assert np.mean([a == b for a, b in zip(*labels, strict=True)]) >= 0.999
    everything = quantised(model, pictures, pictures=3, agreement=1.0, stage=unseen)
    assert len(everything.exact) >= len(others.exact)


def test_weights_take_a_byte_and_the_same_pictures_give_the_same_file(
    exact: Path, low: Path, pictures: Path, tmp_path: Path
) -> None:
    made = quantised(load(exact), pictures, pictures=3, agreement=LOOSE, stage=unseen)
    assert made.model.save(tmp_path / "low.safetensors").read_bytes() == low.read_bytes()
    header, tensors = load_checkpoint(low, quantised=True)
    assert header.version == 3
    assert tensors["conv1_1.weight"].dtype == torch.int8
    assert tensors["conv1_1.scale"].shape == tensors["conv1_1.bias"].shape
    kinds = {t.dtype for n, t in tensors.items() if n.endswith(".weight") and t.ndim == 4}
    assert kinds == {torch.int8}
    assert read_header(exact).version == 2  # as earlier versions read it


def test_each_picture_is_taken_once_from_all_over() -> None:
    first, others = apart(list("abcdefgh"), 2)
    assert (first, others) == (["a", "e"], ["b", "f"])
    assert apart(list("abc"), 2) == (["a", "b"], ["c"])
    assert apart(list("ab"), 9) == (["a", "b"], ["a", "b"])


# -- the command ----------------------------------------------------------------------------------
def test_the_command_writes_a_model_that_all_others_take(
    exact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = folder_set(tmp_path / "data", 8), tmp_path / "low.safetensors"
    (data / "classes.txt").write_text("a\nb\nc\n")
    options = ["--split", "train", "--pictures", "3", "--agreement", str(LOOSE), "--threads", "1"]
    assert command(["quantize", str(exact), str(data), "-o", str(out), *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["calibrated"] == told["compared"] == 3
    assert set(told["mean_iu"]) == {"fp32", "int8"}
    assert LOOSE < told["agreement"] < 1
    assert command(["evaluate", str(out), str(data), "--split", "train", "--json"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["mean_iu"] <= 1
    picture = str(data / "images/p0.png")
    assert command(["predict", str(out), picture, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/p0.png").exists()
    assert command(["weights", "show", str(out)]) == 0
    assert "int8" in capsys.readouterr().out
    before = out.read_bytes()
    assert command(["quantize", str(exact), str(data), "-o", str(out), *options]) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert command(["quantize", str(exact), str(data), "-o", str(out), *options, "--force"]) == 0
    assert out.read_bytes() == before
    shown = capsys.readouterr()
    assert "same labels as in fp32" in shown.out
    assert "convolutions in eight bits" in shown.err


def test_the_model_itself_is_never_written_over(exact: Path, pictures: Path) -> None:
    before = exact.read_bytes()
    words = ["quantize", str(exact), str(pictures), "-o", str(exact), "--force"]
    assert command(words) == 2
    assert exact.read_bytes() == before


# -- refused --------------------------------------------------------------------------------------
def refusal(kind: type[PixelwiseError], work, *told: object) -> PixelwiseError:
    with pytest.raises(kind) as caught:
        work(*told)
    return caught.value


def test_a_precision_that_a_model_has_not_is_refused(exact: Path, low: Path) -> None:
    error = refusal(UsageError, lambda: load(exact, precision="int8"))
    assert str(error) == f"--precision int8 with {exact}, whose weights are no int8"
    assert error.hint.startswith("pixelwise quantize MODEL DATA -o OUT")
    for precision in ("fp32", "bf16"):
        error = refusal(UsageError, lambda p=precision: load(low, precision=p))
        assert "which is quantised to int8" in str(error)


def test_what_needs_float32_weights_refuses_eight_bits_by_name(
    low: Path, pictures: Path, tmp_path: Path
) -> None:
    for work in (
        lambda: read_weights(low),
        lambda: export_model(low, tmp_path / "a.onnx"),
        lambda: load_checkpoint(low),
    ):
        error = refusal(ModelError, work)
        assert (error.code, error.hint) == ("M040", "give the model that it was made from")
        assert f"{low} is quantised" in str(error)
    assert show(low)["header"]["quantised"]["pictures"] == 3
    error = refusal(UsageError, lambda: quantised(load(low), pictures, stage=unseen))
    assert "only what a plan carries out in float32 can be quantised" in str(error)
    assert command(["weights", "import", str(low), "-o", str(tmp_path / "b.safetensors")]) == 4
    assert not list(tmp_path.iterdir())


def test_a_calibration_of_another_net_is_refused(low: Path, tmp_path: Path) -> None:
    assert read_header(low).quantised
    told = read_header(low).quantised
    maps = dict(list(told.maps.items())[1:])
    for i, changes in enumerate(({"layers": ("conv9_9", *told.layers)}, {"maps": maps})):
        path = changed(low, tmp_path / f"{i}.safetensors", **changes)
        error = refusal(ModelError, load, path)
        assert error.code == "M040"
        assert "was quantised for another way of computing fcn8s-tiny" in str(error)
    short = changed(low, tmp_path / "short.safetensors", layers=told.layers[1:])
    assert "not the tensors of this net" in str(refusal(ModelError, load, short))


def test_a_damaged_file_is_refused(low: Path, tmp_path: Path) -> None:
    data = bytearray(low.read_bytes())
    data[-5] ^= 1
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    assert refusal(ModelError, load, path).code == "M002"
    text = low.read_bytes()
    told = read_header(low).quantised
    step = repr(next(iter(told.maps.values()))[0]).encode()
    for worse in (b"-1.0", b"0.0", b"1e999", b"NaN"):
        path.write_bytes(text.replace(step, worse.ljust(len(step)), 1))
        assert refusal(ModelError, load, path).code == "M002"


def test_pictures_and_numbers_that_cannot_be_used(
    exact: Path, pictures: Path, tmp_path: Path
) -> None:
    model = load(exact)
    for told in ({"pictures": 0}, {"agreement": 0.0}, {"agreement": 1.5}):
        error = refusal(
            UsageError, lambda told=told: quantised(model, pictures, stage=unseen, **told)
        )
        assert error.hint == "--pictures 32 --agreement 0.995"
    (tmp_path / "empty").mkdir()
    refusal(DataError, lambda: quantised(model, tmp_path / "empty", stage=unseen))
    data = folder_set(tmp_path / "data", 4)
    (data / "classes.txt").write_text("a\nb\nc\n")
    error = refusal(DataError, lambda: quantised(model, data, split="nosuch", stage=unseen))
    assert error.code == "D032"
    broken = tmp_path / "broken"
    photo(broken / "a.png")
    (broken / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    refusal(DataError, lambda: quantised(model, broken, stage=unseen))


def test_it_is_said_before_any_work_that_this_processor_cannot(
    exact: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantising, "unsupported", lambda _: "no VNNI")
    monkeypatch.setattr(Model, "image", None)
    error = refusal(PixelwiseError, lambda: quantised(pw.load(exact), pictures, stage=unseen))
    assert (error.code, str(error)) == ("R009", "no int8 here: no VNNI")
