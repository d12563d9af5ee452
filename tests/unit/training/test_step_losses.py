"""What a step minimises, loss by loss, against torch on whole maps of scores."""

from __future__ import annotations

import pytest
import torch

from pixelwise.engine.score_loss import score_loss
from pixelwise.losses.borders import border_weights
from pixelwise.losses.of_classes import REGIONS
from pixelwise.losses.overlap import soft_jaccard
from pixelwise.training import step as of_step
from pixelwise.training.recipe import Loss, Optim
from small_steps import VOID, batch, stepper, tiny


@pytest.mark.parametrize(
    "loss",
    [
        *(Loss("mean"), Loss("image"), Loss("sum"), Loss(focal=2.0, border=3.0), Loss(hard=0.3)),
        *(Loss("image", hard=0.1, hard_below=0.5), Loss(cross_entropy=0.0, boundary=1.0)),
    ],
)
def test_micro_batches_are_one_large_batch(loss: Loss) -> None:
    images, truth = batch(4)
    rate = Optim("sgd", lr=1e-4 if loss.reduction == "sum" else 0.1)
    whole = stepper(tiny(), loss=loss, optim=rate)
    parts = stepper(tiny(), loss=loss, optim=rate, accumulate=4)
    for step in range(3):
        a = whole.run(step, [(images, truth)])
        b = parts.run(step, [(images[i : i + 1], truth[i : i + 1]) for i in range(4)])
        assert a == pytest.approx(b, rel=1e-5)
    for (name, x), y in zip(whole.net.named_parameters(), parts.net.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6, msg=name)


def test_the_jaccard_loss_is_added_to_the_mean() -> None:
    """Its gradient is that of both losses by torch; of micro-batches it is averaged."""
    images, truth = batch(2)
    reference, *nets = tiny(), tiny(), tiny()
    for net in (reference, *nets):  # equal scores of all classes would leave nothing to sort by
        torch.nn.init.normal_(
            net.get_parameter("score_fr.weight"), generator=torch.Generator().manual_seed(0)
        )
    scores = reference.eval()(images)
    entropy = torch.nn.functional.cross_entropy(scores, truth.long(), ignore_index=VOID)
    loss = entropy + 0.5 * soft_jaccard(scores, truth)
    loss.backward()
    rate = Optim("sgd", lr=0.1, momentum=0.0, weight_decay=0.0, bias_rate=1.0)
    told = Loss(jaccard=0.5)
    once = stepper(nets[0], optim=rate, loss=told).run(0, [(images, truth)])
    twice = stepper(nets[1], optim=rate, loss=told, accumulate=2).run(0, [(images, truth)] * 2)
    assert once == pytest.approx(loss.item(), rel=1e-5)
    assert twice == pytest.approx(loss.item(), rel=1e-5)
    assert soft_jaccard(scores, truth) > 0.1
    for net in nets:
        for before, after in zip(reference.parameters(), net.parameters(), strict=True):
            if before.grad is not None:
                torch.testing.assert_close(after, before - 0.1 * before.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "aim",
    [
        *(Loss(dice=0.5), Loss(lovasz=0.5), Loss(boundary=0.5), Loss(focal=2.0), Loss(border=10.0)),
        *(Loss(hard=0.25), Loss(cross_entropy=0.0, dice=1.0), Loss(cross_entropy=0.3, jaccard=2.0)),
    ],
)
def test_each_loss_reaches_the_step(aim: Loss) -> None:
    """Its value and gradient by torch, on the whole map of scores; void in one picture."""
    images, truth = batch(2)
    nets = tiny(), tiny()
    for net in nets:  # equal scores of all classes would leave nothing to tell apart
        draw = torch.Generator().manual_seed(0)
        torch.nn.init.normal_(net.get_parameter("score_fr.weight"), generator=draw)
    scores, target = nets[0].eval()(images), truth.long()
    pixel = torch.nn.functional.cross_entropy(
        scores, target, ignore_index=VOID, reduction="none"
    ).double()
    counts = (truth != VOID).double()
    if aim.hard < 1:  # a quarter of 768 pixels, and of the 608 that five rows of void leave
        for own, kept, number in zip(pixel, counts, (192, 152), strict=True):
            worst = own >= own.flatten().topk(number).values[-1]  # and what is equal to the last
            kept *= worst * (4 * number / worst.sum())
    if aim.border:
        counts = counts * border_weights(truth, 10.0)
    if aim.focal:
        pixel = (1 - (-pixel).exp()) ** 2 * pixel
    loss = aim.cross_entropy * (counts * pixel).sum() / (truth != VOID).sum()
    for name, region in REGIONS.items():
        loss = loss + getattr(aim, name) * region(scores, truth)
    loss.backward()
    rate = Optim("sgd", lr=0.1, momentum=0.0, weight_decay=0.0, bias_rate=1.0)
    made = stepper(nets[1], optim=rate, loss=aim).run(0, [(images, truth)])
    assert made == pytest.approx(loss.item(), rel=1e-5)
    for before, after in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        if before.grad is not None:
            torch.testing.assert_close(after, before - 0.1 * before.grad, rtol=1e-4, atol=1e-6)


def test_a_step_of_void_teaches_nothing_whatever_is_added() -> None:
    net = tiny()
    before = {k: v.clone() for k, v in net.named_parameters()}
    images, truth = batch(2)
    for aim in (Loss(focal=2.0, border=9.0, hard=0.2), Loss(dice=1.0, lovasz=1.0, boundary=1.0)):
        made = stepper(net, optim=Optim("sgd", lr=0.1, weight_decay=0.0), loss=aim)
        assert made.run(0, [(images, torch.full_like(truth, VOID))]) == 0
    assert all(torch.equal(before[k], v) for k, v in net.named_parameters())


@pytest.mark.parametrize("loss", [Loss("mean", jaccard=2.0, dice=1.0), Loss("image"), Loss("sum")])
def test_where_our_kernels_do_not_run_torch_gives_the_same_step(loss: Loss, monkeypatch) -> None:
    nets, losses = (tiny(), tiny()), []
    lr = 1e-4 if loss.reduction == "sum" else 0.1
    for net, why in zip(nets, ("", "asked for"), strict=True):
        monkeypatch.setattr("pixelwise.training.step.unavailable", lambda why=why: why)
        losses.append(stepper(net, loss=loss, optim=Optim("sgd", lr=lr)).run(0, [batch(3)]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for ours, torchs in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kernels", [True, False])
def test_sums_are_made_by_the_kernels_where_there_are_some(
    kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways give the same; the kernels' need no whole map of scores (docs/performance.md)."""
    calls = []

    def counted(*arguments: object) -> torch.Tensor:
        calls.append(len(arguments))
        return score_loss(*arguments)

    monkeypatch.setattr(of_step, "score_loss", counted)
    monkeypatch.setattr(of_step, "unavailable", lambda: "" if kernels else "no compiler")
    stepper(tiny(), loss=Loss(jaccard=0.5)).run(0, [batch(2)])
    stepper(tiny(), loss=Loss(focal=2.0)).run(0, [batch(2)])  # which they have not
    assert len(calls) == kernels
