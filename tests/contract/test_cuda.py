"""What holds on a processor holds on a GPU; skipped where there is none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from make_data import folder_set
from pixelwise.cli.app import run as command
from pixelwise.engine.build import build
from pixelwise.errors import Stopped
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.layers import Dropout
from pixelwise.predict.model import load
from pixelwise.training import loop
from pixelwise.training.recipe import Augmentation, Loss, Optim
from pixelwise.weights.checkpoint import load_checkpoint
from small_model import pixels, save_model
from small_runs import events, recipe, stop_after

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def network(name: str) -> nn.Module:
    """A narrow copy with random weights in every layer, in float64, in evaluation mode."""
    width = 1 / 4 if "tiny" in name or "mobilenet" in name else 1 / 16
    generator = torch.Generator().manual_seed(0)
    net = build(name, width=width).eval()
    with torch.no_grad():
        for p in net.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator) * math.sqrt(2 / fan))
    return net.double()


@pytest.mark.parametrize("name", NETS)
def test_scores_are_those_of_the_processor(name: str) -> None:
    """In float64, so that what differs is no rounding but a fault."""
    net = network(name)
    bands = sum(net.net.inputs.values())
    large = NETS[name].task == "classification" or name in ("unet", "deconvnet-vgg16")
    size = (227, 230) if large else (61, 94)
    x = torch.randn(2, bands, *size, generator=torch.Generator().manual_seed(1)).double()
    layers = [*net.net.outputs.values()]
    with torch.no_grad():
        here = net.activations(x, layers)
        there = net.cuda().activations(x.cuda(), layers)
    for layer in layers:
        scale = here[layer].abs().max().item()
        assert torch.allclose(there[layer].cpu(), here[layer], rtol=0, atol=1e-10 * scale), layer


def test_labels_are_those_of_the_processor(tmp_path: Path) -> None:
    path = save_model(tmp_path / "net.safetensors")
    here, there = (load(path, device=device) for device in ("cpu", "cuda"))
    picture = pixels((120, 97))
    expected, found = (m.predict(picture, probabilities=True) for m in (here, there))
    assert expected.probabilities is not None
    assert found.probabilities is not None
    # float32 rounding; with the 10 bits of TF32 it would be some hundred times more.
    assert np.abs(found.probabilities - expected.probabilities).max() < 2e-5
    first, second = np.sort(expected.probabilities, axis=0)[[-1, -2]]
    clear = first - second > 1e-4
    assert clear.mean() > 0.9
    assert (found.labels == expected.labels)[clear].all()


def test_bf16_labels_differ_from_fp32_only_near_ties(tmp_path: Path) -> None:
    path = save_model(tmp_path / "net.safetensors")
    exact, half = (load(path, device="cuda", precision=p) for p in ("fp32", "bf16"))
    picture = pixels((120, 97))
    expected, found = exact.predict(picture, probabilities=True), half.predict(picture)
    assert expected.probabilities is not None
    first, second = np.sort(expected.probabilities, axis=0)[[-1, -2]]
    assert (found.labels == expected.labels)[first - second > 0.1].all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data") / "set")


def test_losses_are_those_of_the_processor(data: Path, tmp_path: Path) -> None:
    """Over ten steps, within what rounding adds up to."""
    losses = {}
    for device in ("cpu", "cuda"):
        run = tmp_path / device
        loop.train(recipe(data, device=device, iterations=10, optim=Optim("sgd", lr=1e-3)), run)
        losses[device] = [e["loss"] for e in events(run, "step")]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-5)


LOSSES = [
    Loss(focal=2, class_weights="inverse"),
    Loss(border=1, hard=0.2, hard_below=0.7),
    Loss(jaccard=0.5, dice=0.5, lovasz=0.5),
    Loss(boundary=0.01),
    Loss(keep=0.25, sample="pixel"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=["focal", "hard", "regions", "boundary", "sampled"])
def test_each_loss_is_that_of_the_processor(data: Path, tmp_path: Path, loss: Loss) -> None:
    told = {}
    for device in ("cpu", "cuda"):
        wanted = recipe(data, device=device, iterations=3, optim=Optim("sgd", lr=1e-3), loss=loss)
        loop.train(wanted, tmp_path / device)
        told[device] = [e["loss"] for e in events(tmp_path / device, "step")]
    assert told["cuda"] == pytest.approx(told["cpu"], rel=1e-5)


FAMILIES = {
    "unet-tiny": 1.0,
    "segnet-tiny": 1.0,
    "deeplabv3-tiny": 1.0,
    "pspnet-tiny": 1.0,
    "fcn8s-resnet18": 1 / 8,
    "fcn8s-mobilenetv2": 1 / 4,
    "fcn8s-efficientnetlite0": 1 / 4,
    "deeplab-largefov-vgg16": 1 / 16,
    "fcn8s-vgg16-atonce": 1 / 16,
}


@pytest.mark.parametrize("net", FAMILIES)
def test_each_family_trains_as_on_a_processor_and_twice_the_same(
    net: str, data: Path, tmp_path: Path
) -> None:
    """But for nets with dropout, whose drawings are a device's own."""
    losses, weights = {}, {}
    for run, device in (("here", "cpu"), ("there", "cuda"), ("again", "cuda")):
        wanted = recipe(
            data,
            net=net,
            width=FAMILIES[net],
            device=device,
            iterations=4,
            optim=Optim("sgd", lr=1e-4),
            validate_every=100,
        )
        loop.train(wanted, tmp_path / run)
        losses[run] = [e["loss"] for e in events(tmp_path / run, "step")]
        weights[run] = load_checkpoint(tmp_path / run / "weights" / "last.safetensors")[1]
    if not any(isinstance(layer, Dropout) for layer in spec(net).layers.values()):
        assert losses["there"] == pytest.approx(losses["here"], rel=1e-4)
    assert losses["there"] == losses["again"]
    assert all(torch.equal(weights["there"][n], weights["again"][n]) for n in weights["there"])


