"""Heads of numbers and edges through the commands: trained, evaluated, predicted, exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pixelwise as pw
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.scenes.write import make_scenes
from pixelwise.engine.build import build
from pixelwise.pictures.images import text_in
from pixelwise.predict.ensembles import ensemble
from pixelwise.weights.checkpoint import read_header
from small_runs import events, stop_after, train

HEADS = "heads=labels,distance,edges"
SMALL = "width=0.25 threads=1 batch=2 optim.name=adamw optim.lr=5e-3"

SETTINGS = f"{HEADS} {SMALL} loss.jaccard=1 loss.class_weights=sqrt iterations=2 validate_every=1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("scenes") / "s", count=20, size=(32, 40))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps; each of the three kinds as a head."""
    folder = tmp_path_factory.mktemp("runs") / "r"
    assert train(data, folder, SETTINGS) == 0
    return folder


def out_of(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_spec_header_and_model_have_the_kinds_of_the_data(data: Path, trained: Path) -> None:
    header = read_header(trained / "weights/best.safetensors")
    assert list(header.options["kinds"]) == ["distance", "edges"]
    assert header.heads["distance"].classes == ("metres",)
    model = pw.load(trained)
    kind, net = model.predictor.net.kind("distance"), model.predictor.net
    known = [
        np.log(1) + open_dataset(data).using(heads=["distance"]).read(item).labels[::3, ::3].ravel()
        for item in open_dataset(data).items("train")
    ]
    values = np.concatenate(known).astype(float)
    assert kind.centre == (pytest.approx(np.nanmean(values)),)
    assert kind.spread == (pytest.approx(np.nanstd(values)),)
    assert (kind.step, kind.void, net.kind("edges").kind) == (0.001, 0, "edges")
    assert not net.kind("labels").measured


def test_a_run_tells_of_each_head_and_resumes_to_the_bit(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = events(trained, "validate")[-1]
    assert validated["heads"]["distance"]["rmse"] > 0
    assert 0 <= validated["heads"]["edges"]["f"] <= 1
    assert validated["mean_iu"] == validated["heads"]["labels"]["mean_iu"]
    losses = events(trained, "step")[-1]["head_losses"]
    assert set(losses) == {"labels", "distance", "edges"}
    assert "Scores: distance" in (trained / "report.html").read_text()
    assert "cannot be shown" not in (trained / "report.html").read_text()
    stop_after(monkeypatch, 1)
    assert train(data, tmp_path / "r", SETTINGS) == 143
    monkeypatch.undo()
    assert train(data, tmp_path / "r", SETTINGS, "--resume") == 0
    one, other = (load_file(r / "weights/last.safetensors") for r in (trained, tmp_path / "r"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("settings", ["loss.numbers=log", "loss.numbers=l2 loss.reduction=image"])
def test_numbers_alone_are_trained_planned_and_looked_at(
    data: Path, tmp_path: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path / "r", f"heads=distance {SMALL} iterations=1 {settings}") == 0
    err = capsys.readouterr().err
    assert "the mean alone would get RMSE" in err
    assert "mean IU" not in err
    assert (tmp_path / "r/look.png").exists()
    kind = pw.load(tmp_path / "r").predictor.net.kind("distance")
    assert kind.log == ("log" in settings)
    page = (tmp_path / "r/report.html").read_text()
    assert "cannot be shown" not in page
    assert "not shown" not in page
    assert page.count('alt="errors of ') == min(8, len(open_dataset(data).items("val")))
    assert "variance explained" in page
    assert "RMSE" in page


def test_evaluation_says_what_the_maps_that_it_keeps_say(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "evaluate",
        str(trained),
        str(data),
        "--device",
        "cpu",
        "--save",
        str(tmp_path / "g"),
    ]
    assert run([*command, "--json"]) == 0
    found = out_of(capsys)["heads"]
    assert found["labels"]["mean_iu"] is not None
    assert found["distance"]["kind"] == "numbers"
    off, pixels = 0.0, 0
    dataset = open_dataset(data).using(heads=["distance"])
    for item in dataset.items("val"):
        path = tmp_path / f"g/distance/{item.name}.png"
        guess = np.asarray(Image.open(path)) * float(text_in(path)["step"])
        truth = dataset.read(item).labels[..., 0]
        known = np.isfinite(truth)
        off, pixels = off + ((guess - truth)[known] ** 2).sum(), pixels + known.sum()
    assert found["distance"]["rmse"] == pytest.approx(np.sqrt(off / pixels), abs=1e-3)
    assert len(found["edges"]["per_image"]) == len(dataset.items("val"))
    assert run([*command[:-2], "--heads", "edges"]) == 0
    assert "edges everywhere would get F" in capsys.readouterr().err


def test_predictions_are_numbers_with_their_scale_and_pictures_of_them(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    picture, out = data / "images/room_0000.png", tmp_path / "o"
    kinds = "labels,overlay,scores,polygons,areas,sheet"
    command = ["predict", str(trained), str(picture), "--device", "cpu", "--save", kinds]
    assert run([*command, "-o", str(out)]) == 0
    model = pw.load(trained, device="cpu")
    made = model.predict(picture).heads
    stored = Image.open(out / "distance/room_0000.png")
    assert stored.mode == "I;16"
    numbers = made["distance"].labels[..., 0]
    counts = np.asarray(stored)
    assert np.array_equal(counts, np.clip(numbers / 0.001, 0, 65535).round())
    exact = np.load(out / "distance/room_0000_scores.npz")["numbers"]
    assert np.array_equal(exact, made["distance"].labels)
    edge = np.asarray(Image.open(out / "edges/room_0000.png"))
    assert edge.dtype == np.uint8
    assert np.array_equal(edge, (255 * made["edges"].labels[..., 0]).round())
    assert (out / "edges/room_0000_overlay.jpg").exists()
    assert (out / "room_0000.geojson").exists()  # of the head of classes alone
    assert not (out / "distance/room_0000.geojson").exists()
    assert made["distance"].mask.size == (40, 32)
    # The head's number is its score on the scale of the training data.
    kind = model.predictor.net.kind("distance")
    scores = model.predictor.by_head(model.image(picture))["distance"].scores
    by_hand = scores.numpy()[0] * kind.spread[0] + kind.centre[0]
    assert numbers == pytest.approx(by_hand, rel=1e-5)


def test_the_mirror_image_and_an_ensemble_give_the_mean_of_numbers(
    data: Path, trained: Path
) -> None:
    model, picture = (
        pw.load(trained, device="cpu"),
        pw.load(trained, device="cpu").image(data / "images/street_0001.png"),
    )
    one = model.label(picture).heads["distance"].labels
    other = model.label(picture[:, ::-1]).heads["distance"].labels[:, ::-1]
    both = model.shown(mirror=True).label(picture).heads["distance"].labels
    assert both == pytest.approx((one + other) / 2, abs=1e-3)
    same = ensemble([model, model]).label(picture).heads["distance"].labels
    assert same == pytest.approx(one, abs=1e-4)


def test_onnx_gives_the_same_numbers(data: Path, trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "m.onnx"
    assert run(["export", str(trained), "-o", str(out)]) == 0
    picture = data / "images/room_0002.png"
    ours, theirs = (pw.load(p, device="cpu").predict(picture).heads for p in (trained, out))
    for head in ("distance", "edges"):
        assert theirs[head].labels == pytest.approx(ours[head].labels, abs=1e-3)
    assert theirs["distance"].kind == ours["distance"].kind


def test_what_is_of_classes_refuses_numbers_by_name(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = tmp_path / "only"
    assert train(data, only, f"heads=distance {SMALL} iterations=1") == 0
    capsys.readouterr()
    picture, out = str(data / "images/room_0000.png"), str(tmp_path / "o")
    refused = [
        (["predict", str(trained), picture, "-o", out, "--crf"], "crf"),
        (["predict", str(trained), picture, "-o", out, "--min-area", "5"], "min_area"),
        (["predict", str(only), picture, "-o", out, "--fill-holes", "5"], "fill_holes"),
        (["evaluate", str(only), str(data), "--reject", "0.5"], "reject"),
        (["predict", str(only), picture, "-o", out, "--save", "polygons"], "--save polygons"),
        (["predict", str(only), picture, "-o", out, "--uncertain", "1"], "--uncertain"),
        (["export", str(trained), "-o", f"{out}.onnx", "--labels"], "--labels"),
        (["quantize", str(trained), str(data), "-o", f"{out}.safetensors"], "quantised nets"),
        (["compare", str(only), str(data), "-o", out], "a comparison"),
    ]
    for command, what in refused:
        assert run(command) == 2
        assert f"{what}: head `distance` gives numbers, expected classes" in capsys.readouterr().err
    assert not Path(out).exists()


def test_logarithms_of_what_is_not_above_zero_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = json.loads((data / "dataset.json").read_text())
    lines["heads"]["distance"]["void"] = None
    copy = tmp_path / "d"
    copy.mkdir()
    for part in ("images", "labels", "depth", "geometric", "splits", "cameras.json"):
        (copy / part).symlink_to(data / part)
    (copy / "dataset.json").write_text(json.dumps(lines))
    settings = f"heads=distance {SMALL} iterations=1 loss.numbers=log"
    assert train(copy, tmp_path / "r", settings) == 2
    assert "head `distance` has 0, expected above 0" in capsys.readouterr().err


def test_three_planes_restore_pictures(data: Path, tmp_path: Path) -> None:
    """Restoration is a head of three planes: noisy pictures in, clean ones as labels."""
    root = tmp_path / "d"
    (root / "noisy").mkdir(parents=True)
    (root / "clean").symlink_to(data / "images")
    (root / "splits").symlink_to(data / "splits")
    rng = np.random.default_rng(0)
    for path in sorted((data / "images").iterdir()):
        clean = np.asarray(Image.open(path)).astype(float)
        noisy = (clean + rng.normal(0, 25, clean.shape)).clip(0, 255).round()
        Image.fromarray(noisy.astype(np.uint8)).save(root / "noisy" / path.name)
    clean_head = {"folder": "clean", "kind": "numbers", "planes": ["red", "green", "blue"]}
    lines = {"inputs": {"image": "noisy"}, "heads": {"clean": clean_head}}
    (root / "dataset.json").write_text(json.dumps(lines))
    assert train(root, tmp_path / "r", f"{SMALL} iterations=2") == 0
    out, picture = tmp_path / "o", root / "noisy/room_0000.png"
    assert run(["predict", str(tmp_path / "r"), str(picture), "-o", str(out)]) == 0
    with Image.open(out / "room_0000.png") as made:
        assert made.mode == "RGB"
    scores = json.loads((tmp_path / "r/evaluation/scores.json").read_text())
    assert scores["classes"] == ["red", "green", "blue"]
    assert scores["rmse"] < 120


@pytest.mark.slow
def test_distances_and_edges_are_learned(tmp_path: Path) -> None:
    """Distances are far nearer than their mean; edges are found as an untrained net finds none."""
    data = make_scenes(tmp_path / "s", count=60, size=(48, 64))
    settings = "heads=distance,edges width=1 threads=1 batch=8 iterations=250 optim.name=adamw"
    settings += " optim.lr=5e-3 schedule.warmup=10 ema=0.95 validate_every=250"
    assert train(data, tmp_path / "r", settings) == 0
    model = pw.load(tmp_path / "r", device="cpu")
    learned = model.evaluate(data, "test").heads
    distance, edges = learned["distance"].measures, learned["edges"].measures
    assert distance is not None
    assert edges is not None
    assert distance.values["explained"] > 0.5  # RMSE below 0.71 of that of the mean
    header = read_header(tmp_path / "r/weights/best.safetensors")
    fresh = build(header.net, **dict(header.options))
    model.predictor.runner.network.load_state_dict(fresh.state_dict())
    untrained = model.evaluate(data, "test").heads["edges"].measures
    assert untrained is not None
    assert edges.values["f"] > untrained.values["f"] + 0.1
