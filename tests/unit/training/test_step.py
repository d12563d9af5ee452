from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import NumericalError
from pixelwise.losses.cross_entropy import cross_entropy
from pixelwise.nets.net import Net
from pixelwise.training.recipe import Loss, Optim, Recipe
from pixelwise.training.step import Average, Stepper
from small_steps import VOID, batch, stepper, tiny


def test_the_first_loss_is_that_of_chance() -> None:
    """Zero scores give every class a third: log 3, whatever the reduction and the size."""
    for reduction in ("mean", "image", "sum"):
        loss = stepper(tiny(), loss=Loss(reduction)).run(0, [batch(2)])
        assert loss == pytest.approx(math.log(3), rel=1e-6)


def test_statistics_of_frozen_batch_norm_stay() -> None:
    """A scale and shift that are not trained belong to the statistics they were trained with."""
    rates = {"bn1_1": 0.0}
    made = stepper(tiny(), frozen_bn=False, optim=Optim("sgd", lr=0.1, rates=rates))
    before = {k: v.clone() for k, v in made.net.state_dict().items() if "running" in k}
    made.run(0, [batch(2)])
    after = made.net.state_dict()
    moved = {k for k, v in before.items() if not torch.equal(v, after[k])}
    assert moved == before.keys() - {"bn1_1.running_mean", "bn1_1.running_var"}


