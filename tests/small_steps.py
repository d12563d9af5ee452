"""A small net, pictures with void, and one optimizer step at a time, without a run folder."""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.training.recipe import Optim, Recipe
from pixelwise.training.step import Stepper

VOID = 255


def tiny(seed: int = 0) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build("fcn8s-tiny", classes=3, width=0.25)


def batch(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures with differing numbers of void pixels."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.normal(size=(count, 3, 24, 32)).astype(np.float32))
    truth = rng.integers(0, 3, (count, 24, 32), dtype=np.uint8)
    for i in range(count):
        truth[i, : 5 * i] = VOID
    return images, torch.from_numpy(truth)


class OneHead:
    """A stepper of one head, without its name: labels (N, H, W) in, one loss out."""

    def __init__(self, made: Stepper) -> None:
        self.made, self.net = made, made.net

    def run(self, step: int, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        losses = self.made.run(step, [(images, {"labels": truth}) for images, truth in batches])
        return losses["labels"]


def stepper(net: Network, **changes: object) -> OneHead:
    plan = Recipe(**({"data": "none", "optim": Optim("sgd", lr=0.1), "frozen_bn": True} | changes))
    fabric = Fabric(accelerator="cpu", devices=1)
    net.net.name_heads(["labels"])
    return OneHead(Stepper(fabric, net, plan, {}))
