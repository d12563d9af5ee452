"""The kernels: matrix products in registers, and what Winograd's algorithm does around them.

A convolution of n x n inputs to m x m outputs becomes a product for each of n x n points: inputs
are transformed (``transform``), multiplied with weights that were (``multiply``), and transformed
back with bias, residual, ReLU and pooling (``finish``). Lavin and Gray 2016, "Fast Algorithms for
Convolutional Neural Networks". The last tile of a row or column begins earlier instead of reaching
out of the map, so that no tile is cut; what an earlier tile made stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache, partial, reduce
from itertools import product
from typing import Any

from pixelwise.engine.points import Points
from pixelwise.engine.vectors import FLOAT, Code, processor

FACTS = (
    *("source", "source_row", "source_cell", "channels", "height", "width"),
    *("tiles_wide", "weights", "panels", "bias", "filters", "limits"),
    *("target", "target_row", "target_cell", "added", "added_row", "added_cell"),
    *("taps_down", "taps_right", "tap_row", "tap_cell", "block"),
    *("patch_row", "lead_down", "lead_right", "last_row", "last_cell"),
)
"""What a kernel is told of one convolution: whole numbers, in this order. Rows and cells are bytes
from one to the next, ``height`` and ``width`` the cells convolved, ``panels`` how many tiles side
by side hold all filters, ``limits`` the address of the ReLU's two. Of a direct convolution source
rows and cells are those of neighbouring outputs, ``tap_row`` and ``tap_cell`` of neighbouring
taps. A pool's first window begins ``lead_down`` and ``lead_right`` before the source, and none
reaches beyond ``last_row`` and ``last_cell``."""

Facts = dict[str, Any]


def facts_of(code: Code) -> Facts:
    """What a kernel's first argument points to."""
    return dict(zip(FACTS, code.facts(code.arguments[0], len(FACTS)), strict=True))


def corner_of(code: Code, f: Facts, tile: Any, tall: int, wide: int) -> tuple[list[Any], list[Any]]:
    """Row and column at which a tile's outputs begin; how many of them an earlier tile has made."""
    begins = [
        code.mul(place, length)
        for place, length in zip(code.divided(tile, f["tiles_wide"]), (tall, wide), strict=True)
    ]
    last = code.sub(f["height"], tall), code.sub(f["width"], wide)
    corner = [code.least(first, end) for first, end in zip(begins, last, strict=True)]
    return corner, [code.sub(first, at) for first, at in zip(begins, corner, strict=True)]


def cell(code: Code, f: Facts, which: str, row: Any, column: Any) -> Any:
    """The address of a cell of the source, the target, or what is added."""
    down, right = code.mul(row, f[f"{which}_row"]), code.mul(column, f[f"{which}_cell"])
    return code.add(f[which], down, right)


def relu(code: Code, f: Facts) -> Callable[[Any], Any]:
    """The ReLU of a computation; of limits that are infinite, nothing."""
    floor, ceiling = code.everywhere(f["limits"]), code.everywhere(code.add(f["limits"], FLOAT))
    return lambda value: code.smaller(ceiling, code.larger(floor, value))


@cache
def transform(points: Points, *, rim: bool = False, back: bool = False) -> Callable[..., None]:
    """(facts, first tile, tiles, patches, rows of patches): inputs as the products take them.

    With ``rim`` cells beyond the source's are zero; ``back``: the source is the outputs' gradient,
    of which the products' is made.
    """
    lanes, m = processor().lanes, points.m
    code = Code("transform", 5, lanes)
    f, (_, first, count, out, rows) = facts_of(code), code.arguments
    matrix = list(zip(*points.outputs, strict=True)) if back else points.inputs
    steps, a_point = range(len(matrix[0])), code.mul(rows, f["patch_row"])
    beside = [code.mul(f["source_cell"], x) for x in steps]

    @code.each(count)
    def one(i: Any) -> None:
        corner, _ = corner_of(code, f, code.add(first, i), m, m)
        target = code.add(out, code.mul(i, f["patch_row"]))
        if rim:
            leads = f["lead_down"], f["lead_right"]
            corner = [code.sub(at, lead) for at, lead in zip(corner, leads, strict=True)]
        source = cell(code, f, "source", *corner)

        def some(at: Any, mask: Any, inside: Sequence[Sequence[Any]] = ()) -> None:
            place, cells = code.add(source, at), []
            left, last = code.sub(f["channels"], code.b.lshr(at, code.n(2))), mask
            for y in steps:
                line = []
                for x, right in enumerate(beside):
                    if inside:
                        held = code.b.and_(inside[0][y], inside[1][x])
                        mask = code.mask(code.b.select(held, left, code.n(0)))
                    line.append(code.load(code.add(place, right), mask))
                cells.append(line)
                place = code.add(place, f["source_row"])
            down = [code.applied(matrix, column) for column in zip(*cells, strict=True)]
            place = code.add(target, at)
            for across in zip(*down, strict=True):
                for value in code.applied(matrix, across):
                    code.store(value, place, last)
                    place = code.add(place, a_point)

        if not rim:
            code.channels(f["channels"], some)
            return
        inside = [
            [code.b.icmp_unsigned("<=", code.add(at, t), last) for t in steps]
            for at, last in zip(corner, (f["last_row"], f["last_cell"]), strict=True)
        ]
        whole = reduce(code.b.and_, (*inside[0], *inside[1]))
        with code.where(whole):
            code.channels(f["channels"], some)
        with code.where(code.b.not_(whole)):
            code.channels(f["channels"], partial(some, inside=inside))

    return code.compiled()


