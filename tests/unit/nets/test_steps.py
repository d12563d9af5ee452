"""The steps in which a net is carried out: what is left to a crop, and what is dropped when."""

from __future__ import annotations

import pytest
import torch

from pixelwise.nets.catalog import build, spec
from pixelwise.nets.module import Network
from pixelwise.nets.net import Net
from pixelwise.nets.spec import Crop
from pixelwise.nets.steps import CutDeconv, steps

NETS = [
    "fcn8s-vgg16",
    "fcn16s-vgg16-tight",
    "fcn4s-googlenet-tight",
    "fcn8s-alexnet",
    "fcn8s-resnet18",
    "fcn8s-tiny",
]


@pytest.mark.parametrize("name", NETS)
def test_every_layer_has_a_step_and_is_dropped_once(name: str) -> None:
    net = spec(name)
    plan = steps(net)
    assert [step.layer.name for step in plan] == list(net.layers)
    alive: set[str] = set()
    for step in plan:
        assert alive.issuperset(step.layer.inputs)
        alive = (alive | {step.layer.name}).difference(step.drops)
    assert alive == {net.output} | {step.layer.name for step in plan if step.left}


@pytest.mark.parametrize("name", NETS)
def test_upsampling_that_is_cropped_computes_the_window(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, width=1 / 8).eval()
    for key, parameter in network.named_parameters():
        if key.startswith("score"):
            torch.nn.init.normal_(parameter)
    crops = [step.layer for step in steps(network.net) if isinstance(step.layer, CutDeconv)]
    assert crops
    x = torch.randn(1, 3, 61, 83)
    for crop in crops:
        record = network.net.layers[crop.name]
        assert isinstance(record, Crop)
        upsampled, like = record.inputs
        maps = network.activations(x, [upsampled, like, crop.name])
        h, w = maps[like].shape[-2:]
        cut = maps[upsampled].narrow(-2, record.offset, h).narrow(-1, record.offset, w)
        assert cut.abs().max() > 0
        assert torch.equal(maps[crop.name], cut)


def test_only_fixed_upsampling_that_nothing_else_reads_is_left_to_its_crop() -> None:
    def kinds(*, learned: bool = False, read_again: bool = False) -> list[str]:
        net = Net()
        x = net.max_pool("pool", net.data(1))
        up = net.upsample("up", x, 2, like="data", learned=learned)
        cut = net.crop("cut", up, like="data")
        if read_again:
            cut = net.sum("twice", net.crop("again", up, like="data"), cut)
        net.sum("fuse", cut, "data")
        assert Network(net)(torch.zeros(1, 1, 8, 6)).shape == (1, 1, 8, 6)
        return [type(s.layer).__name__ for s in steps(net) if not s.left]

    assert kinds() == ["Input", "MaxPool", "CutDeconv", "Sum"]
    assert kinds(learned=True) == ["Input", "MaxPool", "Deconv", "Crop", "Sum"]
    assert kinds(read_again=True).count("Deconv") == 1


def test_a_map_that_nothing_reads_is_made_only_for_who_asks() -> None:
    net = Net()
    net.max_pool("aside", net.data(1))
    net.sum("out", "data", "data")
    network = Network(net)

    def refuse(*_: object) -> None:
        raise AssertionError("made for nobody")

    network.get_submodule("aside").register_forward_pre_hook(refuse)
    network(torch.ones(1, 1, 4, 4))
    with pytest.raises(AssertionError):
        network.activations(torch.ones(1, 1, 4, 4), ["aside"])


@pytest.mark.parametrize("name", ["fcn8s-vgg16", "fcn4s-googlenet-tight", "fcn8s-tiny"])
def test_a_net_exported_for_any_size_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, width=1 / 16).eval()
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with torch.no_grad():
        exported = torch.export.export(
            network, (torch.randn(1, 3, 97, 130),), dynamic_shapes=(sizes,)
        )
        for size in ((97, 130), (120, 101), (64, 64)):
            x = torch.randn(1, 3, *size)
            torch.testing.assert_close(exported.module()(x), network(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["fcn4s-googlenet-tight", "fcn8s-tiny"])
def test_functional_gradients_are_those_of_autograd(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, width=1 / 8).eval()
    for key, parameter in network.named_parameters():
        if key.startswith("score"):
            torch.nn.init.normal_(parameter, std=0.1)
    parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
    x = torch.randn(1, 3, 33, 40)

    def loss(given: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(network, (given, buffers), (x,)).square().mean()

    found = torch.func.grad(loss)(parameters)
    loss(parameters).backward()
    for key, parameter in parameters.items():
        assert parameter.grad is not None
        torch.testing.assert_close(found[key], parameter.grad, rtol=1e-4, atol=1e-6)
    assert found["score_fr.weight"].abs().max() > 0
