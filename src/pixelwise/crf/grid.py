"""A Potts MRF on the grid of pixels: a label map of least energy, by alpha-expansion.

Boykov, Veksler, Zabih: Fast Approximate Energy Minimization via Graph Cuts (2001); the pairs'
costs as in TextonBoost (Shotton et al. 2006), to which the dense CRF compares itself. With two
labels the map is exact; with more its energy is at most twice the least.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelwise.crf.dense import LEAST, checked
from pixelwise.errors import ResourceError
from pixelwise.settings import Number, Whole, limits, settings

STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to one of each pair of eight neighbours
Weight = Annotated[Number, limits(ge=0, le=1e4)]
Pair = tuple[tuple[slice, ...], tuple[slice, ...], NDArray[np.float64]]


@settings(noun="MRF parameter", hint="--set appearance=4, --set smoothness=0.5")
class GridMrf:
    """What two neighbours of different labels cost, beside minus the log of each probability."""

    appearance: Weight = 3.0
    """Where their colours are alike."""
    appearance_rgb: Annotated[Number, limits(ge=0.1, le=1e5)] = 10.0
    """Deviation of colours, in the picture's values: so far apart it costs 0.6 of that."""
    smoothness: Weight = 0.5
    """Everywhere; diagonal neighbours cost 0.7 of both."""
    rounds: Annotated[Whole, limits(ge=1, le=100)] = 5
    """Of expansions of every label, at most; it ends when none lowers the energy."""


def relabel(scores: ArrayLike, image: ArrayLike, mrf: GridMrf | None = None) -> NDArray[np.intp]:
    """Labels (H, W) of scores (K, H, W) and a picture, checked as by ``dense.refine``.

    Raises:
        ResourceError: R008 PyMaxflow is not installed.
    """
    given, picture, soft = checked(scores, image)
    logits = np.log(np.maximum(given, LEAST)) if soft else given - given.max(0)
    costs = np.log(np.exp(logits).sum(0)) - logits
    return expanded(costs.astype(np.float64), picture, mrf or GridMrf())


def expanded(costs: NDArray[np.float64], image: NDArray[Any], mrf: GridMrf) -> NDArray[np.intp]:
    """Labels of costs (K, H, W) and a picture (H, W, B); begins with the cheapest."""
    try:
        import maxflow
    except ImportError as error:
        hint = "pip install 'pixelwise[mrf]'"
        raise ResourceError("R008", "PyMaxflow is not installed", hint) from error
    pairs = [*pairs_of(image, mrf)]
    labels: NDArray[np.intp] = costs.argmin(0)
    numbers = np.arange(labels.size).reshape(labels.shape)
    least = energy(labels, costs, pairs)
    for _ in range(mrf.rounds):
        before = least
        for label in range(len(costs)):
            graph = maxflow.Graph[float](labels.size, len(STEPS) * labels.size)
            graph.add_nodes(labels.size)
            keep, change = np.take_along_axis(costs, labels[None], 0)[0], costs[label].copy()
            for here, there, cost in pairs:
                # Kolmogorov, Zabih (2004): a pair's four costs, of staying (0) and changing (1).
                a, b = labels[here], labels[there]
                both, second, first = cost * (a != b), cost * (a != label), cost * (b != label)
                change[here] += first - both
                change[there] -= first
                edges = second + first - both
                ends = numbers[here].ravel(), numbers[there].ravel()
                graph.add_edges(*ends, edges.ravel(), np.zeros(edges.size))
            low = np.minimum(keep, change)
            graph.add_grid_tedges(numbers, change - low, keep - low)
            graph.maxflow()
            trial = np.where(graph.get_grid_segments(numbers), label, labels)
            if (after := energy(trial, costs, pairs)) < least:
                labels, least = trial, after
        if least == before:
            break
    return labels


def pairs_of(image: NDArray[Any], mrf: GridMrf) -> Iterator[Pair]:
    """For each step to a neighbour: who makes it, who is there, and what they cost if unlike."""
    colours = image.astype(np.float64)
    for step in STEPS:
        here, there = zip(*(_along(length) for length in step), strict=True)
        apart = ((colours[here] - colours[there]) ** 2).sum(-1) / (2 * mrf.appearance_rgb**2)
        cost = (mrf.appearance * np.exp(-apart) + mrf.smoothness) / np.hypot(*step)
        yield here, there, cost


def _along(step: int) -> tuple[slice, slice]:
    """From where ``step`` stays within a line, and where it leads."""
    if step < 0:
        return slice(-step, None), slice(0, step)
    return slice(0, -step or None), slice(step, None)


def energy(labels: NDArray[np.intp], costs: NDArray[np.float64], pairs: list[Pair]) -> float:
    """The sum of all costs."""
    single = np.take_along_axis(costs, labels[None], 0).sum()
    return float(single + sum((c * (labels[a] != labels[b])).sum() for a, b, c in pairs))
