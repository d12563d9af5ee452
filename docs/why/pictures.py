"""The pictures of docs/why: `python docs/why/pictures.py` draws them anew beside this file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pixelwise.experiments.figures import page, skips
from pixelwise.experiments.figures.given import Given
from pixelwise.experiments.ledger import numbers
from pixelwise.labels import VOID
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.nets.catalog import spec
from pixelwise.predict.model import load

DOTS = 140  # an inch: sharp on a screen, and small
CLASSES = ListedColormap(["#e8e8e8", page.BLUE, page.ORANGE])
SHADES = {"cmap": "viridis", "interpolation": "nearest"}
LABELS = {"cmap": CLASSES, "vmin": 0, "vmax": 2, "interpolation": "nearest"}


def row(count: int, high: float = 1.6, **shares: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Axes beside each other without numbers."""
    figure = Figure(figsize=(6.4, high))
    axes = figure.subplots(1, count, squeeze=False, **shares)[0]
    for one in axes:
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.86, wspace=0.06)
    return figure, [*axes]


def shown(axes: Axes, title: str, values: NDArray, **how: object) -> None:
    axes.imshow(values, **how)
    axes.set_title(title, fontsize=7)


def grid(axes: Axes, values: NDArray, title: str, *, words: bool = True, low: float = 0.0) -> None:
    """A matrix with its numbers."""
    axes.imshow(np.where(values == 0, np.nan, values), cmap="Blues", vmin=low - 2, vmax=low + 9)
    for edge in range(values.shape[0] + 1):
        axes.axhline(edge - 0.5, color="#999999", lw=0.4, clip_on=False)
    for edge in range(values.shape[1] + 1):
        axes.axvline(edge - 0.5, color="#999999", lw=0.4, clip_on=False)
    for (i, j), value in np.ndenumerate(values):
        if words:
            ink = "white" if value - low > 4 else "black"
            axes.text(j, i, f"{value:g}", ha="center", va="center", fontsize=6, color=ink)
    axes.set_title(title, fontsize=7)


def scene() -> NDArray[np.uint8]:
    """A large thing and a thin one on their background, (96, 128)."""
    y, x = np.mgrid[:96, :128]
    labels = np.zeros((96, 128), np.uint8)
    labels[(y - 52) ** 2 + (x - 44) ** 2 < 30**2] = 1
    labels[(abs(x - 98) < 4) & (y > 12) & (y < 84)] = 2
    return labels


