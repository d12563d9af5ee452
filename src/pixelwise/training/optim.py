"""Optimizer and schedule: settings, parameter groups, and the guard on rate and reduction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pixelwise.errors import UsageError, unknown_name
from pixelwise.settings import Count, Number, Share, Text, in_one_word, limits, refuse, settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pixelwise.training.recipe import Recipe

Factor = Annotated[Number, limits(ge=0)]


@settings("optim.", noun="recipe setting")
class Optim:
    """The optimizer."""

    name: Literal["sgd", "adamw"] = "adamw"
    """sgd (the paper's) or adamw."""
    lr: Annotated[Number, limits(gt=0)] = 3e-4
    """Learning rate of weights; with ``loss.reduction: sum`` it is a rate per pixel."""
    momentum: Annotated[Number, limits(ge=0, lt=1)] = 0.9
    """Of SGD, and the first beta of AdamW; 0.99 in the heavy regime of the released nets."""
    weight_decay: Factor = 5e-4
    """Of weights; biases and batch norm have none."""
    bias_rate: Factor = 2.0
    """Factor on the learning rate of biases (all released VGG nets)."""
    rates: Mapping[Text, Factor] = field(default_factory=dict)
    """Layer name, or prefix ending in *, to a factor on its rate; 0 freezes. A name goes
    before prefixes, a longer one before shorter ones."""
    clip: Factor = 0.0
    """Largest norm of the whole gradient; 0 leaves it alone."""


@settings("schedule.", noun="recipe setting")
class Schedule:
    """How the learning rate moves from the run's start (progress 0) to its end (progress 1)."""

    name: Literal["fixed", "poly", "step", "cosine"] = "poly"
    """fixed (the paper's), poly, step or cosine."""
    power: Factor = 0.9
    """Of poly: (1 - progress) ** power."""
    steps: Annotated[tuple[Annotated[Number, limits(gt=0, lt=1)], ...], in_one_word] = (0.6, 0.85)
    """Of step: where in the run the rate is multiplied by ``factor``."""
    factor: Share = 0.1
    """Of step."""
    warmup: Count = 0
    """First iterations, n of them, over which the rate grows linearly from one nth."""

    def __post_init__(self) -> None:
        told = f"schedule.steps is {self.steps}, expected rising shares of the run"
        refuse(list(self.steps) != sorted(self.steps) and told)


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay."""

    rate: float
    """Factor on the base learning rate."""
    decay: float
    names: tuple[str, ...]


def groups(net: nn.Module, recipe: Recipe) -> tuple[Group, ...]:
    """Which parameters are trained, at which rate; what is in no group is frozen.

    Biases learn at ``bias_rate`` and neither they nor batch norm decay (fact sheet, 1.3).
    """
    _refuse_idle_rates({n.rpartition(".")[0] for n, _ in net.named_parameters()}, recipe)
    found: dict[tuple[float, float], list[str]] = {}
    for name, parameter in net.named_parameters():
        layer, array = name.rsplit(".", 1)
        rate = layer_rate(layer, recipe.optim.rates)
        if recipe.freeze == "trunk" and not layer.startswith(("score", "upscore")):
            rate = 0.0
        if array == "bias":
            rate *= recipe.optim.bias_rate
        decay = recipe.optim.weight_decay if array == "weight" and parameter.ndim > 1 else 0.0
        if rate > 0:
            found.setdefault((rate, decay), []).append(name)
    if not found:
        raise UsageError(
            "U002",
            "nothing is left to train: every layer has rate 0",
            "raise a rate: --set optim.lr=1e-3",
        )
    return tuple(Group(rate, decay, tuple(names)) for (rate, decay), names in found.items())


def trained_layers(net: nn.Module, recipe: Recipe) -> set[str]:
    """Layers with a parameter that is trained."""
    return {name.rpartition(".")[0] for group in groups(net, recipe) for name in group.names}


def _refuse_idle_rates(layers: set[str], recipe: Recipe) -> None:
    """A rate for a layer that the net has not would silently do nothing."""
    for pattern in recipe.optim.rates:
        if not any(_fits(layer, pattern) for layer in layers):
            raise unknown_name(f"layer with parameters in {recipe.net}", pattern, sorted(layers))


def _fits(layer: str, pattern: str) -> bool:
    return layer.startswith(pattern[:-1]) if pattern.endswith("*") else layer == pattern


def layer_rate(layer: str, rates: Mapping[str, float]) -> float:
    """The factor for a layer: its own name's, else the longest ``prefix*`` that fits, else 1."""
    fitting = [pattern for pattern in rates if _fits(layer, pattern)]
    if layer in fitting:
        return rates[layer]
    return rates[max(fitting, key=len)] if fitting else 1.0


def optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over ``groups``; frozen parameters stop asking for gradients."""
    import torch  # here, so that recipes are read without it

    parameters = dict(net.named_parameters())
    plan = groups(net, recipe)
    trained = {name for group in plan for name in group.names}
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    o = recipe.optim
    arguments: list[dict[str, Any]] = [
        {
            "params": [parameters[n] for n in g.names],
            "lr": o.lr * g.rate,
            "rate": g.rate,
            "weight_decay": g.decay,
        }
        for g in plan
    ]
    if o.name == "sgd":
        return torch.optim.SGD(arguments, lr=o.lr, momentum=o.momentum)
    return torch.optim.AdamW(arguments, lr=o.lr, betas=(o.momentum, 0.999))


def learning_rate(optim: Optim, schedule: Schedule, step: int, progress: float) -> float:
    """The base rate at a step; ``progress`` in [0, 1] is how much of the run is done."""
    progress = min(max(progress, 0.0), 1.0)
    factor = 1.0
    match schedule.name:
        case "poly":
            factor = (1 - progress) ** schedule.power
        case "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        case "step":
            factor = schedule.factor ** sum(progress >= at for at in schedule.steps)
    if step < schedule.warmup:
        factor *= max(1e-3, (step + 1) / schedule.warmup)
    return optim.lr * factor


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of the base rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]


@dataclass(frozen=True)
class RateCheck:
    """Learning rate and reduction as one setting."""

    per_pixel: float
    """How far one pixel's gradient moves the weights in the end: lr * share / (1 - momentum)."""
    normalised: float
    """The same for a whole batch under a mean loss: comparable between regimes."""
    sane: bool


# The released regimes lie between 1.9e-7 (FCN-8s heavy: 1e-14, 187,500 px, momentum 0.99) and 1e-2
# (AlexNet light: 1e-3 / (1 - 0.9)); a summed loss with a mean's rate lands far above, and a
# normalised loss with a sum's rate below (fact sheet 2.2, traps 4).
SANE_SGD = (5e-8, 10.0)
SANE_ADAMW = (1e-7, 0.1)


def check_rate(recipe: Recipe, pixels: int) -> RateCheck:
    """What the learning rate means for a batch of ``pixels`` that count.

    AdamW divides the gradient by its own size, so for it the reduction does not matter.
    """
    o = recipe.optim
    if o.name == "adamw":
        low, high = SANE_ADAMW
        return RateCheck(o.lr / pixels, o.lr, low <= o.lr <= high)
    low, high = SANE_SGD
    per_pixel = o.lr / (1 - o.momentum) / (pixels if recipe.loss.reduction == "mean" else 1)
    return RateCheck(per_pixel, per_pixel * pixels, low <= per_pixel * pixels <= high)


def refuse_absurd_rate(recipe: Recipe, pixels: int) -> RateCheck:
    """``check_rate``, refusing a pair that cannot train.

    Raises:
        UsageError: the rate does not fit the reduction; the hint names a rate that would.
    """
    check = check_rate(recipe, pixels)
    if check.sane or recipe.force:
        return check
    o, reduction = recipe.optim, recipe.loss.reduction
    usual = 3e-4 if o.name == "adamw" else 1e-3 if reduction == "mean" else 1e-4 / pixels
    end = "nothing would be learned" if check.normalised < 1e-3 else "the loss would explode"
    raise UsageError(
        "U002",
        f"optim.lr {o.lr:g} with loss.reduction {reduction}, momentum {o.momentum:g} and "
        f"{pixels:,} px per step acts like a rate of {check.normalised:.3g} on a mean loss: {end}",
        f"--set optim.lr={usual:.1g}, or --set force=true",
    )
