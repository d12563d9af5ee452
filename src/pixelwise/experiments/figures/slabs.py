"""Figures 1 and 2: maps as slabs, as high as they have cells and as thick as they have channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from pixelwise.experiments.figures import page
from pixelwise.experiments.figures.given import Given, Lacking
from pixelwise.experiments.figures.structure import head, slabs, streams
from pixelwise.labels import colour, three_bands
from pixelwise.nets.catalog import NETS
from pixelwise.nets.net import Net
from pixelwise.pictures.images import resize
from pixelwise.predict.prediction import find_class

SLOPE = (0.30, 0.20)  # of a map's plane, as parts of its side: how far it leads right and up
LOW, GAP = 0.05, 0.05  # inches: of a map of one cell, between slabs
FEW = 9  # slabs that fit into one column
USUAL = 500  # pixels: the side at which the paper's figures and times are
WINDOWS = {"alexnet": 227}  # sides that classifiers were trained on, Krizhevsky et al. 2012;
WINDOW = 224  # the others (Simonyan and Zisserman 2015, Szegedy et al. 2015, ImageNet's since)
FACES = ("#dbe9f6", "#f4f9fd", "#b3cfe8")  # front, top, side

Rgb = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """The maps of a net between two places of a figure."""

    net: Net
    layers: Sequence[str]
    size: int
    """Of the picture, its height."""
    largest: int
    """Height of the picture that is drawn ``high`` inches high."""
    high: float

    def side(self, cells: int) -> float:
        """Inches; roots, so that a map of 16 cells is still seen beside one of 500."""
        return max(LOW, self.high * math.sqrt(cells / self.largest))

    def draw(self, axes: Axes, left: float, right: float, middle: float) -> None:
        """Slabs with their channels below, which fill the space."""
        cells, roots = self.net.sizes(self.size), [self.net.channels[n] ** 0.5 for n in self.layers]
        unit = (right - left - GAP * len(roots)) / sum(roots)
        bottom = middle - max(self.side(cells[name]) for name in self.layers) * (1 + SLOPE[1]) / 2
        for name, root in zip(self.layers, roots, strict=True):
            _slab(axes, left, middle, self.side(cells[name]), unit * root)
            word = {"ha": "center", "va": "top", "fontsize": 5}
            axes.text(left + unit * root / 2, bottom - 0.04, str(self.net.channels[name]), word)
            left += unit * root + GAP


def prediction(given: Given) -> Figure:
    """Figure 1: pixels in, a class for each pixel out; learning goes the other way."""
    name, net = given.net(1)
    chains = streams(net, head(net, next(iter(net.outputs.values()))).bottom)
    layers = slabs(net, next(iter(chains.values())))
    wide = page.COLUMN if len(layers) <= FEW else page.PAGE
    figure, axes = page.blank(wide, 1.85)
    shown = _shown(given, name)
    size = USUAL if shown[0] is None else shown[0].shape[0]
    middle, row = 0.98, Row(net, layers, size, size, 0.8)
    across, gap = SLOPE[0] * row.high, 0.14
    places = [0.06, wide - 2 * across - gap - 0.12, wide - across - 0.06]
    row.draw(axes, 0.06 + across + GAP, places[1] - 0.12, middle)
    for picture, left, word in zip(
        shown, places, ("", "pixelwise\nprediction", "ground\ntruth"), strict=True
    ):
        _plane(axes, picture, left, middle, row.high)
        below = middle - row.high * (1 + SLOPE[1]) / 2 - 0.04
        axes.text(left + across / 2, below, word, ha="center", va="top", fontsize=5)
    top, low = 1.62, 0.12
    page.arrow(axes, (0.15, top), (wide - 0.6, top), page.BLUE)
    page.arrow(axes, (wide - 0.6, low), (0.15, low), page.VERMILION)
    axes.text(wide * 0.45, top + 0.05, "forward / inference", ha="center", color=page.BLUE)
    axes.text(wide * 0.45, low + 0.05, "backward / learning", ha="center", color=page.VERMILION)
    return figure


def convolutionalised(given: Given) -> Figure:
    """Figure 2: a classifier says what a window shows; made convolutional, where in a picture."""
    model = next((m for m in given.models.values() if m.task == "classification"), None)
    if model is None or given.photo is None:
        what = "figure 2 is of a classifier with its weights, and of a photo"
        command = "pixelwise figures g.safetensors -o figures --only 2 --photo cat.jpg"
        raise Lacking(what, f"{command}; docs/figure2.md says how g.safetensors is imported")
    net, photo = model.predictor.net, given.photo
    side = WINDOWS.get(NETS[model.header.net].trunk or model.header.net, WINDOW)
    window = model.label(_middle(photo, side), probabilities=True).probabilities
    whole = model.label(photo, probabilities=True).probabilities
    assert window is not None
    assert whole is not None
    best = int(window[:, 0, 0].argmax())
    chosen = find_class(given.heat, model.classes) if given.heat else best
    layers = slabs(net, next(iter(streams(net, net.top).values())))
    wide = page.COLUMN if len(layers) <= FEW else page.PAGE
    figure, axes = page.blank(wide, 2.3)
    end, high = wide - (0.95 if wide == page.PAGE else 0.72), 0.85
    for size, middle, picture in ((side, 1.85, _middle(photo, side)), (len(photo), 0.72, photo)):
        row = Row(net, layers, size, len(photo), high)
        tall = row.side(size)
        _plane(axes, picture, 0.06, middle, tall)
        row.draw(axes, 0.06 + SLOPE[0] * high + GAP, end - 0.1, middle)
        page.arrow(axes, (end - 0.12, middle), (end, middle))
    name, heat = (model.classes[k].partition(",")[0] for k in (best, chosen))
    axes.text(end + 0.05, 1.85, f"“{name}”\n{window[best, 0, 0]:.2f}", va="center")
    shape = whole.shape[1] / whole.shape[2]
    room = wide - end - 0.1
    place = (end + 0.05, 0.72 - room * shape / 2, room, room * shape)
    inset = figure.add_axes((place[0] / wide, place[1] / 2.3, room / wide, room * shape / 2.3))
    inset.imshow(whole[chosen], cmap="viridis", interpolation="nearest")
    inset.set_axis_off()
    word = {"ha": "center", "va": "top", "fontsize": 5.5}
    axes.text(end + 0.05 + room / 2, place[1] - 0.04, f"“{heat}” heat map", word)
    page.arrow(axes, (wide * 0.45, 1.42), (wide * 0.45, 1.22), page.VERMILION)
    axes.text(wide * 0.45 + 0.06, 1.32, "convolutionalisation", va="center", color=page.VERMILION)
    return figure


def _shown(given: Given, net: str) -> tuple[Rgb | None, Rgb | None, Rgb | None]:
    """A picture, what the model of this net says of it, and the truth; or nothing of all."""
    model = next((k for k, m in given.models.items() if m.header.net == net), None)
    if model is None:
        return None, None, None
    ((item, sample),) = given.scenes(1)
    palette = np.array(given.dataset.palette, np.uint8)
    image = three_bands(sample.image, given.dataset.false_colour)
    return image, colour(given.labels(model, item), palette), colour(sample.labels, palette)


def _middle(photo: Rgb, side: int) -> Rgb:
    """The square in the middle, as a classifier is shown it."""
    cut = min(photo.shape[:2])
    top, left = ((n - cut) // 2 for n in photo.shape[:2])
    return resize(photo[top : top + cut, left : left + cut], (side, side))


def _slab(axes: Axes, left: float, middle: float, side: float, thick: float) -> None:
    """A box seen from the front, the right and above."""
    right, up = SLOPE[0] * side, SLOPE[1] * side
    low, high = middle - (side + up) / 2, middle + (side - up) / 2
    end = left + thick
    front = [(left, low), (end, low), (end, high), (left, high)]
    top = [(left, high), (end, high), (end + right, high + up), (left + right, high + up)]
    face = [(end, low), (end + right, low + up), (end + right, high + up), (end, high)]
    for corners, shade in zip((front, top, face), FACES, strict=True):
        outline: dict[str, Any] = {"ec": "#33506b", "lw": 0.35, "joinstyle": "round"}
        axes.add_patch(Polygon(corners, closed=True, fc=shade, **outline))


def _plane(axes: Axes, picture: Rgb | None, left: float, middle: float, side: float) -> None:
    """A picture on the plane of a map; without one a sheet of paper."""
    right, up = SLOPE[0] * side, SLOPE[1] * side
    low = middle - (side + up) / 2
    corners = [(left, low), (left + right, low + up), (left + right, low + up + side)]
    sheet = Polygon([*corners, (left, low + side)], closed=True, fc="white", ec="#333333", lw=0.5)
    axes.add_patch(sheet)
    if picture is not None:
        skew = Affine2D.from_values(right, up, 0, side, left, low) + axes.transData
        limits = axes.get_xlim(), axes.get_ylim()
        axes.imshow(picture, extent=(0, 1, 0, 1), transform=skew, zorder=2, interpolation="nearest")
        axes.set(xlim=limits[0], ylim=limits[1])
