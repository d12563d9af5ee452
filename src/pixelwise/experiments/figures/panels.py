"""Figures 4 and 6: label maps beside each other and the truth, with the classes that they show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.experiments.figures import page
from pixelwise.experiments.figures.given import Given, Lacking
from pixelwise.experiments.figures.structure import below, scale_of
from pixelwise.labels import VOID, colour, full_palette, three_bands
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net
from pixelwise.predict.model import Model

GAP, TITLE, LINE = 0.04, 0.22, 0.13  # inches: between pictures, above them, of a line of the legend
ROWS = 4  # of figure 6, as in the paper
TRUTH = "ground truth"


def refinement(given: Given) -> Figure:
    """Figure 4: what finer strides bring, coarse to fine."""
    by_stride: dict[int, str] = {}
    for name, model in given.models.items():
        if by := last_factor(model.predictor.net):
            by_stride.setdefault(by, name)
    if len(by_stride) < 2:
        what = f"figure 4 is of nets of several strides, and {len(by_stride)} was given"
        commands = "`pixelwise train RECIPE -o runs/chain` with stages 32s, 16s and 8s, then "
        raise Lacking(what, f"{commands}pixelwise figures runs/chain -o figures --only 4")
    chosen = [by_stride[by] for by in sorted(by_stride, reverse=True)]
    titles = [_with_score(given.models[name], name) for name in chosen]
    ((item, sample),) = given.scenes(1)
    maps = [[*(given.labels(name, item) for name in chosen), sample.labels]]
    return _panels([], maps, [*titles, TRUTH], given.dataset)


def systems(given: Given) -> Figure:
    """Figure 6: several systems on the same pictures."""
    names = [s.name for s in given.systems]
    names = [n for n in names if n not in given.models or given.models[n].task == "segmentation"]
    if not names:
        what = "figure 6 compares the label maps of systems, and none was given"
        raise Lacking(what, "pixelwise figures runs/a guesses/ -o figures --only 6 --data DATA")
    scenes = given.scenes(ROWS)
    maps = [[*(given.labels(n, item) for n in names), sample.labels] for item, sample in scenes]
    images = [three_bands(s.image, given.dataset.false_colour) for _, s in scenes]
    titles = [_title(given.models[n], n) if n in given.models else n for n in names]
    titles = names if len(set(titles)) < len(titles) else titles
    return _panels(images, maps, [*titles, TRUTH, "image"], given.dataset)


def last_factor(net: Net) -> int:
    """How many times the scores are enlarged that an output ends in; 0 where that is not so."""
    last = [net.layers[n] for n in below(net, next(iter(net.outputs.values())))][-2:]
    enlarged = [r for r in last if isinstance(r, Upsample)]
    return round(scale_of(net, enlarged[0].inputs[0])) if enlarged else 0


def _title(model: Model, name: str) -> str:
    """FCN-8s of the nets that are called so."""
    fcn = re.search(r"fcn(\d+)s", model.header.net)
    return f"FCN-{fcn[1]}s" if fcn else name


def _with_score(model: Model, name: str) -> str:
    """With the score of the whole validation split, where the model knows it."""
    score = model.header.scores.get("mean_iu")
    known = f"\nmean IU {100 * score:.1f} %" if isinstance(score, float) else ""
    return _title(model, name) + known


def _panels(
    images: Sequence[NDArray[np.uint8]],
    maps: Sequence[Sequence[NDArray[Any]]],
    titles: Sequence[str],
    dataset: DataSet,
) -> Figure:
    """A row for each picture: its label maps in their classes' colours, then itself if given."""
    palette = np.array(dataset.palette, np.uint8)
    pictures: list[list[NDArray[np.uint8]]]
    pictures = [[colour(labels, palette) for labels in row] for row in maps]
    for row, image in zip(pictures, images, strict=False):
        row.append(image)
    columns = len(titles)
    wide = page.COLUMN if columns <= 4 and not images else page.PAGE
    across = (wide - GAP * (columns + 1)) / columns
    heights = [across * row[-1].shape[0] / row[-1].shape[1] for row in pictures]
    present = np.unique(np.concatenate([labels.ravel() for row in maps for labels in row]))
    per_line = int(wide / 0.8)
    legend = LINE * -(-len(present) // per_line) + 0.08
    above = TITLE + (0.1 if any("\n" in title for title in titles) else 0)
    total = above + sum(heights) + GAP * len(heights) + legend
    figure, top = page.blank(wide, total)[0], total - above
    for row, high in zip(pictures, heights, strict=True):
        for i, picture in enumerate(row):
            left = GAP + i * (across + GAP)
            place = (left / wide, (top - high) / total, across / wide, high / total)
            axes = figure.add_axes(place)
            axes.imshow(picture, interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if row is pictures[0]:
                axes.set_title(titles[i], fontsize=6.5, pad=3)
        top -= high + GAP
    _legend(figure, [int(k) for k in present], dataset, per_line)
    return figure


def _legend(figure: Figure, present: Sequence[int], dataset: DataSet, per_line: int) -> None:
    """The classes that occur, by their colours, along the lower edge."""
    colours = full_palette(np.array(dataset.palette, np.uint8)) / 255
    names = {**dict(enumerate(dataset.classes)), VOID: "void"}
    marks = [
        Patch(fc=colours[k], ec="#333333", lw=0.3, label=names.get(k, str(k))) for k in present
    ]
    figure.legend(
        handles=marks,
        loc="lower center",
        ncols=min(per_line, len(marks)),
        frameon=False,
        fontsize=5.5,
        borderaxespad=0.2,
        handlelength=1.1,
        handleheight=0.8,
        columnspacing=1.0,
        labelspacing=0.3,
    )
