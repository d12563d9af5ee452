"""Runs that start from others: what is kept, and what begins anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import pixelwise as pw
import small_runs
from make_data import folder_set, two_of_each
from pixelwise.cli.app import run as command
from pixelwise.errors import UsageError
from pixelwise.machine.files import write_json
from pixelwise.training import loop
from pixelwise.training.recipe import Optim
from pixelwise.training.recipe_text import read_recipe
from pixelwise.weights.checkpoint import load_checkpoint
from pixelwise.weights.load import read_weights
from pixelwise.weights.published import at_hand, named
from small_runs import events, recipe
from two_heads import SETTINGS


def test_fine_tuning_keeps_the_trunk_and_starts_other_classes_anew(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pixelwise")
    other = folder_set(tmp_path / "other", count=6)
    write_json(other / "classes.json", {"classes": ["a", "b", "c", "d", "e"]})
    plan = recipe(other, weights=str(finished), iterations=1, optim=Optim("sgd", lr=1e-12))
    loop.train(plan.replace(force=True, frozen_bn=True), tmp_path / "tuned")
    told = events(tmp_path / "tuned", "start")[0]["weights"]
    rows = {row["target"]: row["action"] for row in told["rows"]}
    old, new = (
        load_checkpoint(run / "weights" / name)[1]
        for run, name in ((finished, "best.safetensors"), (tmp_path / "tuned", "last.safetensors"))
    )
    scored = [name for name in new if name.startswith("score")]
    assert scored
    for name, tensor in new.items():
        if name in scored:
            assert tensor.shape[0] == 5
            assert tensor.abs().max() < 1e-9  # zero, and one step at a rate of nothing
            assert rows[name] != "copied"
        else:
            torch.testing.assert_close(tensor, old[name], msg=name)
    assert pw.load(tmp_path / "tuned").classes == ("a", "b", "c", "d", "e")
    assert "other classes: score_fr.bias, score_fr.weight" in caplog.text
    assert "start anew, the rest is kept" in caplog.text
    assert len(told["notes"]) == len(set(told["notes"])) == 1


def tuned(finished: Path, data: Path, names: list[str], run: Path, **changes) -> tuple[dict, dict]:
    """One step at a rate of nothing on data with these classes; its rows, and its score layers."""
    write_json(data / "classes.json", {"classes": names})
    plan = recipe(data, weights=str(finished), iterations=1, optim=Optim("sgd", lr=1e-12))
    loop.train(plan.replace(force=True, **changes), run)
    told = events(run, "start")[0]["weights"]
    tensors = load_checkpoint(run / "weights/last.safetensors")[1]
    return told, {name: t for name, t in tensors.items() if name.startswith("score")}


def test_as_many_classes_of_other_names_are_other_classes(finished: Path, tmp_path: Path) -> None:
    other = folder_set(tmp_path / "other", count=6)
    told, scores = tuned(finished, other, ["a", "b", "c"], tmp_path / "tuned")
    assert "start anew, the rest is kept" in told["notes"][-1]
    assert max(t.abs().max() for t in scores.values()) < 1e-9
    assert {r["action"] for r in told["rows"] if r["target"].startswith("score")} == {"mismatched"}


@pytest.mark.parametrize("names", [["road", "sky", "grass"], ["house", "road", "sky", "lake"]])
def test_classes_of_the_same_name_keep_their_scores_wherever_they_stand(
    finished: Path, tmp_path: Path, names: list[str]
) -> None:
    """The run has sky, grass and road, in this order."""
    other = folder_set(tmp_path / "other", count=6)
    told, scores = tuned(finished, other, names, tmp_path / "tuned")
    old = load_checkpoint(finished / "weights/best.safetensors")[1]
    before = ["sky", "grass", "road"]
    assert scores
    for layer, tensor in scores.items():
        for k, name in enumerate(names):
            kept = old[layer][before.index(name)] if name in before else torch.zeros(())
            expected = kept.expand_as(tensor[k])
            torch.testing.assert_close(tensor[k], expected, atol=1e-9, rtol=1e-6)
    assert {r["action"] for r in told["rows"] if r["target"].startswith("score")} == {"matched"}
    if "house" in names:
        assert told["notes"] == [
            "classes by name: road, sky keep their scores; new: house, lake; no longer there: grass"
        ]


def test_new_classes_start_as_score_start_says(finished: Path, tmp_path: Path) -> None:
    other = folder_set(tmp_path / "other", count=6)
    names = ["sky", "grass", "road", "house"]
    _, scores = tuned(finished, other, names, tmp_path / "tuned", score_start="random")
    old = load_checkpoint(finished / "weights/best.safetensors")[1]
    torch.testing.assert_close(scores["score_fr.weight"][:3], old["score_fr.weight"])
    assert scores["score_fr.weight"][3].std() == pytest.approx(0.01, rel=0.5)


def test_heads_are_matched_each_by_its_own_classes(two_headed_run, two_headed_data, tmp_path):
    """Things a, b, c and shapes flat, high; now c, a and flat, steep."""
    data = two_of_each(tmp_path / "d")
    described = json.loads((data / "dataset.json").read_text())
    described["heads"]["things"]["classes"] = ["c", "a", "b"]
    described["heads"]["shapes"]["classes"] = ["flat", "steep"]
    (data / "dataset.json").write_text(json.dumps(described))
    words = f"{SETTINGS} weights={two_headed_run} optim.name=sgd optim.lr=1e-12 force=true"
    run = tmp_path / "run"
    assert small_runs.train(data, run, words, "--iterations", "1") == 0
    old, new = (
        load_checkpoint(run / "weights" / name)[1]
        for run, name in (
            (two_headed_run, "best.safetensors"),
            (tmp_path / "run", "last.safetensors"),
        )
    )
    things = [n for n in new if n.startswith("score") and "_things." in n]
    shapes = [n for n in new if n.startswith("score") and "_shapes." in n]
    assert things
    assert shapes
    for name in things:
        torch.testing.assert_close(new[name], old[name][[2, 0, 1]], atol=1e-9, rtol=1e-6)
    for name in shapes:
        torch.testing.assert_close(new[name][0], old[name][0], atol=1e-9, rtol=1e-6)
        assert new[name][1].abs().max() < 1e-9


def test_a_run_is_tuned_by_one_command(finished: Path, tmp_path: Path) -> None:
    """Net, width and preprocessing are the run's; a gentle rate; what was learned is kept."""
    few = folder_set(tmp_path / "few", count=3)
    write_json(few / "classes.json", {"classes": ["sky", "grass", "road"]})
    run, words = tmp_path / "tuned", ["--iterations", "2", "--threads", "1", "--device", "cpu"]
    assert command(["train", str(few), "--weights", str(finished), "-o", str(run), *words]) == 0
    plan = read_recipe(run / "recipe.yaml")
    assert (plan.net, plan.width) == ("fcn8s-tiny", 0.5)
    assert plan.optim.lr == 1e-4
    before, after = pw.load(finished), pw.load(run)
    assert after.header.preprocess == before.header.preprocess
    assert after.evaluate(few, "val").scores.mean_iu > 0.5


