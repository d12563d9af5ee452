"""The interpreter of specs and the modules that torch does not have."""

from __future__ import annotations

import weakref
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network, filled
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.heads.fcn import Learned
from pixelwise.nets.joining import Crop, Sum
from pixelwise.nets.layers import BatchNorm, Conv, Dropout, Lrn, Relu, Scale, Upsample
from pixelwise.nets.net import Net


def single(layer_of: type, channels: int = 3, **fields: object) -> Network:
    """A net of the picture and one layer."""
    net = Net()
    net.data(channels)
    net.add(layer_of("layer", ("data",), **fields))
    return Network(net)


def test_dropout_drops_elements_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    network = single(Dropout, 4, p=0.5).train()
    out = network(torch.ones(1, 4, 50, 50))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    kept = (out[0] > 0).double().mean(dim=(1, 2))
    # every channel keeps about half of its elements: whole channels are never dropped
    assert ((kept > 0.4) & (kept < 0.6)).all()
    x = torch.randn(1, 4, 3, 3)
    assert torch.equal(network.eval()(x), x)


def test_dropout_of_googlenet_is_its_own() -> None:
    torch.manual_seed(0)
    out = single(Dropout, 1, p=0.4).train()(torch.ones(1, 1, 200, 200))
    assert out.max() == pytest.approx(1 / 0.6)
    assert (out == 0).double().mean() == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3, 5, 96])
@pytest.mark.parametrize(("window", "beta", "k"), [(5, 0.75, 1.0), (3, 0.5, 2.0), (4, 0.75, 1.0)])
def test_lrn_is_torchs(channels: int, window: int, beta: float, k: float) -> None:
    torch.manual_seed(channels)
    x = 100 * torch.randn(2, channels, 4, 3, dtype=torch.float64)
    x.requires_grad_()
    network = single(Lrn, channels, window=window, alpha=1e-2, beta=beta, k=k).double()
    ours, theirs = network(x), nn.LocalResponseNorm(window, 1e-2, beta, k)(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    towards = torch.randn_like(ours)
    (mine,) = torch.autograd.grad(ours, x, towards)
    (expected,) = torch.autograd.grad(theirs, x, towards)
    torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        assert torch.equal(network(x), ours)


@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_slopes_of_lrn_have_slopes(beta: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 2, 1, dtype=torch.float64, requires_grad=True)
    network = single(Lrn, 4, window=2, alpha=0.5, beta=beta, k=1.0).double()
    assert torch.autograd.gradcheck(network, (x,))
    assert torch.autograd.gradgradcheck(network, (x,))


def test_lrn_under_autocast_stays_near() -> None:
    torch.manual_seed(0)
    x = (50 * torch.randn(1, 16, 4, 4).relu()).requires_grad_()
    network = single(Lrn, 16)
    exact = network(x)
    (slope,) = torch.autograd.grad(exact.sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x.bfloat16())
    assert rough.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(x), exact)
    torch.testing.assert_close(rough.float(), exact, rtol=0.02, atol=0)
    torch.testing.assert_close(torch.autograd.grad(rough.sum(), x)[0], slope, rtol=0, atol=0.03)


def test_lrn_by_hand() -> None:
    # fact sheet 10.3: x / (k + alpha / size * sum x^2)^beta; channels 0..2 are all in the window
    x = torch.tensor([3.0, 4.0, 12.0]).reshape(1, 3, 1, 1)
    out = single(Lrn, window=5, alpha=5.0, beta=0.75, k=1.0)(x).flatten()
    base = (1 + 5 / 5 * (9 + 16 + 144)) ** 0.75
    assert out.tolist() == pytest.approx([3 / base, 4 / base, 12 / base])


def test_relu_with_a_ceiling_cuts_at_both_ends() -> None:
    x = torch.tensor([-1.0, 3.0, 7.0]).reshape(1, 3, 1, 1)
    assert single(Relu, ceiling=6.0)(x).flatten().tolist() == [0, 3, 6]
    assert single(Relu)(x).flatten().tolist() == [0, 3, 7]


def test_dilation_spreads_the_taps() -> None:
    network = single(Conv, 1, kernel=3, pad=2, dilation=2, bias=False)
    with torch.no_grad():
        network.get_submodule("layer").weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
    one = torch.zeros(1, 1, 5, 5)
    one[0, 0, 2, 2] = 1
    # cross-correlation: tap (i, j) is seen by the cell 2 * (1 - i), 2 * (1 - j) away
    expected = torch.arange(9.0).reshape(3, 3).flip(0, 1)
    assert torch.equal(network(one)[0, 0, ::2, ::2], expected)


def test_batch_norm_is_torchs_default() -> None:
    # torchvision's weights were trained with it
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(single(BatchNorm)(x), nn.BatchNorm2d(3)(x))


