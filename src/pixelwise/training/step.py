"""One optimizer step: forward, loss, backward, update, moving average."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.engine.kernels import unavailable
from pixelwise.engine.network import Network
from pixelwise.engine.plan import coarse_scores
from pixelwise.engine.runner import ScoreMap, score_map
from pixelwise.engine.score_loss import score_loss
from pixelwise.engine.winograd_gradients import train_quickly
from pixelwise.errors import NumericalError
from pixelwise.losses.cross_entropy import pixel_weight
from pixelwise.losses.measured import measured_loss
from pixelwise.losses.of_classes import loss_of_classes
from pixelwise.losses.sampling import sampled
from pixelwise.nets.heads.auxiliary import AT, SCORE
from pixelwise.nets.net import Net
from pixelwise.training import processes
from pixelwise.training.feed import Batch, position
from pixelwise.training.optim import optimizer
from pixelwise.training.recipe import Recipe


class Average:
    """The moving average of a net's weights (and the latest of its other buffers)."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {k: v.detach().clone() for k, v in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards the net; early on faster, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        now = net.state_dict()
        floats = [name for name, value in now.items() if value.is_floating_point()]
        mine = [self.tensors[name] for name in floats]
        torch._foreach_lerp_(mine, [now[name] for name in floats], 1 - decay)
        for name in now.keys() - {*floats}:
            self.tensors[name].copy_(now[name])


