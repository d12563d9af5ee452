"""The table against hand-counted figures, and its memory against what a forward pass holds."""

from __future__ import annotations

import weakref

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.engine.table import kept_for_gradients, memory, peak_of_maps, table
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net


def test_the_papers_fcn8s() -> None:
    found = table(spec("fcn8s-vgg16"), 500, 500)
    assert found.parameters == 134_346_581 + 10_773 + 5_397  # fact sheet 7
    assert found.parameters_with_upsampling == found.parameters + 112_896 + 2 * 7_056
    assert (found.receptive_field, found.stride, found.conv_layers) == (404, 32, 16)
    assert found.output_size == (500, 500)
    assert found.crops == {"score_pool4c": 5, "score_pool3c": 9, "score": 31}
    rows = {row.name: row for row in found.rows}
    first = rows["conv1_1"]
    assert (first.kind, first.kernel, first.stride, first.pad) == ("Conv", 3, 1, 100)
    assert (first.channels, first.height, first.width) == (64, 698, 698)
    assert (first.parameters, first.macs) == (1_792, 698 * 698 * 64 * 27)
    assert (rows["pool4"].receptive_field, rows["pool4"].total_stride) == (100, 16)
    assert (rows["score"].offset, rows["score"].kernel) == (31, None)
    assert rows["upscore8"].parameters == 0
    assert (rows["upscore8"].kernel, rows["upscore8"].stride) == (16, 8)
    assert sum(row.parameters for row in found.rows) == found.parameters
    assert sum(row.macs for row in found.rows) == found.macs


def test_height_and_width_are_not_mixed_up() -> None:
    # fact sheet 1.5, 375x500
    rows = {r.name: (r.height, r.width) for r in table(spec("fcn8s-vgg16"), 375, 500).rows}
    assert rows["conv1_1"] == (573, 698)
    assert rows["score_fr"] == (12, 16)
    assert rows["upscore8"] == (440, 568)
    assert rows["score"] == (375, 500)


@pytest.mark.parametrize(
    ("name", "size", "billions"),
    [
        # multiply-adds of the convolutions as their authors and torchvision count them
        ("resnet18", 224, 1.81),
        ("resnet50", 224, 4.09),
        ("mobilenetv2", 224, 0.30),
        ("vgg16", 224, 15.47),
        ("alexnet", 227, 0.72),
        ("googlenet", 224, 1.58),
    ],
)
def test_multiply_adds_of_the_classifiers(name: str, size: int, billions: float) -> None:
    rows = table(spec(name), size, size).rows
    convolutions = sum(row.macs for row in rows if row.kind == "Conv")
    assert convolutions / 1e9 == pytest.approx(billions, abs=0.01)


def test_json_has_exactly_the_documented_keys() -> None:
    found = table(spec("fcn32s-alexnet"), 300, 200).as_dict()
    assert list(found) == [
        "parameters",
        "parameters_with_upsampling",
        "receptive_field",
        "stride",
        "conv_layers",
        "macs",
        "output_size",
        "crops",
        "layers",
    ]
    assert found["output_size"] == [300, 200]
    assert found["crops"] == {"score": 18}
    assert found["layers"][1]["name"] == "conv1"
    assert found["layers"][1]["groups"] == 1
    assert next(r for r in found["layers"] if r["name"] == "conv2")["groups"] == 2


def test_a_picture_that_is_too_small_names_the_layer() -> None:
    with pytest.raises(UsageError, match="pool5/7x7_s1 has no output for an input of 100 px"):
        table(spec("googlenet"), 300, 100)


def test_peak_by_hand() -> None:
    # data 3x4x6, a convolution to 8 channels, ReLU, pool to 2x3, score of 2 classes
    net = Net()
    x = net.conv_relu("conv", net.data(3), 8, relu="relu")
    net.top = net.score("score_fr", net.max_pool("pool", x), 2)
    # worst when the ReLU has its input and its output: 72 + 192 + 192
    assert peak_of_maps(net, 4, 6) == (72 + 192 + 192, "relu")
    assert memory(net, 4, 6).maps == 4 * 456
    assert memory(net, 4, 6).weights == 4 * (8 * 27 + 8 + 2 * 8 + 2)


@pytest.mark.parametrize(
    "name", ["fcn8s-vgg16-tight", "fcn4s-googlenet-tight", "fcn8s-resnet18", "fcn8s-tiny"]
)
@pytest.mark.parametrize("part", ["", "score"])
def test_what_gradients_need_is_at_least_what_is_told(name: str, part: str) -> None:
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
    told = 4 * kept_for_gradients(network.net, trained, 96, 128)
    assert 0.6 * measured < told <= measured


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
    assert memory(spec(name, width=1 / 16), 300, 300).weights == 4 * stored


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
    expected = memory(network.net, 96, 130)
    assert max(held, key=lambda layer: held[layer]) == expected.peak_layer
    assert max(held.values()) == pytest.approx(expected.maps, rel=0.01)
