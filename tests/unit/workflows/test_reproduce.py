"""``pixelwise reproduce``: a queue of short trainings, on miniature scenes with narrow nets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pixelwise.cli.app import run as command
from pixelwise.data.scenes.write import make_scenes
from pixelwise.errors import Stopped, UsageError
from pixelwise.experiments.claims import Arm, Claim, catalogue, chosen
from pixelwise.metrics.bootstrap import paired
from pixelwise.predict.model import load
from pixelwise.settings import read
from pixelwise.training import loop
from pixelwise.training.recipe import Recipe
from pixelwise.workflows import reproduce
from small_runs import stop_after

STEPS = 3


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("data") / "scenes", count=20, size=(32, 48))


@pytest.fixture
def queue(scenes: Path, tmp_path: Path) -> reproduce.Queue:
    lengths = dict.fromkeys(catalogue().grounds, STEPS)
    shared = reproduce.Shared(str(scenes), "", "tiny", ("width=0.25", "batch=2"), lengths)
    made = reproduce.opened(tmp_path / "queue", shared, minutes=0, threads=1, say=lambda _: None)
    (tmp_path / "queue" / reproduce.SCENES).symlink_to(scenes)
    return made


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nets of the trainings that are begun."""
    nets = list[str]()

    def train(recipe, run, **rest):
        nets.append(f"{recipe.net} {recipe.seed}")
        return loop.train(recipe, run, **rest)

    monkeypatch.setattr(reproduce, "train", train)
    return nets


def measured(queue: reproduce.Queue, *names: str, seeds: tuple[int, ...] = (0,)) -> list[dict]:
    return list(reproduce.carry_out(queue, chosen(names), seeds))


def test_claims_share_runs_and_a_queue_that_is_done_trains_nothing(
    queue: reproduce.Queue, trained: list[str]
) -> None:
    skips, finer = measured(queue, "skips", "finer")
    assert trained == [f"fcn{stride}s-tiny 0" for stride in (32, 16, 8, 4)]
    assert skips["arms"]["8s"]["runs"] == finer["arms"]["8s"]["runs"]
    both = measured(queue, "finer", seeds=(0, 1))
    assert trained[4:] == ["fcn8s-tiny 1", "fcn4s-tiny 1"]
    assert [r["seeds"] for r in both] == [[0], [0, 1]]
    again = measured(queue, "finer", seeds=(0, 1))
    assert len(trained) == 6
    assert again == [both[1], both[1]], "a result of fewer seeds replaces none of more"


def test_a_verdict_is_of_what_compare_would_say(queue: reproduce.Queue) -> None:
    """Models evaluated by themselves, and compared as ``pixelwise compare`` does it."""
    (found,) = measured(queue, "finer")
    counts = {}
    for run in (queue.out / reproduce.RUNS).iterdir():
        model = load(run)
        counts[model.header.net] = model.evaluate(queue.shared.data, "val").image_counts
    expected = paired(counts["fcn4s-tiny"], counts["fcn8s-tiny"])
    (c,) = found["compared"]
    assert (c["value"], c["low"], c["high"]) == (expected.value, expected.low, expected.high)
    assert found["verdict"] == c["verdict"]
    assert (queue.out / "reproduction.md").read_text("utf-8").count(f"**{found['verdict']}**") == 1