def tall(count: int) -> int:
    """Rows of a tile, so that ``count`` rows are few tiles and few rows too many."""
    # A tile takes as long as its rows and about one more.
    return min(range(processor().rows, 0, -1), key=lambda rows: -(count // -rows) * (rows + 1))


def tile(
    code: Code, rows: int, start: Any, row: Any, depth: Any, panel: Any, sums: Sequence[Any]
) -> list[Any]:
    """A tile of a product in registers: the sums after ``depth`` columns, and the panel's end.

    ``start`` is the address of the first row, ``row`` the bytes from one to the next. Five rows
    share a register of addresses: more do not fit into an instruction. There are ``rows`` sums of
    each of a panel's two vectors, or of its first alone.
    """
    lanes, groups, vectors = code.lanes, -(rows // -5), len(sums) // rows
    starts = [code.add(start, code.mul(row, 5 * g)) for g in range(groups)]
    three = code.mul(row, 3)

    def step(_: Any, carried: list[Any]) -> Sequence[Any]:
        *sums, at = carried[: vectors * rows + 1]
        lines = carried[vectors * rows + 1 :]
        right = [code.load(code.add(at, v * lanes * FLOAT)) for v in range(vectors)]
        for r in range(rows):
            by = (0, row, code.mul(row, 2), three, code.mul(row, 4))[r % 5]
            left = code.everywhere(code.add(lines[r // 5], by) if r % 5 else lines[r // 5])
            for v in range(vectors):
                sums[vectors * r + v] = code.fma(left, right[v], sums[vectors * r + v])
        further = [code.add(line, FLOAT) for line in lines]
        return [*sums, code.add(at, 2 * lanes * FLOAT), *further]

    passed = code.repeat(depth, step, [*sums, panel, *starts])
    return passed[: vectors * rows + 1]


@cache
def multiply(points: int, tall: int, *, narrow: bool) -> Callable[..., None]:
    """(facts, rows, first panel, panels, patches, products): all points' products.

    A tile is ``tall`` rows by a panel of filters; of the last, if ``narrow``, by its first vector.
    """
    machine = processor()
    code = Code("multiply", 6, machine.lanes)
    f, (_, rows, first, panels, patches, products) = facts_of(code), code.arguments
    depth, wide = f["channels"], machine.panel * FLOAT
    line = f["patch_row"]
    size, width = code.mul(depth, wide), code.mul(panels, wide)

    @code.each(points)
    def point(i: Any) -> None:
        left = code.add(patches, code.mul(i, rows, line))
        right = code.add(f["weights"], code.mul(code.add(code.mul(i, f["panels"]), first), size))
        out = code.add(products, code.mul(i, rows, width))

        @code.each(panels)
        def panel(p: Any) -> None:
            at, column = code.add(right, code.mul(p, size)), code.add(out, code.mul(p, wide))

            def tiles(vectors: int) -> None:
                @code.each(rows, step=tall)
                def one(t: Any) -> None:
                    sums = [code.zero()] * (vectors * tall)
                    start = code.add(left, code.mul(t, line))
                    *sums, _ = tile(code, tall, start, line, depth, at, sums)
                    for r, v in product(range(tall), range(vectors)):
                        place = code.add(column, code.mul(code.add(t, r), width))
                        code.store(sums[vectors * r + v], code.add(place, v * code.lanes * FLOAT))

            if not narrow:
                tiles(2)
                return
            last = code.less(f["panels"], code.add(first, p, 2))
            for vectors, condition in ((1, last), (2, code.b.not_(last))):
                with code.where(condition):
                    tiles(vectors)

    return code.compiled()


@cache
def finish(points: Points, *, added: bool, pool: bool) -> Callable[..., None]:
    """(facts, first tile, tiles, rows of products, first panel, panels, products): the outputs."""
    code = Code("finish", 7, processor().lanes)

    @code.each(code.arguments[2])
    def one(i: Any) -> None:
        tile = _Tile(code, points, i, added=added)
        if not pool:
            code.channels(tile.filters, tile.plain)
            return
        odd = [code.divided(c, 2)[1] for c in tile.corner]
        for phases in product((0, 1), repeat=2):
            same = [
                code.b.icmp_signed("==", o, code.n(p)) for o, p in zip(odd, phases, strict=True)
            ]
            with code.where(code.b.and_(*same)):
                code.channels(tile.filters, partial(tile.pooled, phases))

    return code.compiled()


class _Tile:
    """The outputs of a tile of Winograd's algorithm, a vector of filters at a time."""

    def __init__(self, code: Code, points: Points, i: Any, *, added: bool) -> None:
        self.code, self.points, self.added, self.f = code, points, added, facts_of(code)
        self.limited = relu(code, self.f)
        _, first, _, rows, panel, panels, products = code.arguments
        m, wide = points.m, processor().panel
        self.corner, self.made_before = corner_of(code, self.f, code.add(first, i), m, m)
        width = code.mul(panels, wide * FLOAT)
        self.start = code.add(products, code.mul(i, width))
        self.a_point, self.begin = code.mul(rows, width), code.mul(panel, wide * FLOAT)
        # Filters of these panels: the last may hold fewer than its vectors.
        left = code.sub(self.f["filters"], code.mul(panel, wide))
        self.filters = code.least(code.mul(panels, wide), left)
        self.places = {name: self.cells(name, self.corner) for name in ("target", "added")}

    def outputs(self, at: Any, mask: Any) -> list[list[Any]]:
        """m x m vectors, after bias, residual and ReLU."""
        code, n = self.code, self.points.n
        place = code.add(self.start, at)
        cells = []
        for _ in range(n):
            line = []
            for _ in range(n):
                line.append(code.load(place))
                place = code.add(place, self.a_point)
            cells.append(line)
        down = [code.applied(self.points.outputs, column) for column in zip(*cells, strict=True)]
        bias = code.load(code.add(self.f["bias"], self.begin, at))
        made = []
        for y, across in enumerate(zip(*down, strict=True)):
            line = [code.plus(v, bias) for v in code.applied(self.points.outputs, across)]
            if self.added:
                rows, columns = self.places["added"]
                line = [
                    code.plus(v, code.load(code.add(rows[y], columns[x], at), mask))
                    for x, v in enumerate(line)
                ]
            made.append([self.limited(v) for v in line])
        return made

    def cells(self, which: str, corner: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Addresses of the tile's rows, and bytes of its columns, from ``corner`` on."""
        code, (row, column) = self.code, (self.f[f"{which}_row"], self.f[f"{which}_cell"])
        first = code.add(cell(code, self.f, which, *corner), self.begin)
        steps = range(self.points.m)
        return [code.add(first, code.mul(row, y)) for y in steps], [
            code.mul(column, x) for x in steps
        ]

    def plain(self, at: Any, mask: Any) -> None:
        """Write them."""
        made = self.outputs(at, mask)
        rows, columns = self.places["target"]
        for y, x in product(range(self.points.m), repeat=2):
            with self.new(y, x):
                self.code.store(made[y][x], self.code.add(rows[y], columns[x], at), mask)

    def pooled(self, phases: Sequence[int], at: Any, mask: Any) -> None:
        """Write the largest of each 2x2.

        A tile that begins in the middle of a pool's window gives its second and third row to one
        window, and its fourth, the map's last, to another.
        """
        code, made = self.code, self.outputs(at, mask)
        rows, columns = (((1, 2), (3, 3)) if p else ((0, 1), (2, 3)) for p in phases)
        where = [code.divided(code.add(c, 1), 2)[0] for c in self.corner]
        lines, beside = self.cells("target", where)
        for y, x in product(range(2), repeat=2):
            a, b, c, d = (made[row][column] for row, column in product(rows[y], columns[x]))
            best = code.larger(code.larger(a, b), code.larger(c, d))
            with self.new(rows[y][0], columns[x][0]):
                code.store(best, code.add(lines[y], beside[x], at), mask)

    def new(self, y: int, x: int) -> AbstractContextManager[None]:
        """Where no earlier tile has made an output: its place in a tile decides its rounding."""
        down, right = (
            self.code.less(before, n + 1)
            for before, n in zip(self.made_before, (y, x), strict=True)
        )
        return self.code.where(self.code.b.and_(down, right))


@cache
def unavailable() -> str:
    """Why our own kernels do not run here; empty: they do."""
    try:
        multiply(36, 1, narrow=False)
    except Exception as error:  # noqa: BLE001 - whatever LLVM lacks, torch has kernels of its own
        return f"{type(error).__name__}: {error}"
    return ""
