"""Optimizer and schedule: settings, parameter groups, and the guard on rate and reduction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
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
    """Of weights; batch norm has none, and biases have ``bias_decay`` times it."""
    bias_rate: Factor = 2.0
    """Factor on the learning rate of biases (all released VGG nets)."""
    bias_decay: Factor = 0.0
    """Factor on the weight decay of biases; 1 in the trunk of the released FCN-AlexNet."""
    rates: Mapping[Text, Factor] = field(default_factory=dict)
    """Layer name, or prefix ending in *, to a factor on its rate; 0 freezes. A name goes
    before prefixes, a longer one before shorter ones. A parameter's own, as for
    score_fr.bias, goes before all, ``bias_rate`` included."""
    decays: Mapping[Text, Factor] = field(default_factory=dict)
    """The same for factors on the weight decay."""
    clip: Factor = 0.0
    """Largest norm of the whole gradient; 0 leaves it alone."""
    in_backward: bool = False
    """Each weight is moved as soon as its gradient is known, which is then dropped: a step takes
    as much less memory as the trained weights take. The weights are the same."""


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
        refuse(
            list(self.steps) != sorted(self.steps)
            and f"schedule.steps is {self.steps}, expected rising shares of the run"
        )


def groups(net: nn.Module, recipe: Recipe) -> dict[tuple[float, float], list[str]]:
    """(factor on the base rate, weight decay) to the parameters trained so; others are frozen.

    Raises:
        UsageError: U001 a factor for what the net has not, U002 nothing is left to train.
    """
    o = recipe.optim
    names = [name for name, _ in net.named_parameters()]
    for pattern in (*o.rates, *o.decays):  # one that fits nothing would silently do nothing
        if pattern not in names and not any(_fits(n.rpartition(".")[0], pattern) for n in names):
            known = {part for name in names for part in (name, name.rpartition(".")[0])}
            raise unknown_name(f"layer or parameter of {recipe.net}", pattern, sorted(known))
    trained: dict[tuple[float, float], list[str]] = {}
    for name, parameter in net.named_parameters():
        layer, _, array = name.rpartition(".")
        bias = array == "bias"
        # One number a channel is batch norm's scale, which does not decay.
        usual = o.bias_decay if bias else float(parameter.ndim > 1)
        rate = factor(name, o.rates, o.bias_rate if bias else 1.0)
        decay = o.weight_decay * factor(name, o.decays, usual)
        frozen = recipe.freeze == "trunk" and not layer.startswith(("score", "upscore"))
        if rate > 0 and not frozen:
            trained.setdefault((rate, decay), []).append(name)
    if not trained:
        raise UsageError(
            "U002",
            "nothing is left to train: every layer has rate 0",
            "raise a rate: --set optim.lr=1e-3",
        )
    return trained


def _fits(layer: str, pattern: str) -> bool:
    return layer.startswith(pattern[:-1]) if pattern.endswith("*") else layer == pattern


def factor(name: str, factors: Mapping[str, float], usual: float) -> float:
    """A parameter's own factor; else ``usual`` times its layer's, or the longest prefix's."""
    layer = name.rpartition(".")[0]
    fitting = [pattern for pattern in factors if _fits(layer, pattern)]
    if name in factors:
        return factors[name]
    if layer in fitting:
        return usual * factors[layer]
    return usual * factors[max(fitting, key=len)] if fitting else usual


def optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over ``groups``; frozen parameters stop asking for gradients."""
    import torch  # here, so that recipes are read without it

    o, parameters = recipe.optim, dict(net.named_parameters())
    net.requires_grad_(False)
    arguments: list[dict[str, Any]] = []
    for (rate, decay), names in groups(net, recipe).items():
        params = [parameters[name].requires_grad_() for name in names]
        arguments.append({"params": params, "lr": o.lr * rate, "rate": rate, "weight_decay": decay})
    # One pass over memory in place of eight: a quarter of the time on a processor. On a GPU torch
    # wants the counts of steps there, and states hold them on the processor.
    fused = all(p.is_cpu for p in parameters.values())
    if o.name == "sgd":
        return torch.optim.SGD(arguments, lr=o.lr, momentum=o.momentum, fused=fused)
    return torch.optim.AdamW(arguments, lr=o.lr, betas=(o.momentum, 0.999), fused=fused)


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


# The released regimes lie between 1.9e-7 (FCN-8s heavy: 1e-14, 187,500 px, momentum 0.99) and 1e-2
# (AlexNet light: 1e-3 / (1 - 0.9)); a summed loss with a mean's rate lands far above, and a
# normalised loss with a sum's rate below (fact sheet 2.2, traps 4).
SANE_SGD = (5e-8, 10.0)
SANE_ADAMW = (1e-7, 0.1)


def effective_rate(recipe: Recipe, pixels: int) -> float:
    """How far the mean gradient of a step over ``pixels`` moves the weights in the end.

    It is comparable between regimes: lr / (1 - momentum), times the pixels under a summed loss.
    AdamW divides the gradient by its own size, so for it the reduction does not matter.

    Raises:
        UsageError: U002 nothing can be learned so, unless ``force``; the hint names a rate that
            would do.
    """
    o, reduction = recipe.optim, recipe.loss.reduction
    if o.name == "adamw":
        rate, (low, high), usual = o.lr, SANE_ADAMW, 3e-4
    else:
        summed = pixels if reduction == "sum" else 1
        rate, (low, high) = o.lr / (1 - o.momentum) * summed, SANE_SGD
        usual = 1e-4 / pixels if reduction == "sum" else 1e-3
    if low <= rate <= high or recipe.force:
        return rate
    end = "nothing would be learned" if rate < low else "the loss would explode"
    raise UsageError(
        "U002",
        f"optim.lr {o.lr:g} with loss.reduction {reduction}, momentum {o.momentum:g} and "
        f"{pixels:,} px per step acts like a rate of {rate:.3g} on a mean loss: {end}",
        f"--set optim.lr={usual:.1g}, or --set force=true",
    )
