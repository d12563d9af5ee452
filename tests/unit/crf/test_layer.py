from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from brute_force import beliefs, picture
from pixelwise.crf.dense import refine
from pixelwise.crf.layer import MeanField
from pixelwise.crf.parameters import DenseCrf
from pixelwise.data.scenes.compose import scene
from pixelwise.engine.build import build
from pixelwise.errors import UsageError
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores as scores_of

CRF = DenseCrf(4, 20, 10, 2, 2.5, 3)


def as_image(image: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].to(dtype)


@pytest.mark.parametrize("quality", ["exact", "fast"])
def test_untrained_it_is_the_crf_itself(quality: str) -> None:
    p, image = beliefs(4, 17, 22), picture(17, 22)
    crf = replace(CRF, quality=quality)
    layer = MeanField(4, crf, steps=3)
    with torch.no_grad():
        made = layer(torch.from_numpy(p).log()[None], as_image(image))[0].softmax(0)
    assert np.abs(made.numpy() - refine(p, image, crf)).max() < 1e-4


@pytest.mark.parametrize("quality", ["exact", "fast"])
def test_gradients_are_those_of_finite_differences(quality: str) -> None:
    draw = torch.Generator().manual_seed(0)
    layer = MeanField(3, replace(CRF, quality=quality), steps=2).double()
    for parameter in layer.parameters():  # so that no two classes are alike
        parameter.data += 0.3 * torch.rand(parameter.shape, generator=draw, dtype=torch.float64)
    scores = torch.randn(2, 3, 4, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    images = torch.cat([as_image(picture(4, 5, seed), torch.float64) for seed in range(2)])
    parameters = dict(layer.named_parameters())

    def made(scores: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, named, (scores, images))

    assert torch.autograd.gradcheck(made, (scores, *parameters.values()), fast_mode=True)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(UsageError, match=r"scores are \(1, 3, 4, 4\), expected \(1, 2, 4, 5\)"):
        MeanField(2)(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))


def test_on_made_scenes_it_trains_with_a_net_and_makes_it_better() -> None:
    made = [scene(3, i, (48, 64)) for i in range(28)]
    images = torch.stack([torch.from_numpy(s.image).permute(2, 0, 1).float() for s in made])
    truth = torch.stack([torch.from_numpy(s.semantic).long() for s in made])
    classes = int(truth[truth != 255].max()) + 1
    torch.manual_seed(0)
    net = build("fcn8s-tiny", classes=classes, width=0.5)
    layer = MeanField(classes, DenseCrf(1, 10, 20, 1, 1, quality="fast"), steps=2)

    def learn(parts: torch.nn.ModuleList, steps: int, lr: float) -> list[float]:
        optimizer, losses = torch.optim.AdamW(parts.parameters(), lr=lr), []
        for step in range(steps):
            chosen = slice(4 * (step % 4), 4 * (step % 4) + 4)
            x, y = images[chosen], truth[chosen]
            scores = parts[0]((x - 128) / 64)
            scores = parts[1](scores, x) if len(parts) > 1 else scores
            loss = F.cross_entropy(scores, y, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def judged(parts: torch.nn.ModuleList) -> float:
        parts.eval()
        with torch.no_grad():
            scores = parts[0]((images[16:] - 128) / 64)
            scores = parts[1](scores, images[16:]) if len(parts) > 1 else scores
        guess = scores.argmax(1).numpy().astype(np.uint8)
        return scores_of(confusion(truth[16:].numpy().astype(np.uint8), guess, classes)).mean_iu

    learn(torch.nn.ModuleList([net]), 60, 5e-3)
    alone, both = torch.nn.ModuleList([copy.deepcopy(net)]), torch.nn.ModuleList([net, layer])
    before = layer.compatibility.detach().clone()
    learn(alone, 16, 1e-3)
    losses = learn(both, 16, 1e-3)
    assert np.mean(losses[-4:]) < 0.95 * np.mean(losses[:4])
    assert not torch.equal(before, layer.compatibility)
    assert judged(both) > judged(alone)
