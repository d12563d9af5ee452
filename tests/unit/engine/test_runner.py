"""The torch runner: labels in strips are the best of the scores, to the bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pixelwise.engine import runner as runners
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.engine.runner import Runner, TorchRunner
from pixelwise.errors import NumericalError
from pixelwise.nets.net import Net

SIZES = [(1, 1), (1, 40), (33, 47), (96, 61)]


def shaken(network: Network) -> Network:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator) / fan**0.5)
    return network


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", ["fcn8s-tiny", "fcn32s-alexnet", "fcn4s-vgg16-tight", "vgg16"])
def test_labels_are_the_first_best_of_the_scores(
    name: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "STRIP", 2000)  # several strips also of small pictures
    network = shaken(build(name, width=1 / 16, classes=5))
    runner: Runner = TorchRunner(network, bf16=bf16)
    for size in SIZES if name != "vgg16" else [(224, 240)]:
        x = torch.randn(2, 3, *size)
        (found,) = runner.maps(x).values()
        scores, labels = found.whole(), found.labels()
        assert scores.dtype == torch.float32
        assert labels.dtype == torch.uint8
        assert torch.equal(labels, scores.argmax(1).to(torch.uint8)), size


@pytest.mark.parametrize("name", ["fcn8s-tiny", "fcn8s-vgg16"])
def test_scores_are_the_networks(name: str) -> None:
    network = shaken(build(name, width=1 / 8, classes=3)).eval()
    x = torch.randn(1, 3, 45, 70).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = network(x)
    assert torch.equal(TorchRunner(network).maps(x)["score"].whole(), expected)


def test_the_first_of_equals_wins_in_every_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "STRIP", 1)
    found = TorchRunner(build("fcn8s-tiny", classes=4)).maps(torch.randn(1, 3, 37, 20))["score"]
    assert not found.labels().any()  # scores start at zero, all classes are equal


def test_more_than_255_classes_take_more_than_a_byte() -> None:
    network = build("fcn32s-tiny", width=1 / 8, classes=300).eval()
    with torch.no_grad():
        network.get_submodule("score_fr").bias[299] = 1
    labels = TorchRunner(network).maps(torch.zeros(1, 3, 8, 8))["score"].labels()
    assert labels.dtype == torch.int32
    assert labels.unique().tolist() == [299]


def largest_made(work: Callable[[], object]) -> int:
    """Numbers of the largest tensor that any operation gives while ``work`` runs."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out,) if isinstance(t, Tensor))
            return out

    with Watch():
        work()
    return max(sizes)


def test_labels_never_hold_the_scores_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    classes, height, width = 200, 128, 96
    runner = TorchRunner(build("fcn8s-tiny", width=1 / 8, classes=classes))
    x = torch.zeros(1, 3, height, width)
    monkeypatch.setattr(runners, "STRIP", classes * width * 16)

    def labels() -> Tensor:
        return runner.maps(x)["score"].labels()

    assert largest_made(runner.maps(x)["score"].whole) >= classes * height * width
    assert largest_made(labels) <= classes * width * 24


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    network = build("fcn8s-tiny", width=1 / 8)
    with torch.no_grad():
        network.get_submodule("score_fr").bias[3] = value
    with pytest.raises(NumericalError, match="not finite"):
        TorchRunner(network).maps(torch.zeros(1, 3, 16, 16))


def test_training_mode_comes_back_and_nothing_is_kept_for_gradients() -> None:
    network = build("fcn8s-tiny", width=1 / 8).train()
    network.get_submodule("bn1_1").eval()
    x = torch.randn(1, 3, 16, 16)
    scores = TorchRunner(network).maps(x)["score"].whole()
    assert not scores.requires_grad
    assert network.training
    assert not network.get_submodule("bn1_1").training
    assert network.get_submodule("bn1_2").training


def test_a_net_of_two_heads_gives_both_by_name() -> None:
    net = Net()
    x = net.conv("conv", net.data(3), 4, kernel=3, pad=1, relu="relu")
    coarse = net.max_pool("pool", x)
    up = net.upsample("up", net.score("score_parts", coarse, 3), 2, like="data")
    net.heads = {"parts": net.crop("parts_cut", up, like="data"), "edges": net.score("e", x, 2)}
    network = shaken(Network(net))
    x = torch.randn(2, 3, 9, 14)
    runner = TorchRunner(network)
    scores = {head: found.whole() for head, found in runner.maps(x).items()}
    labels = {head: found.labels() for head, found in runner.maps(x).items()}
    assert {h: tuple(s.shape) for h, s in scores.items()} == {
        "parts": (2, 3, 9, 14),
        "edges": (2, 2, 9, 14),
    }
    assert all(torch.equal(labels[h], scores[h].argmax(1).to(torch.uint8)) for h in scores)