def coarse(values: NDArray, stride: int) -> NDArray[np.float64]:
    """Means over squares."""
    high, wide = (n // stride for n in values.shape)
    return values.reshape(high, stride, wide, stride).mean((1, 3))


def enlarged(values: NDArray, stride: int) -> NDArray[np.float64]:
    """Bilinear, cells at the middles of their squares."""
    for axis in (0, 1):
        count = values.shape[axis]
        at = ((np.arange(count * stride) + 0.5) / stride - 0.5).clip(0, count - 1)
        low = at.astype(int)
        high, share = np.minimum(low + 1, count - 1), at - low
        share = share[:, None] if axis == 0 else share
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def convolution() -> Figure:
    figure, (one, answer, many, map_) = row(4, 1.5, width_ratios=[7, 4, 16, 10])
    for axes, size, out, title in (
        (one, (7, 7), answer, "fc6 sees one window"),
        (many, (12, 16), map_, "the same weights, at every place"),
    ):
        values = np.zeros(size)
        values[2 : 2 + 7, 3 : 3 + 7] = 3
        if size == (7, 7):
            values[:] = 3
        grid(axes, values, title, words=False)
        rows, columns = (n - 6 for n in size)
        cells = np.zeros((rows, columns))
        cells[min(2, rows - 1), min(3, columns - 1)] = 3
        grid(out, cells, "one answer" if rows == 1 else "a map of 6x10 answers", words=False)
    return figure


def maps() -> Figure:
    figure, axes = row(5)
    truth = scene()
    made = np.stack([4 * coarse(truth == k, 16) - 2 for k in range(3)])
    for k, word in enumerate(("background", "disc", "bar")):
        shown(axes[k], f"scores: {word}", made[k], **SHADES, vmin=-2, vmax=2)
    labels = np.stack([enlarged(m, 16) for m in made]).argmax(0)
    shown(axes[3], "highest of the three", labels, **LABELS)
    shown(axes[4], "truth", truth, **LABELS)
    return figure


def transpose() -> Figure:
    figure, (left, right, both) = row(3, 2.2, width_ratios=[8, 3, 8])
    matrix = np.zeros((3, 8))
    for i in range(3):
        matrix[i, 2 * i : 2 * i + 4] = (1, 2, 1, 3)
    grid(left, matrix, "C: a convolution, kernel 1 2 1 3, stride 2")
    grid(right, matrix.T, "Cᵀ: its deconvolution")
    product = matrix.T @ matrix
    grid(both, product, "CᵀC is not the identity")
    return figure


def linear() -> Figure:
    figure, axes = row(4, 1.6)
    for one, side in zip(axes, (4, 16, 64), strict=False):
        factor = side // 2
        ramp = 1 - abs(np.arange(side) - (side - 1) / 2) / factor
        shown(one, f"{factor}× bilinear, {side}x{side}", np.outer(ramp, ramp), **SHADES)
    place = np.arange(-1, 3, 0.01)
    tents = [np.clip(1 - abs(place - i), 0, None) * v for i, v in enumerate((1.0, 2.0, 0.5))]
    for tent in tents:
        axes[3].plot(place, tent, color=page.SKY, lw=0.8, ls="--")
    axes[3].plot(place, sum(tents), color=page.BLUE)
    axes[3].set_title("a sum of tents", fontsize=7)
    return figure


def skip_diagram() -> Figure:
    return skips.skips(Given(["fcn16s-vgg16"], load))


def crops() -> Figure:
    net, size = spec("fcn16s-vgg16"), 500
    figure = Figure(figsize=(6.4, 2.3))
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set_axis_off()
    axes.add_patch(Rectangle((0, 0), size, size, fc="#f0f0f0", ec="black", lw=0.8))
    axes.text(size / 2, size / 2, f"picture, {size} px", ha="center", va="center", fontsize=7)
    marks = (("score_pool4", page.ORANGE), ("upscore2", page.BLUE), ("score_pool4c", page.GREEN))
    for place, (layer, colour) in enumerate(marks):
        seen, cells = net.sights[layer].map, net.sizes(size)[layer]
        start, stride = float(seen.shift), float(seen.scale)
        edge, side = start - stride / 2, stride * cells
        dash = "--" if layer == "score_pool4c" else "-"
        wide = 2.4 if layer == "upscore2" else 1.2
        axes.add_patch(Rectangle((edge, edge), side, side, fc="none", ec=colour, lw=wide, ls=dash))
        axes.text(800, 40 + 110 * place, f"{layer}: {cells} cells", color=colour, fontsize=7)
    offset = net.crops()["score_pool4c"]
    words = f"the crop begins {offset} cells in: both grids then lie on each other"
    axes.text(800, 40 + 110 * 3, words, fontsize=7)
    axes.set(xlim=(-130, 2000), ylim=(640, -130), aspect="equal")
    return figure


def streams() -> Figure:
    figure, axes = row(5)
    truth = scene()
    deep, shallow = two_streams(truth)
    shown(axes[0], "truth", truth, **LABELS)
    shown(axes[1], "deep: what", deep.argmax(0), **LABELS)
    shown(axes[2], "shallow: where", shallow.argmax(0), **LABELS)
    shown(axes[3], "their sum", (deep + shallow).argmax(0), **LABELS)
    shown(axes[4], "its errors", (deep + shallow).argmax(0) != truth, cmap="Greys")
    return figure


def two_streams(truth: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
    """Scores (3, H, W): right but coarse, and sharp but unsure; the page says how."""
    rng = np.random.default_rng(0)
    deep = np.stack([enlarged(coarse(truth == k, 16), 16) for k in range(3)])
    noise = enlarged(rng.normal(size=(24, 32)), 4)
    shallow = np.stack([(truth == k) + 0.6 * noise * (k - 1) for k in range(3)])
    return deep, 0.7 * shallow


def sampling() -> Figure:
    import torch

    from pixelwise.losses.sampling import sampled

    net, labels = spec("fcn32s-tiny"), torch.from_numpy(np.ones((1, 256, 256), np.uint8))
    figure, axes = row(7, 1.15, width_ratios=[1, 1, 1, 1, 1, 1, 1])
    places = iter(axes)
    for keep in (1.0, 0.5, 0.25):
        for seed in range(round(1 / keep)):
            draw = [np.random.default_rng(seed + 1)]
            mask = sampled(labels, keep, draw, net=net, unit="cell")[0].numpy() != VOID
            shown(next(places), f"{keep:.0%}", mask, cmap="Blues", vmin=-0.2, vmax=1.6)
    return figure


def rarefaction() -> Figure:
    figure, axes = row(4, 1.8)
    kernel = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]) / 1.0
    grid(axes[0], kernel, "a filter behind a stride of 2", low=1)
    rare = np.zeros((5, 5))
    rare[::2, ::2] = kernel
    grid(axes[1], rare, "rarefied, behind a stride of 1", low=1)
    y, x = np.mgrid[:8, :8]
    shown(
        axes[2], "one of 4 shifted passes", np.where((y % 2) | (x % 2), np.nan, 1), vmin=0, vmax=4
    )
    shown(axes[3], "stitched from 4 passes", 2 * (y % 2) + x % 2, vmin=0, vmax=4, cmap="viridis")
    return figure