def test_a_plain_sgd_step_by_hand() -> None:
    net = tiny()
    images, truth = batch(2)
    reference = tiny()
    reference.eval()
    scores = reference(images)
    torch.nn.functional.cross_entropy(scores, truth.long(), ignore_index=VOID).backward()
    stepper(net, optim=Optim("sgd", lr=0.1, momentum=0.0, weight_decay=0.0)).run(
        0, [(images, truth)]
    )
    for (name, after), before in zip(net.named_parameters(), reference.parameters(), strict=True):
        if before.grad is None:
            continue
        rate = 0.2 if name.endswith("bias") else 0.1
        torch.testing.assert_close(after, before - rate * before.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("unit", ["cell", "pixel"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sampled_step_is_that_of_the_terms_which_are_drawn(unit, reduction) -> None:
    """By sample number, so two passes of two pictures are four of one; cells of tiny are 32x32."""
    images, truth = (x.repeat(*((1,) * (x.ndim - 2)), 3, 3) for x in batch(4))
    drawn = []
    for number in (8, 9, 10, 11):  # of the third step
        each = np.random.default_rng([0, 3, number]).random((3, 3) if unit == "cell" else (72, 96))
        drawn.append(each.repeat(32, 0).repeat(32, 1)[:72, :96] if unit == "cell" else each)
    labels = truth.long().where(torch.from_numpy(np.stack(drawn)) < 0.5, VOID)
    reference, *nets = tiny().eval(), tiny(), tiny()
    scores = reference(images)
    loss = torch.nn.functional.cross_entropy(scores, labels, ignore_index=VOID, reduction=reduction)
    loss.backward()
    lr = 0.1 if reduction == "mean" else 1e-4
    rate = Optim("sgd", lr=lr, momentum=0.0, weight_decay=0.0, bias_rate=1.0)
    settings = {"loss": Loss(reduction, keep=0.5, sample=unit), "optim": rate}
    twos = [(images[i : i + 2], truth[i : i + 2]) for i in (0, 2)]
    ones = [(images[i : i + 1], truth[i : i + 1]) for i in range(4)]
    stepper(nets[0], batch=2, **settings).run(2, twos)
    stepper(nets[1], batch=1, accumulate=2, **settings).run(2, ones)
    for net in nets:
        for before, after in zip(reference.parameters(), net.parameters(), strict=True):
            if before.grad is not None:
                torch.testing.assert_close(after, before - lr * before.grad, rtol=1e-4, atol=1e-6)


def test_frozen_batch_norm_keeps_its_statistics_and_others_do_not() -> None:
    for frozen in (True, False):
        net = tiny()
        before = {k: v.clone() for k, v in net.named_buffers() if "running" in k}
        assert before
        stepper(net, frozen_bn=frozen).run(0, [batch(2)])
        same = all(torch.equal(before[k], v) for k, v in net.named_buffers() if k in before)
        assert same is frozen


def test_the_average_by_hand() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(0.0)
    average, expected = Average(net, 0.9), 0.0
    for step in range(200):
        with torch.no_grad():
            net.weight.fill_(float(step))
        average.update(net, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert average.tensors["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(199 - 9, abs=0.01)  # a mean lags by decay / (1 - decay) steps


def test_what_is_not_finite_stops_before_any_weight_changes() -> None:
    net = tiny()
    before = {k: v.clone() for k, v in net.named_parameters()}
    images, truth = batch(2)
    images[0, 0, 0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"step 8: the loss is not finite") as caught:
        stepper(net).run(7, [(images, truth)])
    assert caught.value.code == "N001"
    assert "optim.lr" in caught.value.hint
    assert all(torch.equal(before[k], v) for k, v in net.named_parameters())


def test_a_gradient_is_clipped_to_its_norm() -> None:
    def numbers(net: Network) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in net.parameters()]).clone()

    def moved(clip: float) -> float:
        net = tiny()
        before = numbers(net)
        rate = Optim("sgd", lr=1.0, momentum=0.0, weight_decay=0.0, bias_rate=1.0, clip=clip)
        stepper(net, optim=rate).run(0, [batch(2)])
        return (numbers(net) - before).norm().item()

    free = moved(0.0)
    assert moved(free / 2) == pytest.approx(free / 2, rel=1e-3)
    assert moved(free * 2) == pytest.approx(free, rel=1e-5)


def test_a_net_with_a_margin_is_compared_with_the_labels_that_it_covers() -> None:
    """Valid convolutions: two 3x3 windows leave two pixels of every rim without a score."""
    net = Net()
    x = net.conv("conv1", net.data(3), 4, kernel=3)
    net.top = net.conv("score", x, 3, kernel=3)
    network = Network(net)
    images, truth = batch(2)
    expected = torch.nn.functional.cross_entropy(
        network(images), truth[:, 2:-2, 2:-2].long(), ignore_index=VOID
    )
    assert stepper(network).run(0, [(images, truth)]) == pytest.approx(expected.item(), rel=1e-6)
    inner = truth.clone()
    inner[:, 2:-2, 2:-2] = VOID  # what is left lies outside of the output: nothing is learned
    before = {k: v.clone() for k, v in network.named_parameters()}
    assert stepper(network).run(1, [(images, inner)]) == 0
    decay = 1 - 0.1 * 5e-4
    assert torch.allclose(network.get_parameter("conv1.weight"), before["conv1.weight"] * decay)


def test_a_batch_of_void_changes_nothing_but_decay() -> None:
    net = tiny()
    before = {k: v.clone() for k, v in net.named_parameters()}
    images, truth = batch(2)
    rate = Optim("sgd", lr=0.1, weight_decay=0.0)
    assert stepper(net, optim=rate).run(0, [(images, torch.full_like(truth, VOID))]) == 0
    assert all(torch.equal(before[k], v) for k, v in net.named_parameters())


def test_the_mean_of_each_picture_by_hand() -> None:
    """Caffe's normalize true, one picture a pass, iter_size of them (voc-fcn-alexnet)."""
    images, truth = batch(3)
    truth[2] = VOID
    truth[2, 0, 0] = 1  # one pixel that counts as much as a whole picture
    nets = tiny(), tiny(), tiny()
    reference = nets[0].eval()
    scores = reference(images)
    per_image = [
        torch.nn.functional.cross_entropy(s[None], y[None].long(), ignore_index=VOID)
        for s, y in zip(scores, truth, strict=True)
    ]
    (sum(per_image) / 3).backward()
    rate = Optim("sgd", lr=0.1, momentum=0.0, weight_decay=0.0, bias_rate=1.0)
    told = {"optim": rate, "loss": Loss("image")}
    micro = [(images[i : i + 1], truth[i : i + 1]) for i in range(3)]
    losses = (
        stepper(nets[1], **told).run(0, [(images, truth)]),
        stepper(nets[2], **told, accumulate=3).run(0, micro),
    )
    assert losses == pytest.approx([math.log(3)] * 2, rel=1e-6)
    for net in nets[1:]:
        for before, after in zip(reference.parameters(), net.parameters(), strict=True):
            if before.grad is not None:
                torch.testing.assert_close(after, before - 0.1 * before.grad, rtol=1e-4, atol=1e-7)


def test_the_sum_at_1e_10_moves_as_the_mean_at_1e_10_times_the_pixels() -> None:
    """One step (fact sheet 11.8), seen where weights begin at zero and small moves are kept."""
    images, truth = batch(1)
    pixels = int((truth != VOID).sum())
    summed, mean = tiny(), tiny()
    heavy = Optim("sgd", lr=1e-10, momentum=0.99)
    stepper(summed, optim=heavy, loss=Loss("sum")).run(0, [(images, truth)])
    light = Optim("sgd", lr=1e-10 * pixels, momentum=0.99)
    stepper(mean, optim=light, loss=Loss("mean")).run(0, [(images, truth)])
    for name in ("score_fr", "score_pool4", "score_pool3"):
        for part in ("weight", "bias"):
            a, b = (net.get_parameter(f"{name}.{part}") for net in (summed, mean))
            assert a.abs().max() > 0
            torch.testing.assert_close(a, b, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("height", "width", "classes", "expected"),
    [(375, 500, 21, 570_848), (425, 560, 40, 877_953), (256, 256, 33, 229_147)],
)
def test_the_summed_loss_begins_at_pixels_times_log_classes(
    height: int, width: int, classes: int, expected: int
) -> None:
    """Score layers are zero (fact sheet 2.2, 11.7), whatever the trunk gives."""
    net = build("fcn32s-vgg16-tight", classes=classes, width=1 / 32).eval()
    with torch.no_grad():
        scores = net(torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)))
    truth = torch.randint(0, classes, (1, height, width))
    loss = cross_entropy(scores, truth).double().sum().item()
    assert loss == pytest.approx(height * width * math.log(classes), rel=1e-6)
    assert round(loss) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("reduction", ["mean", "image", "sum"])
def test_a_step_of_two_heads_minimises_the_weighted_sum_of_two_losses(reduction) -> None:
    """By torch alone; each head's mean is over its own pixels, and micro-batches are one batch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [build("fcn8s-tiny", heads={"a": 3, "b": 2}, width=0.25) for _ in range(3)]
    for net in nets:
        net.load_state_dict(nets[0].state_dict())
    images, first = batch(4)
    second = first.clamp(max=1).where(first != VOID, VOID)
    second[:, 20:] = VOID
    weights = {"a": torch.tensor([1.0, 2.0, 0.5]), "b": torch.tensor([3.0, 0.25])}
    scores = nets[0].eval()(images)
    losses = {}
    for head, truth in (("a", first), ("b", second)):
        each = torch.nn.functional.cross_entropy(
            scores[head], truth.long(), weights[head], ignore_index=VOID, reduction="none"
        )
        counted = weights[head][truth.long().where(truth != VOID, 0)].where(truth != VOID, 0)
        by_image = (each.sum((1, 2)) / counted.sum((1, 2))).mean()
        mean = each.sum() / counted.sum()
        losses[head] = {"mean": mean, "image": by_image, "sum": each.sum()}[reduction]
        expected = by_image if reduction == "image" else mean
        losses[f"shown {head}"] = expected.item()
    (losses["a"] + 0.3 * losses["b"]).backward()
    lr = 1e-4 if reduction == "sum" else 0.1
    rate = Optim("sgd", lr=lr, momentum=0.0, weight_decay=0.0, bias_rate=1.0)
    plan = Recipe(
        data="none", optim=rate, frozen_bn=True, loss=Loss(reduction, head_weights={"b": 0.3})
    )
    for net, parts in ((nets[1], 1), (nets[2], 4)):
        made = Stepper(Fabric(accelerator="cpu", devices=1), net, plan, weights)
        size = 4 // parts
        batches = [
            (images[i : i + size], {"a": first[i : i + size], "b": second[i : i + size]})
            for i in range(0, 4, size)
        ]
        shown = made.run(0, batches)
        assert shown == pytest.approx({h: losses[f"shown {h}"] for h in ("a", "b")}, rel=1e-5)
        for before, after in zip(nets[0].parameters(), net.parameters(), strict=True):
            if before.grad is not None:
                torch.testing.assert_close(after, before - lr * before.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["fcn8s-tiny", "fcn32s-vgg16-tight"])
@pytest.mark.parametrize("moved", [False, True])
def test_less_memory_gives_the_same_bits(name: str, moved: bool) -> None:
    """Maps computed twice: dropout draws the same again, statistics count them once."""
    states = []
    for less in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = build(name, classes=3, width=1 / 16 if "vgg" in name else 0.25)
        rate = Optim("adamw", lr=1e-2, in_backward=less and moved)
        made = stepper(net, frozen_bn=False, checkpoint=less, optim=rate)
        losses = [made.run(step, [batch(2, step)]) for step in range(3)]
        assert all(p.grad is None for p in net.parameters()) == rate.in_backward
        states.append((losses, net.state_dict()))
    assert states[0][0] == states[1][0]
    assert all(torch.equal(states[0][1][k], v) for k, v in states[1][1].items())


def test_the_rate_that_is_told_is_that_of_weights() -> None:
    """Biases have twice of it (paper, section 4.3), in a group of their own."""
    made = stepper(tiny(), optim=Optim("sgd", lr=0.125))
    assert len({group["lr"] for group in made.made.optimizer.param_groups}) > 1
    images, truth = batch(2)
    images[0, 0, 0, 0] = float("inf")
    with pytest.raises(NumericalError, match=r"\b0\.125\b"):
        made.run(0, [(images, truth)])


def test_a_gradient_that_is_not_finite_ends_a_run_whose_weights_move_early() -> None:
    net = tiny()
    torch.nn.init.ones_(net.get_parameter("score_fr.weight"))
    net.get_parameter("bn1_1.weight").register_hook(lambda gradient: gradient / 0)
    made = stepper(net, optim=Optim("sgd", lr=0.1, in_backward=True))
    before = net.get_parameter("bn1_1.weight").detach().clone()
    with pytest.raises(NumericalError, match="gradient is not finite"):
        made.run(0, [batch(2)])
    assert torch.equal(before, net.get_parameter("bn1_1.weight"))