def test_scale_is_stored_and_not_trained() -> None:
    network = single(Scale, value=0.01)
    assert not list(network.parameters())
    assert network.state_dict()["layer.weight"].tolist() == pytest.approx([0.01] * 3)
    network.load_state_dict({"layer.weight": torch.tensor([1.0, 2.0, 3.0])})
    assert network(torch.ones(1, 3, 1, 1)).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", ["fcn8s-vgg16-atonce", "fcn4s-googlenet-tight", "fcn8s-tiny"])
def test_a_filled_net_is_the_built_one(name: str) -> None:
    """Nothing is drawn; factors, bilinear kernels and LRN's band are made from the records."""
    built = build(name, classes=3, width=1 / 16).eval()
    before = torch.get_rng_state()
    made = filled(built.net, built.state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    assert not made.training
    assert not [n for n, t in (*made.named_parameters(), *made.named_buffers()) if t.is_meta]
    assert all(p.requires_grad for p in made.parameters())
    x = torch.randn(1, 3, 64, 80)
    with torch.no_grad():
        assert torch.equal(made(x), built(x))


def test_crop_begins_at_the_offset_of_both_axes() -> None:
    net = Net()
    net.data(1)
    net.add(Conv("valid", ("data",), 1, kernel=3))
    net.crop("cut", "data", like="valid")
    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    assert Network(net)(x)[0, 0].tolist() == [[6, 7, 8], [11, 12, 13]]


# -- what the walk promises -----------------------------------------------------------------------
def test_state_dict_names_are_the_layer_names() -> None:
    names = set(build("fcn8s-vgg16-atonce", width=1 / 16).state_dict())
    assert {n.rsplit(".", 1)[1] for n in names} == {"weight", "bias"}
    assert {"conv1_1.weight", "score_fr.bias", "scale_pool4.weight"} <= names
    assert not any(n.startswith("upscore") for n in names)  # fixed kernels are not weights
    assert "inception_3a/5x5_reduce.weight" in build("googlenet", width=1 / 16).state_dict()
    resnet = build("fcn8s-resnet18", width=1 / 16).state_dict()
    assert {"bn2a_branch2a.running_mean", "res2a_branch2a.weight"} <= set(resnet)


def test_state_dict_of_stages_fits_into_the_next() -> None:
    # the paper's stages: 32s into 16s into 8s by name alone
    stages = [build(f"fcn{s}s-vgg16", width=1 / 16) for s in (32, 16, 8)]
    for coarse, fine in pairwise(stages):
        missing, unexpected = fine.load_state_dict(coarse.state_dict(), strict=False)
        assert not unexpected
        assert {m.split(".")[0] for m in missing} <= {"score_pool4", "score_pool3"}


def test_learned_kernels_are_weights_and_in_caffes_shape() -> None:
    state = build("fcn8s-vgg16", width=1 / 16, learned="all").state_dict()
    assert state["upscore2.weight"].shape == (21, 21, 4, 4)
    assert state["upscore8.weight"].shape == (21, 21, 16, 16)


@pytest.mark.parametrize("name", ["fcn8s-vgg16", "fcn8s-alexnet-tight", "fcn8s-tiny"])
@pytest.mark.parametrize("learned", ["inner", "all"])
def test_learned_upsampling_starts_equal_to_fixed(name: str, learned: Learned) -> None:
    options = {"width": 1 / 16, "classes": 3}
    fixed = shaken(build(name, **options)).eval()
    trained = build(name, learned=learned, **options).eval()
    trained.load_state_dict(fixed.state_dict(), strict=False)
    x = torch.randn(1, 3, 45, 70)
    torch.testing.assert_close(trained(x), fixed(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("edge", ["fade", "hold"])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 2), (16, 8), (15, 8)])
def test_learned_kernel_starts_as_the_fixed_one(edge: str, kernel: int, stride: int) -> None:
    fields = {"kernel": kernel, "stride": stride, "edge": edge}
    x = torch.randn(2, 3, 3, 4)
    learned = single(Upsample, learned=True, **fields)
    assert learned(x).shape[-2:] == (2 * stride + kernel, 3 * stride + kernel)
    torch.testing.assert_close(learned(x), single(Upsample, **fields)(x), rtol=0, atol=1e-6)
    assert [n for n, _ in learned.named_parameters()] == ["layer.weight"]


def test_activations_are_the_maps_of_the_forward_pass() -> None:
    network = shaken(build("fcn8s-tiny", width=1 / 4)).eval()
    x = torch.randn(1, 3, 40, 33)
    seen: dict[str, Tensor] = {}
    wanted = ("pool3", "score_fr", "score")
    for name in wanted:
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: out})
        )
    out = network(x)
    found = network.activations(x, wanted)
    assert set(found) == set(wanted)
    assert all(torch.equal(found[n], seen[n]) for n in wanted)
    assert torch.equal(out, found["score"])
    assert torch.equal(network.activations(x, ["data"])["data"], x)


