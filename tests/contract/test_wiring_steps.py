"""The settings of a recipe reach the optimizer step, number by number.

A step is made again with plain torch, from what the run itself left on disk before and after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import pixelwise as pw
from make_data import COLOURS, canonical_set
from small_runs import events, train
from witness import witness

STEPS = 11
"""A loss is told every ten steps and at the end, so the last one is that of the last step alone."""
SMALL = f"iterations={STEPS} width=0.25 threads=1 batch=4 augment.mirror=false save_every=1 "
SMALL += f"learned=inner validate_every={STEPS}"
CLASSES = {"sky": (70, 130, 180), "field": (60, 160, 40), "road": (128, 64, 128)}


def scene(index: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Much sky, less field, little road; ``share`` of the rows is ground, some pixels are void."""
    rng = np.random.default_rng(index)
    truth = np.zeros((24, 32), np.uint8)
    top = round(24 * (1 - share))
    truth[top:] = 1
    if index:  # so that the pictures with a class are not all
        truth[top:, 26:] = 2
    truth[:index, :9] = 255
    noise = rng.integers(-40, 40, (*truth.shape, 3))
    image = np.clip(COLOURS[np.minimum(truth, 2)].astype(int) + noise, 0, 255).astype(np.uint8)
    return image, truth


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures to train on; the two to validate on have other shares of the classes."""
    shares = (0.2, 0.3, 0.4, 0.3, 0.2, 0.4)
    splits = {
        "train": [scene(i, share) for i, share in enumerate(shares)],
        "val": [scene(i, 0.9) for i in (7, 8)],
    }
    return canonical_set(tmp_path_factory.mktemp("steps") / "set", splits, CLASSES)


def state(run: Path, step: int) -> dict[str, Tensor]:
    return load_file(run / f"state/step-{step:09d}.safetensors")


def header(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["pixelwise"])


def training_split(data: Path, run: Path) -> tuple[Tensor, Tensor]:
    """All of it, (6, 3, H, W) as the net sees it, and (6, H, W)."""
    preprocess = header(run / "weights/last.safetensors")["preprocess"]
    assert (preprocess["order"], preprocess["scale"]) == ("rgb", 1.0)
    mean, std = (torch.tensor(preprocess[key]) for key in ("mean", "std"))
    read = [
        np.stack([np.array(Image.open(data / kind / f"train{i}.png")) for i in range(6)])
        for kind in ("images", "labels")
    ]
    images, labels = (torch.from_numpy(stack) for stack in read)
    return ((images - mean) / std).permute(0, 3, 1, 2), labels.long()


def class_weights(scheme: str, labels: Tensor) -> Tensor:
    """By the papers' formulas over the training split, scaled to 1 for the average pixel."""
    pixels = torch.stack([(labels == c).sum() for c in range(3)]).double()
    share = pixels / pixels.sum()
    if scheme == "none":
        return torch.ones(3)
    if scheme == "enet":
        weights = 1 / torch.log(1.02 + share)
    elif scheme == "sqrt":
        weights = share**-0.5
    else:  # a class's frequency counts the pictures that it is in alone
        known = (labels != 255).flatten(1).sum(1).double()
        within = [known[(labels == c).flatten(1).any(1)].sum() for c in range(3)]
        frequency = pixels / torch.stack(within)
        weights = frequency.median() / frequency
    return (weights / (weights * share).sum()).float()


@dataclass(frozen=True)
class Case:
    """What is asked for, and the base rate that it makes of the last step."""

    optimizer: str
    reduction: str
    scheme: str
    settings: str
    lr: float
    clip: float = 0.0
    jaccard: float = 0.0


def objective(scores: Tensor, labels: Tensor, weights: Tensor, case: Case) -> tuple[Tensor, float]:
    """What is minimised, and the loss by pixel that is told."""
    pixel = F.cross_entropy(scores, labels, weight=weights, ignore_index=255, reduction="none")
    mean = pixel.sum() / weights[labels[labels != 255]].sum()
    if case.reduction == "sum":
        return pixel.sum(), mean.item()
    loss = mean + case.jaccard * jaccard(scores, labels)
    return loss, loss.item()


def jaccard(scores: Tensor, labels: Tensor) -> Tensor:
    """1 - the mean over classes of intersection by union, in probabilities."""
    known = labels != 255
    chance, truth = scores.softmax(1).movedim(1, -1)[known], labels[known]
    per_class = []
    for c in range(3):
        hits = chance[truth == c, c].sum()
        per_class.append(hits / (chance[:, c].sum() + (truth == c).sum() - hits))
    return 1 - torch.stack(per_class).mean()