def mean_iu() -> Figure:
    truth = np.zeros((100, 100), np.uint8)
    truth[10:60, 10:55], truth[70:75, 70:75] = 1, 2
    guesses = {
        "truth": truth,
        "background": np.zeros_like(truth),
        "without the small": np.where(truth == 2, 0, truth),
        "moved by 3": np.roll(truth, 3, axis=1),
    }
    figure, axes = row(4, 1.95)
    for one, (name, guess) in zip(axes, guesses.items(), strict=True):
        made = scores(confusion(truth, guess, 3))
        line = f"pixels {made.pixel_accuracy:.2f}, mean IU {made.mean_iu:.2f}"
        shown(one, f"{name}\n{line}", guess, **LABELS)
    figure.subplots_adjust(top=0.8)
    return figure


def instances() -> Figure:
    y, x = np.mgrid[:60, :100]
    left = ((x - 38) / 20) ** 2 + ((y - 30) / 26) ** 2 < 1
    right = ((x - 64) / 20) ** 2 + ((y - 30) / 26) ** 2 < 1
    figure, axes = row(2, 1.7)
    shown(axes[0], "FCN: the class of each pixel", np.where(left | right, 1, 0), **LABELS)
    apart = np.where(right, 2, np.where(left, 1, 0))
    shown(axes[1], "instance segmentation: which person", apart, **LABELS)
    return figure


def tables() -> Figure:
    known = numbers()
    figure = Figure(figsize=(6.4, 1.7))
    left, right = figure.subplots(1, 2)
    for axes, bars in (
        (
            left,
            {
                "1,112 pictures,\nval": "table1.vgg16.mean_iu",
                "8,498 pictures,\nseg11valid": "table2.fcn32s.mean_iu",
            },
        ),
        (
            right,
            {"arXiv v2": "table6.59.fcn8s.mean_iu", "camera-ready": "text.context-camera-ready"},
        ),
    ):
        values = [known[number].value for number in bars.values()]
        drawn = axes.barh([*bars], values, color=[page.SKY, page.BLUE], height=0.6)
        axes.bar_label(drawn, fmt="%.1f", fontsize=7, padding=2)
        axes.set(xlim=(0, 70), xlabel="mean IU, %")
        axes.invert_yaxis()
    left.set_title("FCN-32s-VGG16, VOC 2011", fontsize=7)
    right.set_title("FCN-8s, PASCAL-Context, 59 classes", fontsize=7)
    figure.subplots_adjust(left=0.14, right=0.98, bottom=0.24, top=0.86, wspace=0.42)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "convolution": convolution,
    "maps": maps,
    "transpose": transpose,
    "linear": linear,
    "skips": skip_diagram,
    "crops": crops,
    "streams": streams,
    "sampling": sampling,
    "rarefaction": rarefaction,
    "mean-iu": mean_iu,
    "instances": instances,
    "tables": tables,
}


def write(folder: Path, names: Sequence[str] = tuple(PICTURES)) -> list[Path]:
    """Draw pictures into a folder."""
    with page.style():
        for name in names:
            PICTURES[name]().savefig(folder / f"{name}.png", dpi=DOTS, metadata={"Software": None})
    return [folder / f"{name}.png" for name in names]


if __name__ == "__main__":
    write(Path(__file__).parent)
