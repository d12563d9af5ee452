"""Figure 3: what is coarse and what is fine in a net, and where the two are joined."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from pixelwise.experiments.figures import page
from pixelwise.experiments.figures.given import Given
from pixelwise.experiments.figures.structure import Head, Term, head, levels, scale_of, streams
from pixelwise.nets.net import Net

SIDE, TALL = 0.56, 0.98  # inches: of a grid, and from one row to the next
FINEST = 32  # cells of a grid along a side, of which lines can still be told apart
WORDS = {"Sum": "+", "Concat": "concat", "Unpool": "indices"}
DARK, LIGHT = "#0b3c5d", "#eef4fa"


def skips(given: Given) -> Figure:
    """Draw the first net that was given, or named."""
    name, net = given.net(3)
    heads = [head(net, output) for output in net.outputs.values()]
    chains = streams(net, heads[0].bottom).values()
    trunks = [levels(net, layers, heads) for layers in chains]
    rows = len(trunks) + sum(len(h.joins) + (i > 0) for i, h in enumerate(heads))
    top = TALL * rows - (TALL - SIDE - 0.3)
    figure, axes = page.blank(page.PAGE, top + 0.06)
    drawing = Drawing(axes, net, name, trunks)
    for trunk in trunks:
        drawing.trunk(trunk, top)
        top -= TALL
    for number, one in enumerate(heads):
        top = drawing.head(one, top, first=number == 0)
    return figure


class Drawing:
    """Columns of strides, and rows of what is joined."""

    def __init__(self, axes: Axes, net: Net, name: str, trunks: list[list[str]]) -> None:
        self.axes, self.net, self.name, self.trunks = axes, net, name, trunks
        self.columns = max(map(len, trunks))
        self.step = (page.PAGE - 1.28) / self.columns  # what is left of the predictions
        self.coarsest = max(scale_of(net, layer) for trunk in trunks for layer in trunk)

    def column(self, layer: str) -> int:
        """Of the level that has this name, else this stride; what is coarser stands last."""
        for trunk in self.trunks:
            if layer in trunk:
                return trunk.index(layer)
        scales, scale = [scale_of(self.net, n) for n in self.trunks[0]], scale_of(self.net, layer)
        return next((i for i, known in enumerate(scales) if known >= scale), self.columns - 1)

    def trunk(self, layers: Sequence[str], top: float) -> None:
        """The row of a trunk: every grid shows how coarse its map is."""
        for i, layer in enumerate(layers):
            scale = scale_of(self.net, layer)
            self._grid(i, top, scale, "image" if layer == "data" else layer)
            if i:
                x, y = self._x(i), top - 0.1 - SIDE / 2
                word = {"ha": "center", "va": "top", "size": 5, "color": page.GREY}
                self.axes.text(x + SIDE / 2, y - SIDE / 2 - 0.03, f"stride {scale}", word)
                page.arrow(self.axes, (x - self.step + SIDE + 0.03, y), (x - 0.03, y))

    def head(self, one: Head, top: float, *, first: bool) -> float:
        """The rows of an output; returns where the next one begins."""
        end = self.columns - 1
        start = top + TALL  # of the trunk's last row
        if not first:
            self._grid(end, top, scale_of(self.net, one.bottom), _words(one.terms, 1))
            start, top = top, top - TALL
        if one.scored or not one.joins:
            self._prediction(one, one.bottom, start, last=not one.joins)
        for join in one.joins:
            scale = scale_of(self.net, join.layer)
            factors = sorted({term.by for term in join.terms}, reverse=True)
            columns = []
            for by in factors:
                terms = [term for term in join.terms if term.by == by]
                column = end if by == factors[0] else self.column(terms[0].source)
                if column in columns:  # SegNet's pool5 is unpooled by indices of its own
                    continue
                self._grid(column, top, scale, _words(terms, by), page.ORANGE)
                columns.append(column)
            for left, right in zip(columns[1:], columns, strict=False):
                x = (self._x(left) + SIDE + self._x(right)) / 2
                word = WORDS[join.kind]
                size = 9 if word == "+" else 5
                self.axes.text(x, top - 0.1 - SIDE / 2, word, ha="center", va="center", size=size)
            x = self._x(columns[-1]) + SIDE / 2
            below = start - SIDE - 0.21  # the caption of the grid that the skip comes from
            if first:  # a further head reads the same maps; their names say which
                page.arrow(self.axes, (x, below), (x, top + 0.02), page.ORANGE)
            if one.scored or join is one.joins[-1]:
                self._prediction(one, join.layer, top, last=join is one.joins[-1])
            top -= TALL
        return top

    def _x(self, column: int) -> float:
        return 0.08 + column * self.step

    def _grid(
        self, column: int, top: float, scale: Fraction, name: str, colour: str = DARK
    ) -> None:
        x, y = self._x(column), top - 0.1 - SIDE
        self.axes.add_patch(Rectangle((x, y), SIDE, SIDE, fc=LIGHT, ec=colour, lw=0.7))
        cells = min(FINEST, int(2 * self.coarsest / scale))
        if scale > 1:
            edges = [SIDE * i / cells for i in range(1, cells)]
            across = [[(x + edge, y), (x + edge, y + SIDE)] for edge in edges]
            down = [[(x, y + edge), (x + SIDE, y + edge)] for edge in edges]
            thin = 0.6 if cells <= 8 else 0.25
            self.axes.add_collection(LineCollection(across + down, colors=colour, linewidths=thin))
        self.axes.text(x + SIDE / 2, y + SIDE + 0.03, name, ha="center", size=5.5)

    def _prediction(self, one: Head, layer: str, top: float, *, last: bool) -> None:
        """What a row gives by itself; of the last one, the net's output."""
        by = round(scale_of(self.net, layer) / scale_of(self.net, one.output))
        x, y = page.PAGE - 1.06, top - 0.1 - SIDE
        edge = page.VERMILION if last else page.GREY
        box = FancyBboxPatch((x, y + 0.06), 0.98, SIDE - 0.12, "round,pad=0,rounding_size=0.05")
        box.set(fc="white", ec=edge, lw=0.9 if last else 0.5, ls="-" if last else "--")
        self.axes.add_patch(box)
        names = {layer: f" {head}" for head, layer in self.net.outputs.items()}
        of = names[one.output] if len(names) > 1 else ""
        words = [f"{by}× upsampled" if by > 1 else "", f"prediction{of}"]
        if one.scored and by > 1 and "fcn" in self.name:
            words.append(f"(FCN-{by}s)")
        text = "\n".join(word for word in words if word)
        self.axes.text(x + 0.49, y + SIDE / 2, text, ha="center", va="center", size=6)
        left = self._x(self.columns - 1) + SIDE + 0.03
        page.arrow(self.axes, (left, y + SIDE / 2), (x - 0.03, y + SIDE / 2))
        for above in range(1, len(self.trunks) if layer == one.bottom else 1):  # late fusion
            start = y + SIDE / 2 + above * TALL
            page.arrow(self.axes, (left, start), (x - 0.03, y + SIDE / 2 + 0.08 * above))
            self.axes.text(x - 0.1, y + SIDE / 2 + 0.2, "+", ha="right", va="center", size=9)


def _words(terms: Sequence[Term], by: int) -> str:
    """``2x fc7``; of more than two names the first stands for all."""
    names = list(dict.fromkeys(term.source for term in terms))
    many = f"{names[0]}, ..." if len(names) > 2 else " + ".join(names)
    return f"{by}× {many}" if by > 1 else many
