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
from functools import cache, partial
from itertools import product
from typing import Any

from pixelwise.engine.points import Points
from pixelwise.engine.vectors import FLOAT, Code, processor

FACTS = (
    *("source", "source_row", "source_cell", "channels", "height", "width"),
    *("tiles_wide", "weights", "panels", "bias", "filters", "limits"),
    *("target", "target_row", "target_cell", "added", "added_row", "added_cell"),
    *("taps_down", "taps_right", "tap_row", "tap_cell"),
)
"""What a kernel is told of one convolution: whole numbers, in this order. Rows and cells are bytes
from one to the next, ``height`` and ``width`` the cells convolved, ``panels`` how many tiles side
by side hold all filters, ``limits`` the address of the ReLU's two. Of a direct convolution source
rows and cells are those of neighbouring outputs, ``tap_row`` and ``tap_cell`` of neighbouring
taps."""

Facts = dict[str, Any]


def _facts(code: Code) -> Facts:
    return dict(zip(FACTS, code.facts(code.arguments[0], len(FACTS)), strict=True))


def _corner(code: Code, f: Facts, tile: Any, tall: int, wide: int) -> tuple[list[Any], list[Any]]:
    """Row and column at which a tile's outputs begin; how many of them an earlier tile has made."""
    begins = [
        code.mul(place, length)
        for place, length in zip(code.divided(tile, f["tiles_wide"]), (tall, wide), strict=True)
    ]
    last = code.sub(f["height"], tall), code.sub(f["width"], wide)
    corner = [code.least(first, end) for first, end in zip(begins, last, strict=True)]
    return corner, [code.sub(first, at) for first, at in zip(begins, corner, strict=True)]


def _cell(code: Code, f: Facts, which: str, row: Any, column: Any) -> Any:
    """The address of a cell of the source, the target, or what is added."""
    down, right = code.mul(row, f[f"{which}_row"]), code.mul(column, f[f"{which}_cell"])
    return code.add(f[which], down, right)


def _limited(code: Code, f: Facts) -> Callable[[Any], Any]:
    """The ReLU; of limits that are infinite, nothing."""
    floor, ceiling = code.everywhere(f["limits"]), code.everywhere(code.add(f["limits"], FLOAT))
    return lambda value: code.smaller(ceiling, code.larger(floor, value))


@cache
def transform(points: Points) -> Callable[..., None]:
    """(facts, first tile, tiles, patches, rows of patches): inputs as the products take them."""
    lanes, n = processor().lanes, points.n
    code = Code("transform", 5, lanes)
    f, (_, first, count, out, rows) = _facts(code), code.arguments
    a_point = code.mul(rows, f["channels"], FLOAT)

    def one(i: Any, _: list[Any]) -> Sequence[Any]:
        corner, _ = _corner(code, f, code.add(first, i), points.m, points.m)
        source = _cell(code, f, "source", *corner)
        target = code.add(out, code.mul(i, f["channels"], FLOAT))

        def some(at: Any, mask: Any) -> None:
            cells = []
            for y in range(n):
                line = code.add(source, at, code.mul(f["source_row"], y))
                cells.append(
                    [
                        code.load(code.add(line, code.mul(f["source_cell"], x)), mask)
                        for x in range(n)
                    ]
                )
            down = [
                [code.linear(line, column) for line in points.inputs]
                for column in zip(*cells, strict=True)
            ]
            place = code.add(target, at)
            for y in range(n):
                across = [column[y] for column in down]
                for x in range(n):
                    value = code.linear(points.inputs[x], across)
                    code.store(value, code.add(place, code.mul(a_point, y * n + x)), mask)

        code.channels(f["channels"], some)
        return ()

    code.repeat(count, one)
    return code.compiled()


