"""Which pictures, how many steps, which layers: each setting is seen in what a run does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import pixelwise as pw
from make_data import canonical_set, picture
from small_runs import events, train
from witness import witness

CLASSES = {"sky": (70, 130, 180), "field": (60, 160, 40), "road": (128, 64, 128)}
SPLITS = {"north": 6, "south": 2, "east": 3}
NARROW = "width=0.125 threads=1 train_split=north val_split=south augment.mirror=false"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits; the first pixel of a picture is its number."""
    splits, number = {}, 0
    for name, count in SPLITS.items():
        splits[name] = []
        for _ in range(count):
            image, truth = picture(number, (32, 40))
            image[0, 0] = 20 * number
            splits[name].append((image, truth))
            number += 1
    return canonical_set(tmp_path_factory.mktemp("recipe") / "set", splits, CLASSES)


def numbers(batches: list[Tensor], reference: list[Tensor]) -> list[int]:
    """The numbers of the pictures in batches; ``reference`` holds all, the first is 0."""
    first = torch.cat(reference)[:, 0, 0, 0]
    step = (first.max() - first.min()) / 5  # six pictures, numbered 0 to 5
    return [round(float((x[0, 0, 0] - first.min()) / step)) for batch in batches for x in batch]


def last(run: Path) -> dict[str, Tensor]:
    return load_file(run / "weights/last.safetensors")


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Layers whose weights differ."""
    names = [n for n in before if n.endswith(("weight", "bias"))]
    return {n.rpartition(".")[0] for n in names if not torch.equal(before[n], after[n])}


def test_each_epoch_shows_each_picture_of_its_split_once(data: Path, tmp_path: Path) -> None:
    with witness() as seen:
        assert train(data, tmp_path, f"{NARROW} epochs=4 batch=3") == 0
    trained = numbers(seen.batches, seen.batches)
    assert [sorted(trained[i : i + 6]) for i in range(0, 24, 6)] == [list(range(6))] * 4
    assert len({tuple(trained[i : i + 6]) for i in range(0, 24, 6)}) > 1
    evaluated = [f.x for f in seen.forwards if not f.training]
    assert set(numbers(evaluated, seen.batches)) == {6, 7}


@pytest.mark.parametrize(
    ("epochs", "batch", "accumulate"), [(1, 2, 1), (2.5, 2, 1), (2.5, 2, 2), (1, 1, 6)]
)
def test_epochs_are_counted_in_pictures(
    data: Path, tmp_path: Path, epochs: float, batch: int, accumulate: int
) -> None:
    settings = f"epochs={epochs} batch={batch} accumulate={accumulate} frozen_bn=true"
    with witness() as seen:
        assert train(data, tmp_path, f"{NARROW} {settings}") == 0
    steps = math.ceil(epochs * 6 / (batch * accumulate))
    assert len(seen.rates) == steps
    assert [len(x) for x in seen.batches] == [batch] * steps * accumulate
    assert events(tmp_path, "end")[0]["step"] == steps


def test_a_sampled_loss_takes_as_many_more_pictures(data: Path, tmp_path: Path) -> None:
    """Half of the terms of twice the pictures: epochs and the steps' count follow the pictures."""
    settings = f"{NARROW} epochs=4 batch=2 loss.keep=0.5 loss.sample=pixel"
    with witness() as seen:
        assert train(data, tmp_path, settings) == 0
    assert len(seen.rates) == 6
    assert [len(x) for x in seen.batches] == [2] * 12
    trained = numbers(seen.batches, seen.batches)
    assert [sorted(trained[i : i + 6]) for i in range(0, 24, 6)] == [list(range(6))] * 4


def test_evaluations_and_saves_come_as_often_as_asked(data: Path, tmp_path: Path) -> None:
    settings = f"{NARROW} iterations=10 batch=2 validate_every=4 save_every=3"
    assert train(data, tmp_path, settings) == 0
    assert [e["step"] for e in events(tmp_path, "validate")] == [4, 8, 10]
    assert [e["step"] for e in events(tmp_path, "save")] == [3, 6, 9, 10]


def test_the_seed_decides_weights_and_order(data: Path, tmp_path: Path) -> None:
    ends, orders = [], []
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        with witness() as seen:
            assert train(data, tmp_path / run, f"{NARROW} epochs=1 batch=2 seed={seed}") == 0
        ends.append(last(tmp_path / run))
        orders.append(numbers(seen.batches, seen.batches))
    assert orders[0] == orders[1] != orders[2]
    assert all(torch.equal(v, ends[1][n]) for n, v in ends[0].items())
    first, other = (end["conv1_1.weight"] for end in (ends[0], ends[2]))
    assert float((first - other).abs().max()) > 0.1  # three steps move it by 0.001


def test_frozen_batch_norm_keeps_what_it_began_with(data: Path, tmp_path: Path) -> None:
    for frozen in ("true", "false"):
        run = tmp_path / frozen
        assert train(data, run, f"{NARROW} iterations=2 batch=2 frozen_bn={frozen}") == 0
        means = [v for n, v in last(run).items() if n.endswith("running_mean")]
        assert means
        assert all(bool(m.any()) == (frozen == "false") for m in means)