def test_activations_stop_at_the_last_map_that_is_wanted() -> None:
    network = build("fcn8s-tiny", width=1 / 4).eval()

    def refuse(*_: object) -> None:
        raise AssertionError("walked too far")

    network.get_submodule("conv2_1").register_forward_pre_hook(refuse)
    network.activations(torch.zeros(1, 3, 8, 8), ["pool1"])
    with pytest.raises(AssertionError):
        network.activations(torch.zeros(1, 3, 8, 8), ["pool2"])


def test_activations_of_unknown_layers_are_refused_with_similar_names() -> None:
    network = build("fcn8s-tiny", width=1 / 4)
    with pytest.raises(UsageError, match=r"score_fx.*score_fr"):
        network.activations(torch.zeros(1, 3, 8, 8), ["pool1", "score_fx"])


def test_maps_are_dropped_after_their_last_use() -> None:
    network = build("fcn8s-tiny", width=1 / 4).eval()
    alive: dict[str, weakref.ref[Tensor]] = {}

    def look(name: str) -> None:
        if name == "conv5_1":
            held = {n for n, ref in alive.items() if ref() is not None}
            # skips wait for their score; pool4 is also the input of conv5_1
            assert held == {"pool3", "pool4"}

    for name in network.net.layers:
        if name != "data":
            module = network.get_submodule(name)
            module.register_forward_pre_hook(lambda *_, name=name: look(name))
            module.register_forward_hook(
                lambda _m, _i, out, name=name: alive.update({name: weakref.ref(out)})
            )
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    assert "score" in alive


def test_a_traceback_names_the_layer() -> None:
    network = build("fcn8s-tiny", width=1 / 4)
    with pytest.raises(RuntimeError) as caught:
        network(torch.zeros(1, 4, 16, 16))
    assert "in layer conv1_1 (Conv)" in caught.value.__notes__


def test_a_crop_that_does_not_fit_is_an_error_and_never_a_smaller_map() -> None:
    net = Net()
    net.data(1)
    net.add(Conv("valid", ("data",), 1, kernel=3))
    net.add(Crop("cut", ("valid", "data"), 1))
    with pytest.raises(RuntimeError) as caught:
        Network(net)(torch.zeros(1, 1, 9, 9))
    assert "in layer cut (Crop)" in caught.value.__notes__


def test_a_sum_never_broadcasts() -> None:
    # 2x2 pool, rounded up and down: on 1..3 px they give 1..2 and 0..1 cells
    net = Net()
    net.data(1)
    net.max_pool("up", "data", ceil=True)
    net.max_pool("down", "data", ceil=False)
    net.add(Sum("fuse", ("up", "down")))
    with pytest.raises(RuntimeError) as caught:
        Network(net)(torch.zeros(1, 1, 3, 3))
    assert "in layer fuse (Sum)" in caught.value.__notes__


def test_scores_start_at_exactly_zero() -> None:
    for name in ("fcn8s-vgg16", "fcn8s-googlenet", "fcn4s-mobilenetv2"):
        out = build(name, width=1 / 16).eval()(torch.randn(1, 3, 40, 40))
        assert out.shape == (1, 21, 40, 40)
        assert out.count_nonzero() == 0


def test_initial_loss_is_pixels_times_log_of_classes() -> None:
    # fact sheet 11.7
    out = build("fcn32s-vgg16", width=1 / 16, classes=21)(torch.randn(1, 3, 20, 30))
    loss = F.cross_entropy(out, torch.zeros(1, 20, 30, dtype=torch.long), reduction="sum")
    assert loss.item() == pytest.approx(600 * 3.0445224377, rel=1e-6)


def test_hidden_layers_keep_the_scale_of_their_input() -> None:
    # He initialisation: with zero scores, a net that fades or explodes would never learn
    torch.manual_seed(0)
    network = build("fcn32s-vgg16-tight", width=1 / 4).eval()
    found = network.activations(torch.randn(1, 3, 64, 64), ["relu1_1", "relu5_3"])
    ratio = found["relu5_3"].std() / found["relu1_1"].std()
    assert 0.1 < ratio < 10


def test_narrow_nets_compute_in_double_and_keep_exact_ramps() -> None:
    network = build("fcn32s-vgg16", width=1 / 16).double()
    with torch.no_grad():
        network.get_submodule("score_fr").bias.fill_(1)
    out = network.eval()(torch.zeros(1, 3, 80, 40, dtype=torch.float64))
    assert out.dtype == torch.float64
    assert out[0, 0, 40, 20] == 1


def test_spec_of_a_network_is_the_one_it_was_built_from() -> None:
    net = spec("fcn8s-tiny")
    assert Network(net).net is net


def shaken(network: Network, seed: int = 0) -> Network:
    """Random weights everywhere, scores and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator) / fan**0.5)
    return network