def test_the_commands_on_a_gpu_give_what_they_give_on_a_processor(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluation, several sizes and mirror images: but for float32's rounding the same."""
    run = tmp_path / "run"
    loop.train(recipe(data, device="cuda", iterations=60), run)
    scores, labels = {}, {}
    for device in ("cpu", "cuda"):
        out = ["--device", device, "--zoom", "1,1.5", "--mirror"]
        assert command(["evaluate", str(run), str(data), "--device", device, "--json"]) == 0
        scores[device] = json.loads(capsys.readouterr().out)
        assert command(["predict", str(run), str(data), "-o", str(tmp_path / device), *out]) == 0
        made = sorted((tmp_path / device).rglob("*.png"))
        assert made
        labels[device] = {p.relative_to(tmp_path / device): np.asarray(Image.open(p)) for p in made}
    assert scores["cuda"]["mean_iu"] == pytest.approx(scores["cpu"]["mean_iu"], abs=1e-3)
    assert labels["cuda"].keys() == labels["cpu"].keys()
    for name, here in labels["cpu"].items():
        assert (labels["cuda"][name] == here).mean() > 0.999, name


@pytest.mark.parametrize("net", ["fcn8s-tiny", "fcn32s-alexnet", "fcn8s-vgg16", "fcn8s-googlenet"])
def test_a_resumed_run_ends_with_the_same_bits(
    net: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(
        data,
        net=net,
        width=1 / 16 if net != "fcn8s-tiny" else 0.5,
        device="cuda",
        iterations=6,
        augment=Augmentation(mirror=True, brightness=0.2),
        loss=Loss(jaccard=0.5),
        validate_every=100,
    )
    loop.train(wanted, tmp_path / "whole")
    with monkeypatch.context() as stopping:
        stop_after(stopping, 3)
        with pytest.raises(Stopped):
            loop.train(wanted, tmp_path / "parts")
    loop.train(wanted, tmp_path / "parts", resume=True)
    whole, parts = (
        load_checkpoint(tmp_path / run / "weights" / "last.safetensors")[1]
        for run in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    last = [[e["loss"] for e in events(tmp_path / run, "step")][-1] for run in ("whole", "parts")]
    assert last[0] == last[1]


def test_two_runs_of_one_recipe_end_with_the_same_bits(data: Path, tmp_path: Path) -> None:
    wanted = recipe(data, net="fcn8s-vgg16", width=1 / 16, device="cuda", iterations=6)
    for run in ("one", "two"):
        loop.train(wanted, tmp_path / run)
    one, two = (
        load_checkpoint(tmp_path / run / "weights" / "last.safetensors")[1]
        for run in ("one", "two")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