def test_the_same_classes_keep_their_scores_and_so_do_numbers(finished: Path, tmp_path) -> None:
    other = folder_set(tmp_path / "other", count=6)  # classes 0, 1 and 2: nobody named them
    plan = recipe(other, weights=str(finished), iterations=1)
    loop.train(plan, tmp_path / "tuned")
    told = events(tmp_path / "tuned", "start")[0]["weights"]
    assert told["notes"] == []
    assert {r["action"] for r in told["rows"] if r["target"].startswith("score")} == {"copied"}


def test_learned_upsampling_of_other_classes_starts_anew(data: Path, tmp_path: Path) -> None:
    loop.train(recipe(data, learned="all", iterations=1), tmp_path / "first")
    other = folder_set(tmp_path / "other", count=6)
    write_json(other / "classes.json", {"classes": ["a", "b", "c", "d"]})
    plan = recipe(other, learned="all", iterations=1, weights=str(tmp_path / "first"))
    loop.train(plan, tmp_path / "tuned")
    rows = events(tmp_path / "tuned", "start")[0]["weights"]["rows"]
    ups = {r["target"]: r["action"] for r in rows if r["target"].startswith("up")}
    assert ups
    assert set(ups.values()) == {"mismatched"}


def test_learned_upsampling_and_frozen_trunks_train_what_they_say(finished, data, tmp_path) -> None:
    plan = recipe(data, weights=str(finished), iterations=3, freeze="trunk")
    loop.train(plan, tmp_path / "frozen")
    old = load_checkpoint(finished / "weights" / "best.safetensors")[1]
    new = load_checkpoint(tmp_path / "frozen" / "weights" / "last.safetensors")[1]
    changed = {name.partition(".")[0] for name in new if not torch.equal(new[name], old[name])}
    assert changed
    assert all(name.startswith("score") for name in changed)
    with pytest.raises(UsageError, match="freeze: trunk needs weights"):
        recipe(data, freeze="trunk")


def test_imagenet_is_the_trunks_published_weights(data: Path, tmp_path: Path) -> None:
    path = at_hand(named("efficientnetlite0"))
    if path is None:
        pytest.skip("the extra `pretrained` is not installed")
    plan = recipe(
        data,
        net="fcn32s-efficientnetlite0",
        width=1.0,
        weights="imagenet",
        iterations=1,
        optim=Optim("sgd", lr=1e-12),
        frozen_bn=True,
        force=True,
    )
    loop.train(plan, tmp_path / "run")
    start = events(tmp_path / "run", "start")[0]
    assert start["weights"]["file"] == str(path)
    header, tensors = load_checkpoint(tmp_path / "run" / "weights" / "last.safetensors")
    published = read_weights(path).tensors["_conv_stem.weight"]
    torch.testing.assert_close(tensors["conv1.weight"], published)
    assert header.preprocess["mean"] == [127.0] * 3


def test_layers_that_a_file_lacks_are_named_before_they_are_trained_from_random_values(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A VGG16 converted without its fully connected layers: a random fc6 learns next to nothing."""
    whole = pw.build("fcn8s-vgg16-tight", classes=3, width=1 / 32).state_dict()
    plan = recipe(data, net="fcn8s-vgg16-tight", width=1 / 32, iterations=1, optim=Optim(lr=1e-9))
    kept = {k: v for k, v in whole.items() if not k.startswith("score")}
    for name, left_out, said in (("whole", (), False), ("cut", ("fc6.", "fc7."), True)):
        weights = tmp_path / f"{name}.safetensors"
        save_file({k: v for k, v in kept.items() if not k.startswith(left_out or "none")}, weights)
        caplog.clear()
        loop.train(plan.replace(weights=str(weights), force=True), tmp_path / name)
        told = f"4 tensors are not in {weights} and start from random values: fc6."
        assert (told in caplog.text) == said
        warned = [e["text"] for e in events(tmp_path / name, "warning")]
        assert any(told in text for text in warned) == said
