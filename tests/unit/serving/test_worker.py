"""What a worker makes of one request, without its pipe."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.small_model import save_model

from pixelwise import load
from pixelwise.errors import NumericalError
from pixelwise.predict.model import Model
from pixelwise.serving import frames
from pixelwise.serving.worker import Request, described, drawn, serve


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(save_model(tmp_path / "run" / "m.safetensors"))


def file(seed: int = 0, size: tuple[int, int] = (30, 40)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
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
    plain = grey(Request(model, sure, {"image": file()}).answered())
    usual = grey(Request(model, refined, {"image": file()}).answered())
    (run / "crf.json").write_text(json.dumps({"iterations": 0}))
    chosen = grey(Request(model, refined, {"image": file()}).answered())
    assert np.abs(chosen - plain).max() <= 1
    assert np.abs(usual - plain).max() > 1


def test_a_fault_of_ours_is_told_without_its_traceback(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "label", lambda *_, **__: 1 / 0)
    head, contents = Request(model, job(), {"image": file()}).answered()
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
    layers = {layer["name"]: layer for layer in net["layers"]}
    crops = [layer for layer in net["layers"] if layer["crop"] is not None]
    for crop in crops:  # as the page explains it
        here, there = (layers[name]["shift"] for name in crop["inputs"])
        assert (there - here) / crop["stride"] == crop["crop"]
    assert len(crops) == 3
    json.dumps([told, net])  # both go through pipes and to clients


def replies(model: Model, *jobs: dict[str, object], files: list[bytes]) -> list[frames.Frame]:
    out = io.BytesIO()
    asked = frames.packed({"jobs": [{**one, "files": ["image"]} for one in jobs]}, files)
    serve({"m": model}, {"m": ""}, io.BytesIO(b"".join(asked)), out)
    out.seek(0)
    return list(iter(lambda: frames.read(out), None))


def test_small_pictures_of_one_size_share_a_pass_and_answer_as_they_do_alone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, maps = list[int](), type(model.predictor.runner).maps

    def counted(runner: object, x: torch.Tensor) -> object:
        passes.append(len(x))
        return maps(runner, x)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model.predictor.runner), "maps", counted)
    sizes = ((30, 40), (30, 40), (30, 40), (40, 30), (30, 40))
    sent = [file(seed, size) for seed, size in enumerate(sizes)]
    forms = ("npz", "json", "png", "png", "png")
    wishes = [job(id=str(i), format=f, probabilities=True) for i, f in enumerate(forms)]
    together = replies(model, *wishes, files=sent)
    assert passes == [3, 1, 1]  # those that wait beside each other, and no others
    alone = [replies(model, w, files=[f])[0] for w, f in zip(wishes, sent, strict=True)]
    assert [contents for _, contents in together] == [contents for _, contents in alone]
    assert all(0 < head["seconds"] < 60 for head, _ in together)


def test_what_gains_nothing_or_is_seen_in_another_way_goes_alone(model: Model) -> None:
    def shape(size: tuple[int, int], **changes: object) -> tuple[object, ...]:
        return Request(model, job(**changes), {"image": file(0, size)}).shape

    assert shape((128, 256)) == ("m", 128, 256)
    assert shape((128, 257)) == ()  # of more pixels than gain
    assert shape((30, 40), mirror=True) == shape((30, 40), crf=True) == ()
    assert shape((30, 40), format="field") == ()
    mirrored = model.shown(mirror=True)
    assert Request(mirrored, job(), {"image": file()}).shape == ()


def test_one_that_fails_in_a_shared_pass_does_not_take_the_others_along(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, maps = type(model.predictor.runner), type(model.predictor.runner).maps
    black = model.predictor.preprocess(np.zeros((30, 40, 3), np.uint8))[0, 0, 0]

    def strict(own: object, x: torch.Tensor) -> object:
        if (x == float(black)).all((1, 2, 3)).any():
            raise NumericalError("N003", "scores that are not finite", "")
        return maps(own, x)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "maps", strict)
    dark = io.BytesIO()
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(dark, "PNG")
    files = [file(0), dark.getvalue(), file(2)]
    made = replies(model, *(job(id=str(i)) for i in range(3)), files=files)
    assert [head.get("error", {}).get("code") for head, _ in made] == [None, "N003", None]
