"""What a worker makes of one request, without its pipe."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.small_model import save_model

from pixelwise import load
from pixelwise.predict.model import Model
from pixelwise.serving import frames
from pixelwise.serving.worker import answered, described, drawn, serve

PHOTO = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(save_model(tmp_path / "run" / "m.safetensors"))


def file() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    return buffer.getvalue()


def job(**changes: object) -> dict[str, object]:
    usual = {"id": "1", "model": "m", "head": "", "format": "png", "masks": "rle", "class": ""}
    return {**usual, "probabilities": False, "mirror": False, "crf": False, "run": "", **changes}


def grey(frame: frames.Frame) -> np.ndarray:
    head, (content,) = frame
    assert head["type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(content)), np.int16)


def test_the_crf_is_the_one_that_was_chosen_for_the_run(model: Model) -> None:
    run = model.path.parent
    sure, refined = job(format="confidence"), job(format="confidence", crf=True, run=str(run))
    plain = grey(answered(model, sure, {"image": file()}))
    usual = grey(answered(model, refined, {"image": file()}))
    (run / "crf.json").write_text(json.dumps({"iterations": 0}))
    chosen = grey(answered(model, refined, {"image": file()}))
    assert np.abs(chosen - plain).max() <= 1
    assert np.abs(usual - plain).max() > 1


def test_a_fault_of_ours_is_told_without_its_traceback(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "label", lambda *_, **__: 1 / 0)
    head, contents = answered(model, job(), {"image": file()})
    assert head["error"] == {"code": "B001", "error": "an error inside pixelwise", "hint": ""}
    assert contents == []


def test_frames_come_one_for_each_job_in_their_order(model: Model) -> None:
    jobs = [job(id=str(i), files=["image"]) for i in range(3)]
    bad = [file(), b"no picture", file()]
    out = io.BytesIO()
    serve({"m": model}, {"m": ""}, io.BytesIO(b"".join(frames.packed({"jobs": jobs}, bad))), out)
    out.seek(0)
    told = []
    while (frame := frames.read(out)) is not None:
        told.append((frame[0]["id"], "error" in frame[0]))
    assert told == [("0", False), ("1", True), ("2", False)]


def test_what_is_told_of_a_model_and_its_net(model: Model) -> None:
    told, net = described("m", model), drawn(model.predictor.net)
    (head,) = told["heads"].values()
    assert (head["kind"], len(head["classes"]), told["bands"]) == ("classes", 3, 3)
    (top,) = [layer for layer in net["layers"] if layer["name"] == net["top"]]
    assert (top["stride"], top["field"], top["channels"]) == (32, 220, 3)
    json.dumps([told, net])  # both go through pipes and to clients