def tile(
    code: Code, rows: int, start: Any, row: Any, depth: Any, panel: Any, sums: Sequence[Any]
) -> list[Any]:
    """A tile of a product in registers: the sums after ``depth`` columns, and the panel's end.

    ``start`` is the address of the first row, ``row`` the bytes from one to the next. Five rows
    share a register of addresses: more do not fit into an instruction.
    """
    lanes, groups = code.lanes, -(rows // -5)
    starts = [code.add(start, code.mul(row, 5 * g)) for g in range(groups)]
    three = code.mul(row, 3)

    def step(_: Any, carried: list[Any]) -> Sequence[Any]:
        *sums, at = carried[: 2 * rows + 1]
        lines = carried[2 * rows + 1 :]
        right = [code.load(code.add(at, v * lanes * FLOAT)) for v in range(2)]
        for r in range(rows):
            by = (0, row, code.mul(row, 2), three, code.mul(row, 4))[r % 5]
            left = code.everywhere(code.add(lines[r // 5], by) if r % 5 else lines[r // 5])
            for v in range(2):
                sums[2 * r + v] = code.fma(left, right[v], sums[2 * r + v])
        further = [code.add(line, FLOAT) for line in lines]
        return [*sums, code.add(at, 2 * lanes * FLOAT), *further]

    passed = code.repeat(depth, step, [*sums, panel, *starts])
    return passed[: 2 * rows + 1]


@cache
def multiply(points: int) -> Callable[..., None]:
    """(facts, rows, first panel, panels, patches, products): all points' products."""
    machine = processor()
    code = Code("multiply", 6, machine.lanes)
    f, (_, rows, first, panels, patches, products) = _facts(code), code.arguments
    depth, wide = f["channels"], machine.panel * FLOAT
    line = code.mul(depth, FLOAT)
    size, width = code.mul(depth, wide), code.mul(panels, wide)

    def point(i: Any, _: list[Any]) -> Sequence[Any]:
        left = code.add(patches, code.mul(i, rows, line))
        right = code.add(f["weights"], code.mul(code.add(code.mul(i, f["panels"]), first), size))
        out = code.add(products, code.mul(i, rows, width))

        def panel(p: Any, _: list[Any]) -> Sequence[Any]:
            def some(t: Any, _: list[Any]) -> Sequence[Any]:
                start, at = code.add(left, code.mul(t, line)), code.add(right, code.mul(p, size))
                sums = [code.zero()] * (2 * machine.rows)
                *sums, _ = tile(code, machine.rows, start, line, depth, at, sums)
                for r, v in product(range(machine.rows), range(2)):
                    place = code.add(out, code.mul(code.add(t, r), width), code.mul(p, wide))
                    code.store(sums[2 * r + v], code.add(place, v * code.lanes * FLOAT))
                return ()

            code.repeat(rows, some, step=machine.rows)
            return ()

        code.repeat(panels, panel)
        return ()

    code.repeat(points, point)
    return code.compiled()


@cache
def finish(points: Points, *, added: bool, pool: bool) -> Callable[..., None]:
    """(facts, first tile, tiles, rows of products, first panel, panels, products): the outputs."""
    machine = processor()
    code = Code("finish", 7, machine.lanes)
    f, (_, first, count, rows, panel, panels, products) = _facts(code), code.arguments
    wide = machine.panel * FLOAT
    width, begin = code.mul(panels, wide), code.mul(panel, wide)
    a_point = code.mul(rows, width)
    # Filters of these panels: the last may hold fewer than its vectors.
    left = code.sub(f["filters"], code.mul(panel, machine.panel))
    filters = code.least(code.mul(panels, machine.panel), left)
    limited = _limited(code, f)

    def one(i: Any, _: list[Any]) -> Sequence[Any]:
        corner, made_before = _corner(code, f, code.add(first, i), points.m, points.m)
        start = code.add(products, code.mul(i, width))

        def outputs(at: Any, mask: Any) -> list[list[Any]]:
            n, m = points.n, points.m
            cells = [
                [code.load(code.add(start, at, code.mul(a_point, y * n + x))) for x in range(n)]
                for y in range(n)
            ]
            down = [
                [code.linear(line, column) for line in points.outputs]
                for column in zip(*cells, strict=True)
            ]
            bias = code.load(code.add(f["bias"], begin, at))
            made = []
            for y in range(m):
                across = [column[y] for column in down]
                line = [code.plus(code.linear(points.outputs[x], across), bias) for x in range(m)]
                if added:
                    places = [cell("added", corner, y, x, at) for x in range(m)]
                    line = [
                        code.plus(v, code.load(place, mask))
                        for v, place in zip(line, places, strict=True)
                    ]
                made.append([limited(v) for v in line])
            return made

        def cell(which: str, corner: Sequence[Any], y: int, x: int, at: Any) -> Any:
            place = _cell(code, f, which, code.add(corner[0], y), code.add(corner[1], x))
            return code.add(place, begin, at)

        def plain(at: Any, mask: Any) -> None:
            made = outputs(at, mask)
            for y, x in product(range(points.m), repeat=2):
                with new(y, x):
                    code.store(made[y][x], cell("target", corner, y, x, at), mask)

        def new(y: int, x: int) -> AbstractContextManager[None]:
            # An output is rounded as its place in a tile has it: the first tile's stays.
            down, right = (
                code.less(before, n + 1) for before, n in zip(made_before, (y, x), strict=True)
            )
            return code.where(code.b.and_(down, right))

        def pooled(phases: Sequence[int], at: Any, mask: Any) -> None:
            # A tile that begins in the middle of a pool's window gives its second and third row
            # to one window, and its fourth, the map's last, to another.
            made = outputs(at, mask)
            rows, columns = (((1, 2), (3, 3)) if p else ((0, 1), (2, 3)) for p in phases)
            where = [code.divided(code.add(c, 1), 2)[0] for c in corner]
            for y, x in product(range(2), repeat=2):
                cells = [made[r][c] for r, c in product(rows[y], columns[x])]
                best = code.larger(code.larger(cells[0], cells[1]), code.larger(cells[2], cells[3]))
                with new(rows[y][0], columns[x][0]):
                    code.store(best, cell("target", where, y, x, at), mask)

        if not pool:
            code.channels(filters, plain)
            return ()
        odd = [code.divided(c, 2)[1] for c in corner]
        for phases in product((0, 1), repeat=2):
            same = [
                code.b.icmp_signed("==", o, code.n(p)) for o, p in zip(odd, phases, strict=True)
            ]
            with code.where(code.b.and_(*same)):
                code.channels(filters, partial(pooled, phases))
        return ()

    code.repeat(count, one)
    return code.compiled()


@cache
def direct(rows: int, *, added: bool) -> Callable[..., None]:
    """(facts, first tile, tiles, first panel, panels): a convolution as one product, tap by tap.

    A tile is ``rows`` cells of a row of the output by a panel of filters.
    """
    machine = processor()
    code = Code("direct", 5, machine.lanes)
    f, (_, first, tiles, panel, panels) = _facts(code), code.arguments
    limited, wide = _limited(code, f), machine.panel * FLOAT
    size = code.mul(f["taps_down"], f["taps_right"], f["channels"], wide)

    def one(p: Any, t: Any) -> None:
        corner, _ = _corner(code, f, code.add(first, t), 1, rows)
        source = _cell(code, f, "source", *corner)
        begin = code.mul(p, wide)
        bias = [code.load(code.add(f["bias"], begin, v * machine.lanes * FLOAT)) for v in range(2)]

        def down(y: Any, carried: list[Any]) -> Sequence[Any]:
            line = code.add(source, code.mul(y, f["tap_row"]))

            def right(x: Any, carried: list[Any]) -> Sequence[Any]:
                start = code.add(line, code.mul(x, f["tap_cell"]))
                *sums, at = carried
                return tile(code, rows, start, f["source_cell"], f["channels"], at, sums)

            return code.repeat(f["taps_right"], right, carried)

        weights = code.add(f["weights"], code.mul(p, size))
        *sums, _ = code.repeat(f["taps_down"], down, [*(bias * rows), weights])
        left = code.sub(f["filters"], code.mul(p, machine.panel))

        def write(mask: Callable[[int], Any]) -> None:
            for r, v in product(range(rows), range(2)):
                column, at = code.add(corner[1], r), code.add(begin, v * machine.lanes * FLOAT)
                value = sums[2 * r + v]
                if added:
                    place = code.add(_cell(code, f, "added", corner[0], column), at)
                    value = code.plus(value, code.load(place, mask(v)))
                place = code.add(_cell(code, f, "target", corner[0], column), at)
                code.store(limited(value), place, mask(v))

        full = code.less(machine.panel - 1, left)
        with code.where(full):
            write(lambda _: None)
        with code.where(code.b.not_(full)):
            masks = [code.mask(code.sub(left, v * machine.lanes)) for v in range(2)]
            write(masks.__getitem__)

    def all_tiles(i: Any, _: list[Any]) -> Sequence[Any]:
        def each(t: Any, _: list[Any]) -> Sequence[Any]:
            one(code.add(panel, i), t)
            return ()

        code.repeat(tiles, each)
        return ()

    code.repeat(panels, all_tiles)
    return code.compiled()


@cache
def depthwise(kernel: int, *, added: bool) -> Callable[..., None]:
    """(facts, first row, rows): a filter of its own for each channel."""
    code = Code("depthwise", 3, processor().lanes)
    f, (_, first, rows) = _facts(code), code.arguments
    limited = _limited(code, f)
    wide = code.mul(f["channels"], FLOAT)

    def row(i: Any, _: list[Any]) -> Sequence[Any]:
        y = code.add(first, i)

        def some(at: Any, mask: Any) -> None:
            taps = [
                code.load(code.add(f["weights"], at, code.mul(wide, t)), mask)
                for t in range(kernel**2)
            ]
            bias = code.load(code.add(f["bias"], at), mask)

            def cell(x: Any, _: list[Any]) -> Sequence[Any]:
                source, total = code.add(_cell(code, f, "source", y, x), at), bias
                for t, (down, right) in enumerate(product(range(kernel), repeat=2)):
                    moved = code.add(code.mul(f["tap_row"], down), code.mul(f["tap_cell"], right))
                    total = code.fma(code.load(code.add(source, moved), mask), taps[t], total)
                if added:
                    total = code.plus(
                        total, code.load(code.add(_cell(code, f, "added", y, x), at), mask)
                    )
                code.store(limited(total), code.add(_cell(code, f, "target", y, x), at), mask)
                return ()

            code.repeat(f["width"], cell)

        code.channels(f["channels"], some)
        return ()

    code.repeat(rows, row)
    return code.compiled()
