"""The net of a run before its first step: built, filled, and checked for what it could not do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch

from pixelwise.data import preprocess as preprocessing
from pixelwise.data.preprocess import Preprocess
from pixelwise.data.statistics import Statistics
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError, first_few
from pixelwise.nets import catalog
from pixelwise.nets.net import Net
from pixelwise.pictures.reading import Values
from pixelwise.predict import memory
from pixelwise.settings import read
from pixelwise.training.optim import groups
from pixelwise.training.recipe import Recipe
from pixelwise.weights.checkpoint import Header
from pixelwise.weights.importing import preprocess_of, start_from
from pixelwise.weights.surgery import without_values

# The filler of CaffeNet's last layer (models/bvlc_reference_caffenet, fc8: gaussian, std 0.01); the
# paper does not give its own.
SCORE_DEVIATION = 0.01


@dataclass(frozen=True)
class StartingNet:
    """A net, and where its weights come from."""

    net: Network
    options: Mapping[str, Any]
    """Arguments of ``engine.build`` beside the name; kept in every checkpoint."""
    preprocess: Preprocess
    transplant: Mapping[str, Any] = field(default_factory=dict)
    """What was taken from the file the run starts from; empty for random weights."""
    warnings: tuple[str, ...] = ()
    """Of layers left random although a weight file was given."""
    trained_on: frozenset[str] = frozenset()
    """Contents of the pictures that the starting weights had seen, as far as their file says."""


def starting_net(
    recipe: Recipe, classes: Sequence[str], counted: Statistics, begun: Header | None = None
) -> StartingNet:
    """Build the net of a recipe and put its starting weights in.

    Args:
        recipe: names net and weights.
        classes: of the data.
        counted: of the training split, for trunks without a preprocessing of their own.
        begun: of a run that goes on: its state holds the weights that are needed, and what it
            started from may be gone or another by now.

    Raises:
        UsageError: an unknown net, or a classifier.
        ModelError: weights that do not fit.
    """
    if catalog.entry(recipe.net).task != "segmentation":
        raise UsageError(
            "U002",
            f"{recipe.net} is a classifier, expected a net that labels pixels",
            f"--net fcn8s-{recipe.net}",
        )
    options = {
        "classes": len(classes),
        "channels": len(counted.mean),
        "width": recipe.width,
        "learned": recipe.learned,
    }
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = build(recipe.net, **options)
        if recipe.score_start == "random":
            draw_scores(net)
    if begun is not None:
        preprocess = read(Preprocess, begun.preprocess)
        return StartingNet(net, options, preprocess, trained_on=begun.trained_on or frozenset())
    fresh = _fresh_preprocess(recipe.net, counted)
    if not recipe.weights:
        return StartingNet(net, options, fresh)
    foreign, transplant = start_from(recipe.weights, net, classes)
    stored = preprocess_of(foreign, recipe.net)
    gaps = without_values(transplant, net.net)
    warning = (
        f"{len(gaps)} tensors are not in {recipe.weights} and start from random values: "
        f"{first_few(gaps)}"
    )
    return StartingNet(
        net,
        options,
        read(Preprocess, stored) if stored else fresh,
        {"file": recipe.weights, **transplant.as_dict()},
        (warning,) if gaps else (),
        (foreign.header and foreign.header.trained_on) or frozenset(),
    )


@torch.no_grad()
def draw_scores(net: Network) -> None:
    """Draw the weights of all score layers, which start at zero; their biases stay."""
    for name, layer in net.net.layers.items():
        if layer.zero_start:
            net.get_parameter(f"{name}.weight").normal_(std=SCORE_DEVIATION)


def _fresh_preprocess(net: str, counted: Statistics) -> Preprocess:
    """What a trunk's published weights expect; without them or of other bands the data's own."""
    values: Values = "8-bit" if counted.dtype == "uint8" else "stored"
    own = preprocessing.standard(counted.mean.tolist(), counted.std.tolist(), values)
    published = preprocessing.PUBLISHED.get(catalog.entry(net).preprocess, own)
    fits = (published.values, len(published.mean)) == (values, len(own.mean))
    return published if fits else own


def refuse_impossible_step(
    recipe: Recipe, net: Network, sizes: Sequence[tuple[int, int]], device: torch.device
) -> None:
    """Refuse, before the first step, one that cannot be computed on pictures of these sizes (H, W).

    Raises:
        UsageError: U002 nothing is trained, or batch norm would see a single value.
        ResourceError: R003 a step would not fit into memory.
    """
    names = chain.from_iterable(groups(net, recipe).values())
    trained = {name.rpartition(".")[0] for name in names}
    scale = recipe.zoom * recipe.augment.scale[0]
    # A map is a single value where both sides are one, so the longer side decides.
    side = max(recipe.crop or (max(1, round(scale * min(max(size) for size in sizes))),))
    if recipe.batch == 1 and not recipe.frozen_bn:
        _refuse_single_values(net.net, trained, side)
    height, width = recipe.crop or (
        max(1, round(scale * n)) for n in min(sizes, key=lambda size: size[0] * size[1])
    )
    memory.check_step(
        net.net,
        trained,
        (recipe.batch, height, width),
        number=2 if recipe.precision == "bf16" else 4,
        device=device,
    )


def _refuse_single_values(net: Net, trained: Collection[str], side: int) -> None:
    """One value has no deviation: batch norm cannot be trained on it."""
    cells = net.sizes(side)
    for name, layer in net.layers.items():
        if layer.normalises_batch and name in trained and cells[name] == 1:
            raise UsageError(
                "U002",
                f"batch norm {name} would see a single value (batch 1, maps of 1x1 from "
                f"{side}x{side}), expected several",
                "--set batch=2, a larger crop, or --set frozen_bn=true",
            )
