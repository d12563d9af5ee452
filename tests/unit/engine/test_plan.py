"""The steps in which a net is carried out: what is left to a crop, and what is dropped when."""

from __future__ import annotations

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.engine.memory import peak_of_maps
from pixelwise.engine.network import Network
from pixelwise.engine.plan import CutUpsampling, records, steps
from pixelwise.nets.catalog import spec
from pixelwise.nets.joining import Crop
from pixelwise.nets.layers import Scale
from pixelwise.nets.net import Net

NETS = [
    "fcn8s-vgg16",
    "fcn16s-vgg16-tight",
    "fcn4s-googlenet-tight",
    "fcn8s-alexnet",
    "fcn8s-resnet18",
    "fcn8s-tiny",
]


def shaken(name: str) -> Network:
    """A narrow copy whose score layers are not zero."""
    torch.manual_seed(0)
    network = build(name, width=1 / 8).eval()
    for key, parameter in network.named_parameters():
        if key.startswith("score"):
            torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("name", NETS)
def test_maps_are_there_when_they_are_read_and_dropped_once(name: str) -> None:
    net = spec(name)
    alive: set[str] = set()
    for step in steps(net, [net.output]):
        assert alive.issuperset(step.layer.inputs)
        alive = (alive | {step.layer.name}).difference(step.drops)
    assert alive == {net.output}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("length", [33, 500])
def test_what_is_carried_out_has_the_sizes_and_sights_of_the_net(name: str, length: int) -> None:
    net = spec(name)
    sizes = net.sizes(length)
    cut = [r for r in records(net).values() if isinstance(r, CutUpsampling)]
    assert cut
    for layer in cut:
        assert layer.size(tuple(sizes[source] for source in layer.inputs)) == sizes[layer.name]
        assert layer.sight(tuple(net.sights[s] for s in layer.inputs)) == net.sights[layer.name]
        assert 0 <= layer.rows_held(length) - length < 2 * layer.upsampling.stride


@pytest.mark.parametrize("name", NETS)
def test_upsampling_that_is_cropped_computes_the_window(name: str) -> None:
    network = shaken(name)
    x = torch.randn(1, 3, 61, 83)
    for layer in records(network.net).values():
        if not isinstance(layer, CutUpsampling):
            continue
        upsampled, like = layer.crop.inputs
        maps = network.activations(x, [upsampled, like, layer.name])
        h, w = maps[like].shape[-2:]
        offset = layer.crop.offset
        cut = maps[upsampled].narrow(-2, offset, h).narrow(-1, offset, w)
        assert cut.abs().max() > 0
        assert torch.equal(maps[layer.name], cut)


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
        return [type(s.layer).__name__ for s in steps(net, [net.output])]

    assert kinds() == ["Input", "MaxPool", "CutUpsampling", "Sum"]
    assert kinds(learned=True) == ["Input", "MaxPool", "Upsample", "Crop", "Sum"]
    assert kinds(read_again=True).count("Upsample") == 1


def test_a_crop_of_anything_else_stays_a_crop() -> None:
    found = records(spec("fcn8s-vgg16"))
    assert isinstance(found["score_pool4c"], Crop)
    assert isinstance(found["score"], CutUpsampling)


def test_a_branch_that_leads_nowhere_is_for_who_asks() -> None:
    """It costs no time, holds no map, and finds what it reads when it is asked for."""
    net = Net()
    a = net.add(Scale("a", (net.data(1),), 2.0))
    b = net.add(Scale("b", (a,), 3.0))
    aside = net.max_pool("aside", a)
    net.max_pool("end", aside)
    net.sum("out", b, b)
    network = Network(net)
    made: list[str] = []
    for name in ("a", "b", "aside", "end", "out"):
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: made.append(name))
    x = torch.ones(1, 1, 4, 4)
    assert network(x).mean() == 12
    assert made == ["a", "b", "out"]
    assert peak_of_maps(net, 4, 4) == (48, "b")
    made.clear()
    assert network.activations(x, ["end", "out"])["end"].mean() == 2
    assert made == ["a", "b", "aside", "end", "out"]
    made.clear()
    network.activations(x, ["aside"])
    assert made == ["a", "aside"]


@pytest.mark.parametrize(
    "name",
    ["fcn8s-vgg16", pytest.param("fcn4s-googlenet-tight", marks=pytest.mark.slow)],
)
def test_a_net_exported_for_any_size_gives_the_same(name: str) -> None:
    network = shaken(name)
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    picture = (torch.randn(1, 3, 97, 130),)
    with torch.no_grad():
        exported = torch.export.export(network, picture, dynamic_shapes=(sizes,))
        for size in ((97, 130), (120, 101), (64, 64)):
            x = torch.randn(1, 3, *size)
            torch.testing.assert_close(exported.module()(x), network(x), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of torch's own making
@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_net_may_be_exported_with_gradients_on(strict: bool) -> None:
    network, x = shaken("fcn4s-googlenet-tight"), torch.randn(1, 3, 33, 40)
    exported = torch.export.export(network, (x,), strict=strict)
    torch.testing.assert_close(exported.module()(x), network(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["fcn4s-googlenet-tight", "fcn8s-tiny"])
def test_functional_gradients_are_those_of_autograd(name: str) -> None:
    network = shaken(name)
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