class Stepper:
    """Carries out optimizer steps: net, optimizer, average, placed on their device.

    ``fabric`` is a ``lightning_fabric.Fabric`` (device, precision, distribution), ``class_weights``
    are (K,) by head. ``net`` is the plain net; what trains is Fabric's wrapping of it.
    """

    def __init__(
        self, fabric: Any, net: Network, recipe: Recipe, class_weights: Mapping[str, Tensor]
    ) -> None:
        self.fabric, self.net, self.recipe = fabric, net, recipe
        net.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        train_quickly(net)
        self.wrapped, self.optimizer = fabric.setup(net, optimizer(net, recipe))
        self.spec = net.net.in_training
        self.coarse = coarse_scores(self.spec)
        heads = {of: of.partition(AT)[0] for of in self.spec.outputs}
        known = [head for head in class_weights if not net.net.kind(head).measured]
        weighted = {of: class_weights[head] for of, head in heads.items() if head in known}
        self.class_weights = {of: w.to(fabric.device) for of, w in weighted.items()}
        self.step = 0
        self.average = Average(net, recipe.ema) if recipe.ema else None
        net.checkpointed = recipe.checkpoint
        if recipe.optim.in_backward:
            for parameter in net.parameters():
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(self._move)  # type: ignore[no-untyped-call]

    @property
    def kept(self) -> Mapping[str, Tensor]:
        """The weights that are evaluated and kept: the averaged ones where there are some."""
        return self.average.tensors if self.average else self.net.state_dict()

    @property
    def finished(self) -> dict[str, Tensor]:
        """Those that are kept, without what only training needs."""
        return {name: w for name, w in self.kept.items() if not name.startswith(SCORE)}

    def run(self, step: int, batches: Sequence[Batch]) -> dict[str, float]:
        """Carry out step number ``step`` on its micro-batches.

        Returns:
            By head and auxiliary the loss per counted pixel, whatever the reduction; losses of
            regions are counted for each micro-batch and averaged. What is minimised is
            ``Loss.total`` of them (for a sum each times its pixels).

        Raises:
            NumericalError: N001, before any weight has changed (with ``optim.in_backward`` some may
                have, if the loss is finite and a gradient is not).
        """
        self._train_mode()
        self.step = step
        self.optimizer.zero_grad(set_to_none=True)
        aim, device, world = self.recipe.loss, self.fabric.device, self.fabric.world_size
        heads = {of: of.partition(AT)[0] for of in self.spec.outputs}  # auxiliaries to theirs
        moved = []
        for micro, (x, y) in enumerate(batches):
            known = {head: self._sampled(y[head], step, micro) for head in self.net.net.outputs}
            drawn = {of: covered(self.spec, known[head], of) for of, head in heads.items()}
            moved.append((x.to(device), {h: labels.to(device) for h, labels in drawn.items()}))
        pixels = self._pixels([y for _, y in moved])
        pictures = float(world * sum(len(x) for x, _ in moved))
        whole = dict.fromkeys(heads, pictures if aim.reduction == "image" else 1.0)
        divisors = pixels if aim.reduction == "mean" else whole
        sums = dict.fromkeys(heads, 0.0)
        with seeded(self.recipe.seed, step, self.fabric.global_rank, device):
            for i, (x, y) in enumerate(moved, start=1):
                last = i == len(moved)
                with nullcontext() if last else self.fabric.no_backward_sync(self.wrapped):
                    x = x.contiguous(memory_format=torch.channels_last)
                    cells = self.wrapped(x, {*self.coarse.values()})
                    size = x.shape[2], x.shape[3]
                    parts = {
                        of: score_map(self.net, of, cells[c], size, net=self.spec, checked=False)
                        for of, c in self.coarse.items()
                    }
                    losses = self._losses(parts, y, divisors, len(moved))
                    weighted = [aim.factor(of) * loss for of, loss in losses.items()]
                    if self.recipe.optim.in_backward:
                        self._check(sum(loss.item() for loss in losses.values()), step)
                    # Gradients are averaged over processes; the sum is wanted.
                    self.fabric.backward(world * sum(weighted[1:], weighted[0]))
                for head, loss in losses.items():
                    sums[head] += loss.item()
        if not self.recipe.optim.in_backward:
            self._check(aim.total(sums), step)
            self.optimizer.step()
        if self.average:
            self.average.update(self.net, step)
        own = torch.tensor([*sums.values()], dtype=torch.float64)
        of_all = dict(zip(heads, processes.combined(self.fabric, own, "sum").tolist(), strict=True))
        return {h: of_all[h] / pixels[h] for h in heads} if aim.reduction == "sum" else of_all

    def _pixels(self, labels: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """By head the pixels of a step that count, by their classes' weights, at least a trace.

        One number for the whole step: accumulation and processes equal one large batch.
        """
        own = [
            torch.stack([pixel_weight(y[head], self.class_weights.get(head)) for y in labels])
            for head in labels[0]
        ]
        sums = torch.stack([weights.double().sum() for weights in own])
        counted = processes.combined(self.fabric, sums, "sum").tolist()
        return {head: max(n, 1e-12) for head, n in zip(labels[0], counted, strict=True)}

    def _losses(
        self,
        scores: Mapping[str, ScoreMap],
        labels: Mapping[str, Tensor],
        divisors: Mapping[str, float],
        parts: int,
    ) -> dict[str, Tensor]:
        """By head the loss of a micro-batch, one of ``parts``, as it counts in the step's."""
        aim = self.recipe.loss
        batches = self.fabric.world_size * parts
        losses = {}
        for head, truth in labels.items():
            own, by_class = scores[head], self.class_weights.get(head)
            weights = truth.new_ones(own.shape[1], dtype=torch.float32)
            weights = (weights if by_class is None else by_class).repeat(len(truth), 1)
            if aim.reduction == "image":  # Caffe's normalize true with one picture a pass
                counted = torch.stack([pixel_weight(one, by_class) for one in truth])
                weights /= counted.clamp_min(1e-12)[:, None]
            weights /= divisors[head]
            if (kind := self.net.net.kind(head)).measured:
                by_picture = measured_loss(own.whole(), truth, kind, aim.numbers)
                losses[head] = (by_picture * weights[:, 0]).sum()
            elif aim.of_sums and truth.is_cpu and not unavailable():
                weights *= aim.cross_entropy
                overlap = aim.jaccard / batches, aim.dice / batches
                losses[head] = score_loss(own, truth, weights, *overlap)
            else:
                losses[head] = loss_of_classes(aim, own.whole(), truth, weights, batches)
        return losses

    def _sampled(self, labels: Tensor, step: int, micro: int) -> Tensor:
        """Labels of which only the terms that are drawn for this micro-batch count."""
        aim, rank = self.recipe.loss, self.fabric.global_rank
        if aim.keep == 1:
            return labels
        first = position(step, micro, rank, self.fabric.world_size, recipe=self.recipe)
        numbers = range(first, first + len(labels))
        # By the sample's number, as its augmentation is: however a step is divided, and resumed.
        drawn = [np.random.default_rng([self.recipe.seed, 3, number]) for number in numbers]
        return sampled(labels, aim.keep, drawn, net=self.net.net, unit=aim.sample)

    def _train_mode(self) -> None:
        """Training behaviour, with batch norm left in evaluation where it is frozen."""
        self.wrapped.train()
        for norm in fixed_norms(self.net, self.recipe):
            norm.eval()

    def _move(self, parameter: Tensor) -> None:
        """Update the only parameter that has a gradient, which came just now, and drop that."""
        self._check(0.0, self.step)
        self.optimizer.step()
        parameter.grad = None

    def _check(self, loss: float, step: int) -> None:
        """Refuse what is not finite, and cut the gradient to the largest norm allowed."""
        clip = self.recipe.optim.clip
        trained = [p for p in self.net.parameters() if p.grad is not None]
        gradients = [p.grad for p in trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).item() if gradients else 0.0
        if not (math.isfinite(loss) and math.isfinite(norm)):
            lr = self.optimizer.param_groups[0]["lr"]
            what = "gradient" if math.isfinite(loss) else "loss"
            raise NumericalError(
                "N001",
                f"step {step + 1}: the {what} is not finite (loss {loss:g}, "
                f"gradient norm {norm:g}, lr {lr:g}, loss.reduction {self.recipe.loss.reduction})",
                "begin a new run with a lower rate, --set optim.lr=..., with "
                "--set schedule.warmup=100 or with --set optim.clip=1",
            )
        if clip and norm > clip:
            torch.nn.utils.clip_grads_with_norm_(trained, clip, torch.tensor(norm))


def fixed_norms(net: nn.Module, recipe: Recipe) -> list[nn.BatchNorm2d]:
    """Those whose statistics are not trained."""
    all_fixed = recipe.frozen_bn or recipe.freeze == "trunk"
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    # Where scale and shift are frozen, so are the statistics that they belong to.
    return [n for n in norms if all_fixed or not any(p.requires_grad for p in n.parameters())]


def covered(net: Net, labels: Tensor, head: str) -> Tensor:
    """The part of label maps (N, H, W) that a head's output covers; nets without margin: all."""
    height, width = labels.shape[-2:]
    frame = net.frame(height, width, head)
    rows = labels.narrow(-2, frame.offset, frame.height)
    return rows.narrow(-1, frame.offset, frame.width)


@contextmanager
def seeded(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Dropout drawn from (seed, step, rank) alone, so that a resumed run draws the same."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)
        yield