def rate_of(name: str, base: float) -> float:
    """As ``test_the_last_step_is_that_of_plain_torch`` asks for it."""
    layer = 0.5 if name.startswith("score") else 2.0 if name.startswith("conv3") else 1.0
    return base * layer * (3 if name.endswith("bias") else 1)


def direction(value: Tensor, gradient: Tensor, moments: dict[str, Tensor]) -> Tensor:
    """Where SGD with momentum (its buffer is the one moment) or AdamW goes; both of 0.7."""
    decay = 0.1 if value.ndim > 1 else 0.0
    if "momentum_buffer" in moments:
        return 0.7 * moments["momentum_buffer"] + gradient + decay * value
    first = 0.7 * moments["exp_avg"] + 0.3 * gradient
    second = 0.999 * moments["exp_avg_sq"] + 0.001 * gradient**2
    first, second = first / (1 - 0.7**STEPS), second / (1 - 0.999**STEPS)
    return first / (second.sqrt() + 1e-8) + decay * value


POLY = (1 - (STEPS - 1) / STEPS) ** 0.9  # at the last step
CASES = {
    "mean": Case("sgd", "mean", "none", "optim.lr=0.2 optim.clip=0.2", 0.2 * POLY, clip=0.2),
    "median": Case("sgd", "mean", "median", "optim.lr=0.2", 0.2 * POLY),
    "sum": Case("sgd", "sum", "none", "optim.lr=1e-4 schedule.name=fixed", 1e-4),
    "sum, enet": Case("sgd", "sum", "enet", "optim.lr=1e-4 schedule.name=fixed", 1e-4),
    "jaccard, sqrt": Case(
        "adamw",
        "mean",
        "sqrt",
        "optim.lr=0.01 schedule.name=fixed schedule.warmup=44 loss.jaccard=0.7",
        0.01 * STEPS / 44,
        jaccard=0.7,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_last_step_is_that_of_plain_torch(data: Path, tmp_path: Path, name: str) -> None:
    """Loss, its reduction and class weights, rates by layer, decay, momentum, clip, schedule."""
    case = CASES[name]
    settings = (
        f"{SMALL} {case.settings} optim.name={case.optimizer} optim.momentum=0.7 force=true "
        "optim.weight_decay=0.1 optim.bias_rate=3 optim.rates.score*=0.5 optim.rates.conv3*=2 "
        f"loss.reduction={case.reduction} loss.class_weights={case.scheme}"
    )
    with witness() as seen:
        assert train(data, tmp_path, settings) == 0
    before, after = (state(tmp_path, step) for step in (STEPS - 1, STEPS))
    net = pw.build("fcn8s-tiny", classes=3, width=0.25, learned="inner")
    net.load_state_dict({k[4:]: v for k, v in before.items() if k.startswith("net.")})
    images, labels = training_split(data, tmp_path)
    weights = class_weights(case.scheme, labels)
    chosen = torch.cdist(seen.batches[-1].flatten(1), images.flatten(1)).argmin(1)
    loss, per_pixel = objective(net.train()(images[chosen]), labels[chosen], weights, case)
    assert events(tmp_path, "step")[-1]["loss"] == pytest.approx(per_pixel, rel=1e-5)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in net.parameters()]).item()
    assert not case.clip or norm > 2 * case.clip
    factor = min(1.0, case.clip / norm) if case.clip else 1.0
    compared = 0
    for layer, value in net.named_parameters():
        moments = {
            key: before[f"optim.{layer}.{key}"]
            for key in ("momentum_buffer", "exp_avg", "exp_avg_sq")
            if f"optim.{layer}.{key}" in before
        }
        with torch.no_grad():
            moved = -rate_of(layer, case.lr) * direction(value, factor * value.grad, moments)
        real = after[f"net.{layer}"] - before[f"net.{layer}"]
        scale = float(moved.abs().max())
        assert scale > 1e-6, layer
        near = (real - moved).abs() <= 0.002 * scale + 2e-7
        if case.optimizer == "sgd":
            assert near.all(), layer
        else:  # AdamW makes rounding large where there is hardly a gradient
            clear = value.grad.abs() > 1e-4 * norm
            assert near[clear].sum() >= 0.95 * clear.sum(), layer
            compared += int(clear.sum())
    assert case.optimizer == "sgd" or compared > 5_000
