"""Several models as one: by hand, the mean of what each gives alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from make_data import folder_set
from pixelwise.cli.app import run
from pixelwise.crf.dense import refine
from pixelwise.crf.parameters import DenseCrf
from pixelwise.errors import ModelError, ResourceError, UsageError
from pixelwise.machine import memory
from pixelwise.pictures import images
from pixelwise.predict import predictor as predictors
from pixelwise.predict.ensembles import ensemble
from pixelwise.predict.model import Model, load
from pixelwise.weights.checkpoint import HeadClasses, save_checkpoint
from small_model import CLASSES, HEADER, photo, pixels, save_classifier, save_model

OTHER = {**HEADER.preprocess, "order": "bgr", "mean": [90.0] * 3}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Of three nets with a preprocessing and a geometry of their own, the last shown mirrored."""
    folder = tmp_path_factory.mktemp("models")
    nets = (("fcn8s-tiny", HEADER.preprocess), ("fcn32s-tiny", OTHER), ("fcn8s-alexnet", OTHER))
    made = [
        load(save_model(folder / f"{i}.safetensors", seed=i, net=net, preprocess=preprocess))
        for i, (net, preprocess) in enumerate(nets[:2])
    ]
    options = {"classes": 3, "width": 1 / 16}
    path = save_model(folder / "2.safetensors", seed=2, net=nets[2][0], options=options)
    return [*made, load(path).shown(mirror=True, zoom=1.5)]


def alone(model: Model, image: np.ndarray) -> np.ndarray:
    soft = model.predict(image, probabilities=True).probabilities
    assert soft is not None
    return soft


@pytest.mark.parametrize("count", [2, 3])
def test_probabilities_are_the_mean_and_labels_their_best(models: list[Model], count: int) -> None:
    image = pixels()
    expected = np.mean([alone(m, image) for m in models[:count]], axis=0)
    both = ensemble(models[:count])
    made = both.predict(image, probabilities=True)
    assert made.probabilities == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(made.labels, expected.argmax(0))
    assert np.array_equal(both.predict(image).labels, made.labels)
    assert not np.array_equal(made.labels, models[0].predict(image).labels)
    assert ensemble(models[:1]) is models[0]


def test_a_view_is_that_of_each_and_a_crf_sees_the_mean(models: list[Model]) -> None:
    image, crf = pixels(), DenseCrf(appearance_rgb=40, iterations=3)
    shown = ensemble(models[:2]).shown(zoom=1.5, mirror=True)
    expected = np.mean([alone(m.shown(zoom=1.5, mirror=True), image) for m in models[:2]], axis=0)
    assert alone(shown, image) == pytest.approx(expected, abs=1e-6)
    refined = alone(shown.shown(crf=crf), image)
    assert refined == pytest.approx(refine(expected, image, crf), abs=1e-4)
    assert not np.allclose(refined, expected, atol=1e-2)  # or the test could not tell


def test_a_probability_of_zero_stays_a_number(models: list[Model], tmp_path: Path) -> None:
    steep = []
    for i, model in enumerate(models[:2]):
        state = dict(model.predictor.runner.network.state_dict())
        state["score_fr.weight"] = 1e6 * state["score_fr.weight"]
        path = tmp_path / f"{i}.safetensors"
        save_checkpoint(path, state, model.header)
        steep.append(load(path))
    made = alone(ensemble(steep), pixels())
    assert np.isfinite(made).all()
    assert made.sum(0) == pytest.approx(np.ones((40, 56)), abs=1e-5)
    assert (made < 1e-30).any()


