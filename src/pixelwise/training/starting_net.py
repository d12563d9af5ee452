"""The net of a run before its first step: built, filled, and checked for what it could not do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from pixelwise.data import preprocess as preprocessing
from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError, first_few
from pixelwise.labels import VOID
from pixelwise.nets import catalog
from pixelwise.nets.heads.auxiliary import supervise
from pixelwise.nets.net import Net
from pixelwise.pictures.bands import InputKind, whole
from pixelwise.pictures.reading import Values
from pixelwise.predict import memory
from pixelwise.settings import as_dict, read
from pixelwise.training.optim import groups
from pixelwise.training.recipe import Recipe
from pixelwise.training.regimes import stages_before
from pixelwise.training.run_data import RunData
from pixelwise.weights.checkpoint import HeadClasses, Header
from pixelwise.weights.importing import preprocess_of, start_from
from pixelwise.weights.published import IMAGENET, imagenet
from pixelwise.weights.streams import files_by_stream
from pixelwise.weights.surgery import TAKEN, Transplant, without_values

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


def starting_net(recipe: Recipe, data: RunData, begun: Header | None = None) -> StartingNet:
    """Build the net of a recipe and put its starting weights in.

    Args:
        recipe: names net and weights.
        data: says which heads, with which classes, and which inputs the net gets.
        begun: of a run that goes on: its state holds the weights that are needed, and what it
            started from may be gone or another by now.

    Raises:
        UsageError: an unknown net, a classifier, or one without the data's inputs and heads.
        ModelError: weights that do not fit.
    """
    if catalog.entry(recipe.net).task != "segmentation":
        raise UsageError(
            "U002",
            f"{recipe.net} is a classifier, expected a net that labels pixels",
            f"--net fcn8s-{recipe.net}",
        )
    classes, options = data.dataset.classes_by_head, _options(recipe, data)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        spec = catalog.spec(recipe.net, **options)
        spec.name_heads([*classes])
        supervise(spec, recipe.loss.auxiliary)
        net = Network(spec)
        if recipe.score_start == "random":
            draw_scores(net)
    if begun is not None:
        preprocess = read(Preprocess, begun.preprocess)
        return StartingNet(net, options, preprocess, trained_on=begun.trained_on or frozenset())
    of_trunk = preprocessing.PUBLISHED.get(catalog.entry(recipe.net).preprocess)
    if not recipe.weights:
        return StartingNet(net, options, _preprocess(recipe, data, of_trunk))
    files = files_by_stream(recipe.weights)
    found = {s: str(imagenet(recipe.net)) if f == IMAGENET else f for s, f in files.items()}
    source = ",".join(f"{stream}={file}" if stream else file for stream, file in found.items())
    foreign, transplant = start_from(source, net, classes, inflation=recipe.inflation)
    stored = preprocess_of(foreign, recipe.net)
    published = read(Preprocess, stored) if stored else None
    gaps = without_values(transplant, net.net)
    warnings = [_without_coarse_scores(recipe, catalog.spec(recipe.net, **options), transplant)]
    if gaps:
        listed = f"start from random values: {first_few(gaps)}"
        warnings.append(f"{len(gaps)} tensors are not in {recipe.weights} and {listed}")
    return StartingNet(
        net,
        options,
        _preprocess(recipe, data, published or of_trunk, published),
        {"file": str(source), **transplant.as_dict()},
        tuple(filter(None, warnings)),
        (foreign.header and foreign.header.trained_on) or frozenset(),
    )


def header_of(recipe: Recipe, data: RunData, start: StartingNet) -> Header:
    """Of every checkpoint of a run, but for step and scores."""
    maps = data.dataset.class_maps
    return Header(
        net=recipe.net,
        options=dict(start.options),
        classes=data.dataset.classes,
        palette=data.dataset.palette,
        heads={h: HeadClasses(maps[h].classes, maps[h].palette) for h in data.dataset.heads},
        inputs=dict(data.inputs),
        preprocess=as_dict(start.preprocess),
        inference=recipe.view.as_dict(),
        data={**data.facts, "trained_on": sorted(data.contents | start.trained_on)},
    )


def _without_coarse_scores(recipe: Recipe, net: Net, transplant: Transplant) -> str:
    """What is wrong with a regime's rate of a finer stage where no coarser one went before."""
    scores = {row.target for row in transplant.of(*TAKEN) if row.target.startswith("score_fr")}
    if recipe.regime == "none" or not stages_before(net) or scores:
        return ""
    return (
        f"{recipe.net} learns at the rate of a finer stage ({recipe.optim.lr:g}), and "
        f"{recipe.weights} has no scores of a coarser one to start from: train that first, as "
        "recipes with `stages` do, or give optim.lr"
    )


@torch.no_grad()
def draw_scores(net: Network) -> None:
    """Draw the weights of all score layers, which start at zero; their biases stay."""
    for name, layer in net.net.layers.items():
        if layer.zero_start:
            net.get_parameter(f"{name}.weight").normal_(std=SCORE_DEVIATION)


