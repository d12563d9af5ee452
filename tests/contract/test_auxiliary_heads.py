"""Auxiliary heads from the recipe through training and a stop to a model without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import small_runs
from pixelwise.engine.network import Network
from pixelwise.errors import Stopped
from pixelwise.nets.catalog import spec
from pixelwise.nets.heads.auxiliary import supervise
from pixelwise.predict.model import load
from pixelwise.training import loop
from pixelwise.training.recipe import Loss, Optim, Recipe
from small_steps import VOID, batch, stepper

AIM = Loss(auxiliary={"pool3": 0.4, "score_fr_things": 0.5}, class_weights="sqrt")


def network(aim: Loss) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = spec("fcn8s-tiny", classes=3, width=0.25)
        net.name_heads(["labels"])
        supervise(net, aim.auxiliary)
        return Network(net)


def test_a_step_minimises_the_heads_loss_and_its_share_of_the_others() -> None:
    """By torch; their scores are those of the modules, enlarged, at all pixels."""
    aim = Loss(auxiliary={"pool3": 0.4, "score_fr": 0.5})
    nets, (images, truth) = (network(aim), network(aim)), batch(2)
    for net in nets:  # zero scores would teach the trunk nothing
        for name in ("score_fr.weight", "score_aux_pool3.weight"):
            draw = torch.Generator().manual_seed(0)
            torch.nn.init.normal_(net.get_parameter(name), generator=draw)
    outputs = {
        "labels": "score",
        "labels at pool3": "aux_pool3",
        "labels at score_fr": "aux_score_fr",
    }
    maps = nets[0].eval().activations(images, outputs.values())
    losses = {
        name: F.cross_entropy(maps[layer], truth.long(), ignore_index=VOID)
        for name, layer in outputs.items()
    }
    main, pool3, coarse = losses.values()
    (main + 0.4 * pool3 + 0.5 * coarse).backward()
    rate = Optim("sgd", lr=0.1, momentum=0.0, weight_decay=0.0, bias_rate=1.0)
    made = stepper(nets[1], optim=rate, loss=aim)
    told = made.made.run(0, [(images, {"labels": truth})])
    assert told == pytest.approx({name: loss.item() for name, loss in losses.items()}, rel=1e-5)
    assert aim.total(told) == pytest.approx((main + 0.4 * pool3 + 0.5 * coarse).item(), rel=1e-5)
    for (name, before), after in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
        assert before.grad is not None, name
        torch.testing.assert_close(after, before - 0.1 * before.grad, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def several(two_headed_data: Path) -> Recipe:
    return small_runs.recipe(
        two_headed_data, iterations=6, width=0.25, save_every=3, loss=AIM, ema=0.5
    )


def test_a_stopped_run_goes_on_to_the_same_bits_and_a_model_without_them(
    several: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    loop.train(several, whole)
    with monkeypatch.context() as patched:
        small_runs.stop_after(patched, 3)
        with pytest.raises(Stopped):
            loop.train(several, stopped)
    loop.train(several, stopped, resume=True)
    ends = [load_file(run / "weights/last.safetensors") for run in (whole, stopped)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    state = load_file(whole / "state/step-000000006.safetensors")
    assert any(name.startswith("net.score_aux_") for name in state)
    model = load(whole, device="cpu")
    assert not [name for name in (*ends[0], *model.predictor.net.layers) if "aux" in name]
    losses = small_runs.events(whole, "step")[-1]["head_losses"]
    main = {"things", "shapes"}
    assert main < losses.keys()
    assert {name.partition(" at ")[0] for name in losses} == main


def test_they_change_what_the_trunk_learns_and_nothing_else(
    several: Recipe, tmp_path: Path
) -> None:
    plain = replace(several, loss=replace(AIM, auxiliary={}))
    first = [
        load_file(loop.train(r, tmp_path / name).parent / "last.safetensors")
        for name, r in (("with", replace(several, ema=0.0)), ("without", replace(plain, ema=0.0)))
    ]
    assert first[0].keys() == first[1].keys()
    assert any(not torch.equal(value, first[1][name]) for name, value in first[0].items())