def test_heads_go_by_name(tmp_path: Path) -> None:
    def two(name: str, order: tuple[str, str], seed: int) -> Model:
        known = {"things": HeadClasses(("a", "b", "c")), "shapes": HeadClasses(("flat", "high"))}
        heads = {head: known[head] for head in order}
        counts = {head: len(own.classes) for head, own in heads.items()}
        options = {"heads": counts, "width": 0.25}
        first = heads[order[0]].classes
        path = tmp_path / f"{name}.safetensors"
        changes = {"options": options, "heads": heads, "classes": first, "palette": ()}
        return load(save_model(path, seed=seed, **changes))

    first = two("first", ("things", "shapes"), 0)
    second = two("second", ("shapes", "things"), 1)
    image = pixels()
    mine, theirs = (m.predict(image, probabilities=True).heads for m in (first, second))
    made = ensemble([first, second]).predict(image, probabilities=True).heads
    for head in ("things", "shapes"):
        mean = (mine[head].probabilities + theirs[head].probabilities) / 2
        assert made[head].probabilities == pytest.approx(mean, abs=1e-6)
    with pytest.raises(ModelError, match="its heads are things, shapes, expected "):
        ensemble([load(save_model(tmp_path / "one.safetensors")), first])
    with pytest.raises(ModelError, match=r"heads are .*, expected things, shapes"):
        ensemble([first, load(tmp_path / "one.safetensors")])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"classes": ("wall", "door", "floor")},
            "others .*1: `door` / `tür, door`",
        ),
        (
            {"classes": ("wall", "floor"), "palette": (), "options": {"classes": 2, "width": 0.25}},
            "2 / 3 classes; 1: `floor` / `tür, door`",
        ),
        (
            {
                "options": {"classes": 3, "width": 0.25, "inputs": {"image": 1}},
                "preprocess": {"order": "rgb", "scale": 1.0, "mean": [1.0], "std": [1.0]},
            },
            "its number of bands is 1, expected 3",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    models: list[Model], tmp_path: Path, changes: dict, text: str
) -> None:
    path = save_model(tmp_path / "other.safetensors", **changes)
    start = f"^{path} has no ensemble with {models[0].path}: "
    with pytest.raises(ModelError, match=start + rf".*{text}"):
        ensemble([models[0], load(path)])


def test_coarse_maps_have_no_ensemble_and_an_ensemble_is_no_file(
    models: list[Model], tmp_path: Path
) -> None:
    classifier = load(save_classifier(tmp_path / "classifier.safetensors"))
    with pytest.raises(UsageError, match="ensemble: the net gives a coarse map"):
        ensemble([classifier, classifier])
    with pytest.raises(ModelError, match="an ensemble, which is no checkpoint"):
        ensemble(models).save(tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()


def test_memory_is_asked_for_each_net_with_the_sum_beside(
    models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        predictors, "check_picture", lambda *_, scores, beside: asked.append((scores, beside))
    )
    both = ensemble(models[:2])
    assert both.predictor.blocks((40, 56)) == []
    assert asked == [(True, 0), (True, 3 * 40 * 56)]
    monkeypatch.undo()
    monkeypatch.setattr(memory, "available", lambda _: 10**5)
    with pytest.raises(ResourceError, match="a picture of 40x56"):
        both.predict(pixels())


def test_trained_pictures_are_those_of_all(models: list[Model]) -> None:
    def noted(model: Model, **facts: object) -> Model:
        return replace(model, header=replace(model.header, **facts))

    a, b = (
        noted(models[0], data={"trained_on": ["x"]}),
        noted(models[1], data={"trained_on": ["y"]}),
    )
    assert ensemble([a, b]).header.trained_on == {"x", "y"}
    assert ensemble([a, noted(models[1], step=5)]).header.trained_on is None


def test_the_commands_take_further_models(
    models: list[Model], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = photo(tmp_path / "photo.png"), tmp_path / "out"
    first, second = (str(m.path) for m in models[:2])
    words = ["predict", first, str(source), "-o", str(out), "--save", "labels"]
    assert run([*words, "--with", second]) == 0
    both = ensemble([load(first), load(second)])
    made = images.read_labels(out / "photo.png")
    assert np.array_equal(made, both.predict(source).labels)
    assert run(words) == 2  # a folder of one model is not that of an ensemble
    assert "by another model" in capsys.readouterr().err
    data = folder_set(tmp_path / "data")
    (data / "classes.txt").write_text("\n".join(CLASSES))
    assert run(["evaluate", first, str(data), "--with", second, "--mirror", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["confusion"] == both.shown(mirror=True).evaluate(data).counts.tolist()
    assert scores["confusion"] != load(first).shown(mirror=True).evaluate(data).counts.tolist()
    assert run([*words, "--with", str(tmp_path / "none")]) == 4