def test_a_queue_that_is_killed_goes_on_to_the_same_bits(
    queue: reproduce.Queue, tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reproduce.Queue(tmp_path / "whole", queue.shared, 1, lambda _: None)
    (expected,) = measured(whole, "finer")
    stop_after(monkeypatch, 2)
    with pytest.raises(Stopped) as stopped:
        measured(queue, "finer")
    assert (stopped.value.exit_code, stopped.value.hint) == (143, "the same command goes on")
    monkeypatch.undo()
    (found,) = measured(queue, "finer")
    for run in (queue.out / reproduce.RUNS).iterdir():
        name = run.name
        mine, other = (
            load_file(q.out / reproduce.RUNS / name / "weights/last.safetensors")
            for q in (queue, whole)
        )
        assert all(np.array_equal(mine[key], other[key]) for key in other)
    assert found["compared"] == expected["compared"]
    assert not list(queue.out.rglob("state")), "states of finished runs are removed"


def test_what_fails_is_noted_and_the_rest_is_measured(queue: reproduce.Queue) -> None:
    masking, finer = sorted(measured(queue, "finer", "masking"), key=lambda r: "error" not in r)
    assert "is called `pavement`" in masking["error"]
    assert finer["verdict"]
    noted = (queue.out / reproduce.FAILURES).read_text("utf-8").splitlines()
    assert [json.loads(line)["claim"] for line in noted] == ["masking"]


def test_a_queue_keeps_its_length_and_refuses_other_settings(queue: reproduce.Queue) -> None:
    def again(**changes: object) -> reproduce.Queue:
        shared = reproduce.Shared(
            **{"data": "elsewhere", "weights": "", "trunk": "tiny"}
            | {"settings": ("width=0.25", "batch=2")}
            | changes
        )
        return reproduce.opened(queue.out, shared, minutes=1, threads=1, say=lambda _: None)

    assert again().shared.steps == {"photos": STEPS, "scenes": STEPS}
    with pytest.raises(UsageError, match="was begun with trunk tiny, now vgg16"):
        again(trunk="vgg16")
    with pytest.raises(UsageError, match=r"was begun with steps .*, now "):
        again(steps={"photos": 9, "scenes": 9})
    (queue.out / reproduce.QUEUE).unlink()
    with pytest.raises(UsageError, match="is not empty"):
        again()


def test_minutes_are_steps_by_a_timing(
    queue: reproduce.Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ground's own recipe is timed, and nothing of it stays."""
    places = list[Path]()

    def half_a_second(timed: reproduce.Queue, ground: str) -> float:
        places.append(timed.out)
        assert timed.shared.steps[ground] == reproduce.TIMED
        assert timed.values(catalogue().claims["skips"], Arm(), 0)["iterations"] == reproduce.TIMED
        return 0.5

    assert queue.seconds_per_step("photos") > 0
    monkeypatch.setattr(reproduce.Queue, "seconds_per_step", half_a_second)
    made = reproduce.opened(tmp_path / "new", queue.shared, minutes=2, threads=1, say=print)
    assert made.shared.steps == {"photos": 240, "scenes": 240}
    assert len(places) == 2
    assert not any(place.exists() for place in places)


def test_the_command_measures_and_lists(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    words = ["--data", str(scenes), "--weights", "imagenet", "--trunk", "tiny", "--steps", "2"]
    words += ["--set", "width=0.25", "--set", "weights=", "--seeds", "0", "--threads", "1"]
    assert command(["reproduce", "upsampling", *words, "-o", out, "--json"]) == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    assert [c["first"] for c in claim["compared"]] == ["inner ones learned", "all learned"]
    assert command(["reproduce", "--list", "-o", out, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["claims"]
    assert {c["claim"]: c["verdict"] for c in listed}["upsampling"] == claim["verdict"]
    assert command(["reproduce", "upsamplings", "-o", out]) == 2
    assert "upsampling" in capsys.readouterr().err
    assert command(["reproduce", "--seeds", "0,0", "-o", out]) == 2


def test_photos_that_are_not_there_begin_no_queue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "skips", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "out")]
    assert command(words) == 3
    assert f"D010: {tmp_path}/none: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_arm_is_a_recipe_that_differs_from_the_others(queue: reproduce.Queue) -> None:
    """Of the trunk that the claims are written for; what they start from is looked for later."""
    steps = {"photos": 150, "scenes": 400}
    shared = reproduce.Shared(queue.shared.data, "x.safetensors", "googlenet-tight", steps=steps)
    real = reproduce.Queue(queue.out, shared, 1, lambda _: None)

    def recipe(claim: str, arm: str, seed: int = 0) -> Recipe:
        found = catalogue().claims[claim]
        return read(Recipe, real.values(found, found.arms[arm], seed))

    for name, claim in catalogue().claims.items():
        seen = [(recipe(name, arm), claim.arms[arm].look) for arm in claim.arms]
        assert all(a != b for i, a in enumerate(seen) for b in seen[:i]), name
    stages = recipe("at-once", "in stages", 5).by_stage()
    assert {r.iterations for r in stages.values()} == {50}
    assert {r.seed for r in stages.values()} == {5}
    alone = recipe("one-skip", "pool3 alone")
    assert alone.optim.rates == {"score*": 5, "score_fr": 0, "score_inception_4e": 0}


def test_runs_keep_their_names_when_recipes_get_new_settings() -> None:
    """What was trained is not trained again by a later version."""
    said = {"net": "fcn8s-tiny", "iterations": 3, "data": "here"}
    assert reproduce._key(said) == reproduce._key({**said, "data": "there"}) == "97f28eba7e20"


def test_a_claim_that_compares_no_arm_of_its_own_is_refused() -> None:
    with pytest.raises(UsageError, match="b is compared and no arm"):
        read(
            Claim,
            {
                "sentence": "x",
                "place": "y",
                "arms": {"a": {}},
                "compare": [{"first": "a", "second": "b"}],
            },
        )
