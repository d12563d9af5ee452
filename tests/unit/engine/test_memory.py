"""The estimates of memory against what a forward pass holds and what gradients keep."""

from __future__ import annotations

import weakref

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.engine.memory import bytes_of_weights, kept_for_gradients, peak_of_maps
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net


def test_peak_by_hand() -> None:
    # data 3x4x6, a convolution to 8 channels, ReLU, pool to 2x3, score of 2 classes
    net = Net()
    x = net.conv("conv", net.data(3), 8, kernel=3, pad=1, relu="relu")
    net.top = net.score("score_fr", net.max_pool("pool", x), 2)
    # worst when the ReLU has its input and its output: 72 + 192 + 192
    assert peak_of_maps(net, 4, 6) == (72 + 192 + 192, "relu")
    assert bytes_of_weights(net) == 4 * (8 * 27 + 8 + 2 * 8 + 2)


@pytest.mark.parametrize(
    "name", ["fcn8s-vgg16-tight", "fcn4s-googlenet-tight", "fcn8s-resnet18", "fcn8s-tiny"]
)
@pytest.mark.parametrize("part", ["", "score"])
def test_what_gradients_need_is_at_least_the_estimate(name: str, part: str) -> None:
    """Compared with what autograd really keeps, parameters aside."""
    network = build(name, width=1 / 4).train()
    for key, parameter in network.named_parameters():
        parameter.requires_grad_(key.startswith(part))
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        keep(network(torch.randn(1, 3, 96, 128)))
    measured = sum(storage.nbytes() for storage in kept.values())
    trained = {k.rpartition(".")[0] for k, p in network.named_parameters() if p.requires_grad}
    estimate = 4 * kept_for_gradients(network.net, trained, 96, 128)
    assert 0.6 * measured < estimate <= measured


@pytest.mark.parametrize(
    "name", ["fcn8s-vgg16-tight", "fcn4s-googlenet-tight", "fcn4s-efficientnetlite0", "fcn8s-tiny"]
)
def test_a_checkpointed_net_holds_the_maps_that_another_scale_reads(name: str) -> None:
    """After the forward pass; the maps of one scale come on top on the way back."""
    network = build(name, width=1 / 4).train()
    held = {}
    for network.checkpointed in (False, True):
        made: list[weakref.ref[torch.Tensor]] = []
        hooks = [
            network.get_submodule(layer).register_forward_hook(
                lambda _, given, out, made=made: made.append(weakref.ref(out))
            )
            for layer in network.net.layers
            if layer not in network.net.inputs
        ]
        out = network(torch.randn(1, 3, 96, 128))
        # Storages: of a view its map is alive.
        alive = {t.untyped_storage().data_ptr(): t for r in made if (t := r()) is not None}
        held[network.checkpointed] = sum(t.numel() for t in alive.values()) - out.numel()
        for hook in hooks:
            hook.remove()
    trained = [*network.net.layers]
    least = kept_for_gradients(network.net, trained, 96, 128, checkpointed=True)
    assert held[True] < 0.6 * held[False]
    assert held[True] < least < 0.9 * kept_for_gradients(network.net, trained, 96, 128)


@pytest.mark.parametrize(("learned", "upsampled"), [(False, 80), (True, 100)])
def test_a_crop_takes_what_it_cuts_unless_that_is_never_made(learned: bool, upsampled: int) -> None:
    net = Net()
    x = net.max_pool("pool", net.data(1))  # 1x8x8 -> 4x4
    x = net.upsample("up", x, 2, like="data", learned=learned)  # 10x10
    x = net.crop("cut", x, like="data")
    net.sum("fuse", x, "data")
    # the picture 64, the upsampled map 100 kept by its crop (or the window's ten rows of eight,
    # as it begins in the midst of a stride), the sum 64
    assert peak_of_maps(net, 8, 8) == (64 + upsampled + 64, "fuse")


@pytest.mark.parametrize(
    "name", ["fcn8s-vgg16", "fcn8s-vgg16-atonce", "fcn32s-resnet18", "googlenet", "fcn4s-tiny"]
)
def test_weights_are_what_a_file_of_them_holds(name: str) -> None:
    state = build(name, width=1 / 16).state_dict()
    stored = sum(v.numel() for k, v in state.items() if not k.endswith("num_batches_tracked"))
    assert bytes_of_weights(spec(name, width=1 / 16)) == 4 * stored


@pytest.mark.parametrize(
    "name",
    ["fcn8s-vgg16", "fcn4s-vgg16-tight", "fcn8s-tiny", "fcn8s-resnet50", "fcn16s-googlenet"],
)
def test_peak_is_what_a_forward_pass_holds(name: str) -> None:
    network = build(name, width=1 / 8).eval()
    held: dict[str, int] = {}
    alive: dict[str, weakref.ref[torch.Tensor]] = {}
    x = torch.zeros(1, 3, 96, 130)

    def look(layer: str, out: torch.Tensor) -> None:
        alive[layer] = weakref.ref(out)
        tensors = [t for ref in alive.values() if (t := ref()) is not None]
        stores = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in (x, *tensors)
        }
        held[layer] = sum(stores.values())

    for layer in network.net.layers:
        if layer != "data":
            network.get_submodule(layer).register_forward_hook(
                lambda _m, _i, out, layer=layer: look(layer, out)
            )
    with torch.no_grad():
        network(x)
    numbers, layer = peak_of_maps(network.net, 96, 130)
    assert max(held, key=lambda name: held[name]) == layer
    assert max(held.values()) == pytest.approx(4 * numbers, rel=0.01)