def _options(recipe: Recipe, data: RunData) -> dict[str, Any]:
    """What the catalogue is asked for; refuses inputs that a net of this recipe cannot take."""
    bands = {name: kind.bands for name, kind in data.inputs.items()}
    if len(bands) == 1 and recipe.fusion != "own":
        raise UsageError(
            "U002",
            f"fusion is {recipe.fusion}, and {data.dataset.root} makes a picture of one input, "
            f"`{next(iter(bands))}`",
            "--set inputs=..., with the names of several; or leave fusion out",
        )
    _refuse_other_order(recipe, bands)
    heads = {head: len(names) for head, names in data.dataset.classes_by_head.items()}
    kinds = {h: as_dict(k) for h, k in data.kinds(log=recipe.loss.numbers == "log").items()}
    return net_options(recipe, heads, bands) | ({"kinds": kinds} if kinds else {})


def net_options(
    recipe: Recipe, heads: Mapping[str, int], bands: Mapping[str, int]
) -> dict[str, Any]:
    """Options of ``catalog.spec``: several heads and inputs by their names, one without.

    ``heads`` is name to classes, ``bands`` input to bands.
    """
    # One head or input is a number, as in the names of the layers.
    options: dict[str, Any] = {"classes": next(iter(heads.values()))}
    if len(heads) > 1:
        options = {"heads": dict(heads)}
    shown, count = recipe.pca or len(recipe.bands), sum(bands.values())
    chosen = recipe.bands or range(count)
    if shown and (len(bands) > 1 or max(chosen) >= count or recipe.pca > len(chosen)):
        asked = f"bands={','.join(map(str, recipe.bands))} pca={recipe.pca}"
        what = f"{asked}: of {len(bands)} inputs with {count} bands, expected of one input, numbers"
        raise UsageError("U002", f"{what} below {count}", "--set bands=0,1,2 --set pca=2")
    single = {"channels": shown or count}
    options |= {"inputs": dict(bands)} if len(bands) > 1 else single
    if recipe.fusion != "own":
        options["fusion"] = recipe.fusion
    for option in ("rarefied", "lowered"):
        if names := getattr(recipe, option):
            options[option] = list(names)
    return {**options, "width": recipe.width, "learned": recipe.learned}


def _refuse_other_order(recipe: Recipe, inputs: Collection[str]) -> None:
    """A released net's preprocessing is by place: its own names belong to their places."""
    own = list(catalog.entry(recipe.net).options.get("inputs", ()))
    strange = [n for i, n in enumerate(inputs) if n in own and own.index(n) != i]
    if strange:
        raise UsageError(
            "U002",
            f"{recipe.net} has the inputs {', '.join(own)}, and `{strange[0]}` stands in the place "
            f"of another ({', '.join(inputs)})",
            f"--set inputs={','.join(own)}, or the data's names in that order",
        )


def _preprocess(
    recipe: Recipe, data: RunData, known: Preprocess | None, like: Preprocess | None = None
) -> Preprocess:
    """What weights expect; where they say nothing of these bands, the data's own.

    Of several inputs those that the weights can have seen (as many bands, of 8 bits if theirs
    were) are shown as to them; the others get zero mean and unit deviation.
    ``like`` is what filters that were inflated to more bands had seen. Of bands that were chosen,
    and of components, the data says all.
    """
    counted, gaps = data.statistics, data.dataset.values == "gaps"
    stack = whole(data.inputs)
    if shown := recipe.pca or len(recipe.bands):
        own = known and (known.given, known.channels) == (stack.bands, shown)
        if known and own and recipe.bands in ((), known.order):
            return known  # the weights have learned what these components are
        return _chosen(recipe, data, "gaps" if gaps else _values(stack), like)
    if known and _seen(known, stack):
        return replace(known, values="gaps") if gaps else known
    parts, start = [], 0
    for kind in data.inputs.values():
        end = start + kind.bands
        mean, std = (row[start:end].tolist() for row in (counted.mean, counted.std))
        like = like if len(data.inputs) == 1 and kind.bands > 3 else None
        own = preprocessing.standard(mean, std, "gaps" if gaps else _values(kind), like=like)
        parts.append(known if known and _seen(known, kind) else own)
        start = end
    joined = preprocessing.joined(parts)
    return replace(joined, values="gaps") if gaps else joined


def _chosen(recipe: Recipe, data: RunData, values: Values, like: Preprocess | None) -> Preprocess:
    """Some bands, or components of them."""
    counted, own = data.statistics, np.array(recipe.bands or range(len(data.statistics.mean)))
    shown = preprocessing.standard(counted.mean[own], counted.std[own], values, like=like)
    order = tuple(own[np.arange(len(own))[shown.bands()]].tolist())
    shown = replace(shown, order=order, given=len(counted.mean))
    if not recipe.pca:
        return shown
    samples = map(data.read, data.items)
    labels = ((s.image, s.labels.reshape(*s.image.shape[:2], -1)[..., 0]) for s in samples)
    known = ((image, np.isfinite(own) & (own != VOID)) for image, own in labels)
    return preprocessing.with_components(shown, recipe.pca, known)


def _seen(known: Preprocess, kind: InputKind) -> bool:
    """Whether weights can have seen such bands: as many, of 8 bits if theirs were."""
    return len(known.mean) == kind.bands and (known.values != "8-bit" or kind.dtype == "uint8")


def _values(kind: InputKind) -> Values:
    return "8-bit" if kind.dtype == "uint8" else "stored"


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
        checkpointed=recipe.checkpoint,
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