@pytest.mark.parametrize(
    ("learned", "moved"),
    [
        ("none", set()),
        ("inner", {"upscore2", "upscore_pool4"}),
        ("all", {"upscore2", "upscore_pool4", "upscore8"}),
    ],
)
def test_upsampling_is_trained_where_it_is_asked_for(
    data: Path, tmp_path: Path, learned: str, moved: set[str]
) -> None:
    """From one and the same start: after one step scores are no longer zero, after two it moves."""
    ends = []
    for steps in (1, 4):
        run = tmp_path / str(steps)
        settings = f"{NARROW} iterations={steps} batch=2 schedule.name=fixed learned={learned}"
        assert train(data, run, settings) == 0
        ends.append(last(run))
    layers = changed(*ends)
    assert {name for name in layers if name.startswith("upscore")} == moved
    assert {"conv1_1", "bn1_1", "fc6", "score_fr"} <= layers


def test_a_lowered_stride_is_trained_from_the_net_as_it_was(data: Path, tmp_path: Path) -> None:
    """fc6 keeps its 3x3 and is dilated, or becomes 6x6 with the old weights between zeros."""
    start = f"{NARROW} net=fcn32s-tiny iterations=2 batch=2"
    assert train(data, tmp_path / "start", start) == 0
    old = load_file(tmp_path / "start/weights/best.safetensors")["fc6.weight"]
    settings = f"{start} freeze=trunk weights={tmp_path / 'start'}"
    for option, kernel in (("rarefied", 3), ("lowered", 6)):
        run = tmp_path / option
        assert train(data, run, f"{settings} {option}=pool5") == 0
        weight = last(run)["fc6.weight"]
        assert weight.shape[-1] == kernel
        step = kernel // 3
        assert torch.equal(weight[..., ::step, ::step], old)
        assert weight.count_nonzero() == old.count_nonzero()
        kept = pw.load(run, device="cpu")
        assert (kept.predictor.net.stride, kept.header.options[option]) == (16, ["pool5"])
        assert kept.predict(picture(0, (32, 40))[0]).labels.shape == (32, 40)


def test_a_frozen_trunk_and_layers_of_rate_zero_stay(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path / "start", f"{NARROW} iterations=3 batch=2") == 0
    start = load_file(tmp_path / "start/weights/best.safetensors")
    again = f"{NARROW} iterations=2 batch=2 weights={tmp_path / 'start'}"
    assert train(data, tmp_path / "trunk", f"{again} freeze=trunk") == 0
    scores = {"score_fr", "score_pool4", "score_pool3"}
    assert changed(start, last(tmp_path / "trunk")) == scores
    assert train(data, tmp_path / "rates", f"{again} optim.rates.conv*=0 optim.rates.bn6=0") == 0
    moved = changed(start, last(tmp_path / "rates"))
    assert not [n for n in moved if n.startswith("conv") or n == "bn6"]
    assert scores | {"fc6", "bn1_1"} <= moved


def test_scores_begin_at_zero_or_drawn_by_the_seed_beside_the_same_trunk(
    data: Path, tmp_path: Path
) -> None:
    def end(name: str, settings: str) -> dict[str, Tensor]:
        """At a rate so small that a step moves nothing that is rounded here."""
        still = f"{NARROW} iterations=1 batch=2 optim.lr=1e-12 force=true frozen_bn=true"
        assert train(data, tmp_path / name, f"{still} {settings}") == 0
        return {n: v.double().round(decimals=9) for n, v in last(tmp_path / name).items()}

    zero, drawn = end("zero", ""), end("drawn", "score_start=random")
    scores = {"score_fr", "score_pool4", "score_pool3"}
    assert changed(zero, drawn) == scores
    assert changed(drawn, end("again", "score_start=random")) == set()
    weights = torch.cat([drawn[f"{name}.weight"].flatten() for name in sorted(scores)])
    assert float(weights.std()) == pytest.approx(0.01, rel=0.25)  # of 84 draws
    assert not any(drawn[f"{name}.bias"].any() for name in scores)
    # of a run that is started from, the scores that it has learned are kept
    kept = end("kept", f"score_start=random seed=7 weights={tmp_path / 'drawn'}")
    assert changed(drawn, kept) == set()


def test_width_is_a_factor_on_the_channels(data: Path, tmp_path: Path) -> None:
    for width in (0.125, 0.25):
        run = tmp_path / str(width)
        settings = NARROW.replace("0.125", str(width))
        assert train(data, run, f"{settings} iterations=1 batch=2") == 0
        sizes = {n: v.shape[0] for n, v in last(run).items() if n in WIDTHS}
        assert sizes == {n: round(width * channels) for n, channels in WIDTHS.items()}


WIDTHS = {"conv1_1.weight": 16, "conv3_2.weight": 32, "fc6.weight": 128}


def test_patience_counts_evaluations_without_a_better_score(data: Path, tmp_path: Path) -> None:
    settings = (
        f"{NARROW} iterations=60 batch=2 validate_every=2 patience=2 optim.lr=1e-9 force=true"
    )
    assert train(data, tmp_path, f"{settings} frozen_bn=true") == 0
    assert [e["best"] for e in events(tmp_path, "validate")] == [True, False, False]
    assert events(tmp_path, "end")[0]["step"] == 6
