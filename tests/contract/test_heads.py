"""Several heads and several inputs, from the files through training to scores by head."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import small_runs
from make_data import picture, two_of_each
from pixelwise.cli.app import run as command
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.sample import Sample
from pixelwise.data.scenes.write import make_scenes
from pixelwise.errors import DataError, ModelError, UsageError
from pixelwise.predict.model import Model, load
from pixelwise.training import loop
from pixelwise.training.recipe import Loss, Recipe
from pixelwise.training.state import generations
from pixelwise.weights.checkpoint import load_checkpoint, read_header, save_checkpoint
from problems import told
from two_heads import HEADS, SETTINGS

Out = pytest.CaptureFixture[str]


@pytest.fixture
def data(two_headed_data: Path) -> Path:
    return two_headed_data


@pytest.fixture
def trained(two_headed_run: Path) -> Path:
    return two_headed_run


@pytest.fixture
def model(trained: Path) -> Model:
    return load(trained, device="cpu")


def test_a_run_learns_both_heads_and_its_journal_tells_of_each(trained: Path, data: Path) -> None:
    steps, checks = (small_runs.events(trained, kind) for kind in ("step", "validate"))
    for event in steps:
        losses = event["head_losses"]
        assert list(losses) == list(HEADS)
        assert event["loss"] == pytest.approx(losses["things"] + 0.5 * losses["shapes"])
    assert checks[-1]["mean_iu"] == checks[-1]["heads"]["things"]["mean_iu"]
    scores = [check["heads"][head]["mean_iu"] for check in checks[-1:] for head in HEADS]
    assert min(scores) > 0.8, scores
    start = small_runs.events(trained, "start")[0]
    assert start["heads"] == {head: list(names) for head, names in HEADS.items()}
    assert start["inputs"] == {"colour": "3 bands of uint8", "depth": "1 band of uint16"}


def test_the_header_names_heads_and_inputs_and_rebuilds_the_net(model: Model) -> None:
    header = model.header
    assert {head: own.classes for head, own in header.heads.items()} == HEADS
    assert header.classes == HEADS["things"]
    assert header.options["heads"] == {"things": 3, "shapes": 2}
    assert header.options["inputs"] == {"colour": 3, "depth": 1}
    assert header.options["fusion"] == "sum"
    assert {name: str(kind) for name, kind in header.inputs.items()} == {
        "colour": "3 bands of uint8",
        "depth": "1 band of uint16",
    }
    assert {"conv1_1colour", "conv1_1depth", "score_things", "score_shapes"} <= {
        *model.predictor.net.layers
    }


def test_an_evaluation_scores_each_head_as_training_did(
    trained: Path, data: Path, tmp_path: Path, capsys: Out
) -> None:
    """By one prediction a picture; label maps that are kept are scored alike by hand."""
    words = ["evaluate", str(trained), str(data), "--save", str(tmp_path / "kept"), "--json"]
    assert command([*words, "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    best = next(e for e in reversed(small_runs.events(trained, "validate")) if e["best"])
    assert list(found["heads"]) == list(HEADS)
    for head, folder, truth in (("things", "", "labels"), ("shapes", "shapes", "shapes")):
        own = found["heads"][head]
        assert own["classes"] == list(HEADS[head])
        assert own["mean_iu"] == best["heads"][head]["mean_iu"]
        counts = np.zeros((len(HEADS[head]),) * 2, int)
        for path in sorted((tmp_path / "kept" / folder).glob("*.png")):
            guess, true = (np.array(Image.open(p)) for p in (path, data / truth / path.name))
            np.add.at(counts, (true.ravel(), guess.ravel()), 1)
        assert own["confusion"] == counts.tolist()
        assert counts.sum() == 40 * 48 * found["images"]
    first = {k: v for k, v in found.items() if k not in ("heads", "model", "data", "split", "mask")}
    assert first == found["heads"]["things"]
    stored = json.loads((trained / "evaluation/scores.json").read_text("utf-8"))
    assert stored["heads"]["shapes"]["confusion"] == found["heads"]["shapes"]["confusion"]


def test_a_picture_is_given_as_its_inputs_by_name(model: Model, data: Path) -> None:
    paths = {"colour": data / "images/p1.png", "depth": data / "depth/p1.png"}
    found = model.predict(paths)
    assert list(found.heads) == list(HEADS)
    assert found.heads["shapes"].classes == ("flat", "high")
    assert np.array_equal(found.labels, found.heads["things"].labels)
    assert (found.labels == picture(1)[1]).mean() > 0.9
    assert (found.heads["shapes"].labels == (picture(1)[1] > 0)).mean() > 0.9
    dataset = open_dataset(data)
    stack = dataset.read(next(i for i in dataset.all_items() if i.name == "p1")).image
    again = model.predict(stack)
    turned = model.predict(
        {"depth": stack[..., 3], "colour": np.array(Image.open(paths["colour"]))}
    )
    for other in (again, turned):
        for head in HEADS:
            assert np.array_equal(other.heads[head].labels, found.heads[head].labels)


def test_inputs_that_do_not_fit_the_model_are_refused_by_name(model: Model, data: Path) -> None:
    colour = np.array(Image.open(data / "images/p1.png"))
    depth = np.array(Image.open(data / "depth/p1.png"))
    for given, code, message in (
        (data / "images/p1.png", "U002", "takes colour, depth, and one picture was given"),
        ({"colour": colour}, "U002", "takes colour, depth, given was colour"),
        (
            {"colour": colour, "depth": (depth // 256).astype(np.uint8)},
            "D015",
            "input `depth` is 1 band of uint8, the net was trained on 1 band of uint16",
        ),
        (
            {"colour": colour, "depth": depth[:30]},
            "D013",
            "input `depth` is 30x48, colour is 40x48",
        ),
        ({"colour": depth, "depth": depth}, "D018", "input `colour` is 1 band of uint16"),
        ({"colour": colour, "depth": data / "no.png"}, "D010", "no.png"),
        (colour, "D018", "the net takes (H, W, 4)"),
    ):
        with pytest.raises((UsageError, DataError)) as caught:
            model.predict(given)
        assert caught.value.code == code
        assert message in str(caught.value)


def test_a_head_without_labels_in_the_data_is_refused_with_what_can_be_scored(
    trained: Path, data: Path, tmp_path: Path, capsys: Out
) -> None:
    root = shutil.copytree(data, tmp_path / "d")
    described = json.loads((root / "dataset.json").read_text())
    del described["heads"]["shapes"]
    (root / "dataset.json").write_text(json.dumps(described))
    words = ["evaluate", str(trained), str(root), "--device", "cpu", "--json"]
    assert command(words) == 3
    said = capsys.readouterr().err
    assert "has no labels for head `shapes`; there are: things" in said
    assert "--heads things" in said
    assert command([*words, "--heads", "things"]) == 0
    part = json.loads(capsys.readouterr().out)
    assert "heads" not in part
    whole = load(trained, device="cpu").evaluate(data)
    assert part["confusion"] == whole.heads["things"].counts.tolist()
    assert command([*words, "--heads", "thinks"]) == 2
    assert "no head of" in capsys.readouterr().err


def test_depth_of_another_unit_or_none_is_refused_by_its_file(
    model: Model, data: Path, tmp_path: Path
) -> None:
    """Of 8 bits it was once as deep as it is high: scores fell, and nothing was said."""
    root = shutil.copytree(data, tmp_path / "d")
    for path in (root / "depth").iterdir():
        depth = np.array(Image.open(path))
        Image.fromarray((depth // 256).astype(np.uint8)).save(path)
    with pytest.raises(DataError, match=r"depth/p\d.png is 1 band of uint8, the net was") as caught:
        model.evaluate(root)
    assert caught.value.code == "D015"
    described = json.loads((root / "dataset.json").read_text())
    described["inputs"] = {"colour": "images"}
    (root / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match="has no pictures for input `depth`; there are: colour"):
        model.evaluate(root)


def test_one_head_of_several_is_trained_under_its_own_name(data: Path, tmp_path: Path) -> None:
    """Its layers are named as those of any net of one head; its classes are its own."""
    settings = "heads=shapes inputs=colour width=0.25 batch=2"
    assert small_runs.train(data, tmp_path / "run", settings, "--iterations", "3") == 0
    model = load(tmp_path / "run", device="cpu")
    assert "score_fr" in model.predictor.net.layers
    assert [*model.heads] == ["shapes"]
    assert model.classes == ("flat", "high")
    assert model.evaluate(data).classes == ("flat", "high")  # not the data's first head
    one = open_dataset(data).using(inputs=["colour"], heads=["shapes"])
    renamed = replace(
        one,
        heads=("floor",),
        class_maps={"floor": one.class_map},
        splits={
            split: tuple(replace(i, labels={"floor": i.labels["shapes"]}) for i in items)
            for split, items in one.splits.items()
        },
    )
    assert model.evaluate(renamed).counts.tolist() == model.evaluate(data).counts.tolist()


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        ("heads=things,shape", 2, "no head of"),
        ("inputs=colour,hha", 2, "no input of"),
        ("heads=things loss.head_weights.shapes=2", 2, "in use is called `shapes`"),
        ("inputs=colour fusion=sum", 2, "makes a picture of one input, `colour`"),
        ("heads=things,things", 2, "heads names `things` twice"),
        ("net=siftflow-fcn8s heads=things", 2, "contradicts its heads sem (33), geo (3)"),
        ("net=nyud-fcn32s-color heads=shapes inputs=depth,colour net=alexnet", 2, "classifier"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(
    data: Path, tmp_path: Path, capsys: Out, settings: str, status: int, message: str
) -> None:
    assert small_runs.train(data, tmp_path / "run", f"{settings} width=0.0625") == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_picture_without_labels_for_one_head_is_a_problem_of_its_name(
    data: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(data, tmp_path / "d")
    (root / "shapes/p3.png").unlink()
    described = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**described, "use": ["colour", "things"]}))
    assert open_dataset(root).problems == ()
    both = open_dataset(root).using(heads=["things", "shapes"])
    split = next(s for s, items in both.splits.items() if "p3" in {i.name for i in items})
    (problem,) = told(lambda: both.items(split))
    assert problem.startswith("D031")
    assert "p3.png" in problem
    assert "has no label map (head `shapes`)" in problem


def test_a_run_of_two_heads_goes_on_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journal included: the mean loss of each head over all steps since the last one logged."""
    settings = (
        "net=fcn8s-vgg16-tight width=0.015625 batch=2 accumulate=2 crop=32x32 ema=0.9 save_every=1 "
        "fusion=average loss.keep=0.5 augment.jitter=2 augment.rare=0.3 augment.paste=0.5 "
        "validate_every=4 threads=1"
    )
    length = ("--iterations", "4")
    assert small_runs.train(data, tmp_path / "whole", settings, *length) == 0
    with monkeypatch.context() as stopped:
        small_runs.stop_after(stopped, 2)
        assert small_runs.train(data, tmp_path / "run", settings, *length) == 143
    assert small_runs.train(data, tmp_path / "run", settings, *length, "--resume") == 0
    whole, parts = (load_file(generations(tmp_path / r)[-1]) for r in ("whole", "run"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    for kind, fields in (("step", ("loss", "head_losses")), ("validate", ("heads", "mean_iu"))):
        for a, b in zip(
            *(small_runs.events(tmp_path / r, kind) for r in ("whole", "run")), strict=True
        ):
            assert [a[f] for f in fields] == [b[f] for f in fields]
    other = two_of_each(tmp_path / "other")
    assert small_runs.train(other, tmp_path / "run", "heads=things", "--resume") == 2


def test_a_fine_tuned_head_keeps_its_scores_where_its_classes_are_the_same(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    """One head's other classes leave the other head's scores alone."""
    root = shutil.copytree(data, tmp_path / "d")
    words = f"{SETTINGS} validate_every=0 optim.lr=1e-7"
    assert (
        small_runs.train(
            root, tmp_path / "same", words, "--weights", str(trained), "--iterations", "1"
        )
        == 0
    )
    moved = small_runs.events(tmp_path / "same", "start")[0]["weights"]["counts"]
    assert moved["mismatched"] == 0
    text = (root / "dataset.json").read_text().replace('"high"', '"tall"')
    (root / "dataset.json").write_text(text)
    out = tmp_path / "other"
    assert small_runs.train(root, out, words, "--weights", str(trained), "--iterations", "1") == 0
    start = small_runs.events(out, "start")[0]["weights"]
    assert start["counts"]["matched"] > 0  # flat keeps its scores, tall begins anew
    assert read_header(out / "weights/last.safetensors").heads["shapes"].classes == ("flat", "tall")


def test_a_sample_counts_the_labels_of_all_heads() -> None:
    heads = {name: np.zeros((4, 5), np.uint8) for name in HEADS}
    assert Sample("a", np.zeros((4, 5, 3), np.uint16), heads).nbytes == 4 * 5 * (6 + 1 + 1)


def test_the_total_weighs_heads_that_are_named_and_counts_others_once() -> None:
    loss = Loss(head_weights={"shapes": 0.5, "none": 0})
    assert loss.total({"things": 2.0, "shapes": 3.0, "none": 9.0}) == 3.5


def test_the_report_shows_each_head(trained: Path) -> None:
    """Scores, images, classes and confusions of each, and curves of each in one section."""
    page = (trained / "report.html").read_text("utf-8")
    scores = json.loads((trained / "evaluation/scores.json").read_text("utf-8"))["heads"]
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    for head in HEADS:
        for part in ("Scores", "Images", "Classes", "Confusions"):
            assert f"{part}: {head}" in titles
        assert f">{100 * scores[head]['mean_iu']:.1f} %</p>" in page
        assert page.count(f"<b>Loss: {head}</b>") == page.count(f"<b>Validation: {head}</b>") == 2
        assert f'<a href="#images-{head}">' in page
    assert page.count("<b>Loss</b>") == page.count("<b>Learning rate</b>") == 2
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.count('alt="guess of p') == 2 * scores["things"]["images"]
    assert "is not shown" not in page
    assert "collapsed" not in page


def test_a_header_whose_heads_are_not_the_nets_is_refused(trained: Path, tmp_path: Path) -> None:
    header, tensors = load_checkpoint(trained / "weights/best.safetensors")
    shapes = header.heads["shapes"]
    for heads, message in (
        ({"things": header.heads["things"]}, "the net has the heads things, shapes"),
        (
            {**header.heads, "shapes": replace(shapes, classes=("a", "b", "c"))},
            "3 class names for 2 classes",
        ),
    ):
        path = save_checkpoint(tmp_path / "m.safetensors", tensors, replace(header, heads=heads))
        with pytest.raises(ModelError, match=message) as caught:
            load(path)
        assert caught.value.code == "M002"
    wide = {**header.inputs, "depth": replace(header.inputs["depth"], bands=2)}
    path = save_checkpoint(tmp_path / "m.safetensors", tensors, replace(header, inputs=wide))
    with pytest.raises(ModelError, match="5 bands of inputs for 4 channels"):
        load(path)


def test_inputs_of_a_released_net_stand_in_its_order(tmp_path: Path) -> None:
    """Its means are by place: HHA shown with the means of colours would be wrong silently."""
    scenes = make_scenes(tmp_path / "scenes", count=20, size=(32, 40))
    plan = Recipe(
        data=str(scenes),
        net="nyud-fcn32s-color-hha",
        width=1 / 16,
        inputs=("hha", "image"),
        iterations=1,
        device="cpu",
    )
    with pytest.raises(UsageError, match="`hha` stands in the place of another") as caught:
        loop.train(plan, tmp_path / "run")
    assert "--set inputs=color,hha" in caught.value.hint
