"""What mean field does to each pixel, in machine code: sparse products, and a whole iteration.

The labels' numbers of a pixel stand together, padded to whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.engine.formulas import Vector
from pixelwise.engine.vectors import FLOAT, Code

Floats = NDArray[np.float32]

LANES = 8  # numbers of a vector: of 16 a third would be padding at 21 labels
FACTS = (  # what a product is told, in this order
    *("starts", "columns", "factors", "values", "before", "before_step", "out"),
    *("inner", "row_outer", "row_inner", "at_outer", "at_inner", "stride"),
)
SWEEP_FACTS = (
    *("start", "start_step", "own", "rewards", "labels", "width"),
    *("corners", "shares", "heard", "said", "cells", "cells_heard", "cells_said"),
    *("up_starts", "up_columns", "up_factors", "down_starts", "down_columns", "down_factors"),
)


class Matrix(NamedTuple):
    """A sparse one: where the entries of each row begin, their columns, their factors."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    factors: Floats
    entries: int = 0
    """In each row, where all have as many: that is faster."""

    @classmethod
    def even(cls, columns: NDArray[np.int32], factors: Floats, entries: int) -> Matrix:
        """One of which each row has as many ``entries``."""
        return cls(np.arange(0, len(columns) + 1, entries), columns, factors, entries)

    def times(
        self, values: Floats, out: Floats, before: Floats | None = None, **places: int
    ) -> Callable[[int, int], None]:
        """``out = before + self @ values`` for rows from the first number to the last.

        Rows and columns are pixels, or ``places`` say for each outer number of those and each
        ``inner`` one which row is taken, and where its pixel 0 is; pixels are ``stride`` apart.
        """
        width = values.shape[1]
        start = np.zeros(width, np.float32) if before is None else before
        arrays = {**self.arrays(), "values": values, "out": out, "before": start}
        given = {"inner": 1, "row_outer": 1, "stride": 1, **places}
        given |= {name: array.ctypes.data for name, array in arrays.items()}
        given["before_step"] = FLOAT * (start.size > width) * width
        facts = np.array([given.get(name, 0) for name in FACTS], np.int64)
        multiply = product(width // LANES, self.entries)  # made here: LLVM works in one thread

        def work(first: int, last: int, _owners: object = arrays) -> None:
            multiply(facts.ctypes.data, first, last)

        return work

    def arrays(self, way: str = "") -> dict[str, NDArray[Any]]:
        """By name, after ``way``."""
        return dict(zip([way + name for name in FACTS[:3]], self[:3], strict=True))


def sparse(full: Floats) -> Matrix:
    """A matrix as one, without its zeros."""
    starts = np.append(0, np.count_nonzero(full, 1).cumsum())
    return Matrix(starts, np.nonzero(full)[1].astype(np.int32), full[full != 0])


@cache
def product(vectors: int, entries: int) -> Callable[..., None]:
    """(facts, first, last): see ``Matrix.times``; a pixel's sums stay in registers."""
    code = Code("product", 3, LANES)
    f = dict(zip(FACTS, code.facts(code.arguments[0], len(FACTS)), strict=True))
    size, add, mul = FLOAT * LANES * vectors, code.add, code.mul

    def outer(i: Any, _: list[Any]) -> Sequence[Any]:
        def inner(j: Any, _: list[Any]) -> Sequence[Any]:
            which = add(mul(i, f["row_outer"]), mul(j, f["row_inner"]))
            at = add(mul(i, f["at_outer"]), mul(j, f["at_inner"]))
            values, step = add(f["values"], mul(at, size)), mul(f["stride"], size)
            here = add(at, mul(which, f["stride"]))
            start = _load(code, add(f["before"], mul(here, f["before_step"])), vectors)

            def entry(column: Any, factor: Any, sums: list[Any]) -> list[Any]:
                return _more(code, factor, add(values, mul(column, step)), sums)

            sums = _entries(code, [f[name] for name in FACTS[:3]], which, entry, start, entries)
            _store(code, add(f["out"], mul(here, size)), sums)
            return ()

        code.repeat(f["inner"], inner)
        return ()

    code.repeat(code.arguments[2], outer, first=code.arguments[1])
    return code.compiled()


@cache
def sweep(vectors: int, sides: int, full: bool) -> Callable[..., None]:
    """(facts, first row, last, out, bytes of a row in out): an iteration of mean field.

    A pixel hears what its ``sides`` corners and the cells of its row have heard of others, adds
    ``start``, and its softmax is said to them at once, and written to ``out``. If ``full``, what
    was heard is first weighed by ``rewards`` (labels, labels), and added to ``own``.
    """
    code = Code("sweep", 5, LANES)
    f = dict(zip(SWEEP_FACTS, code.facts(code.arguments[0], len(SWEEP_FACTS)), strict=True))
    size, add, mul = FLOAT * LANES * vectors, code.add, code.mul
    up, down = ([f[f"{way}_{name}"] for name in FACTS[:3]] for way in ("up", "down"))

    def row(y: Any, _: list[Any]) -> Sequence[Any]:
        cells = mul(y, f["cells"], size)
        heard, said = add(f["cells_heard"], cells), add(f["cells_said"], cells)
        written = add(code.arguments[3], mul(y, code.arguments[4]))

        def pixel(x: Any, _: list[Any]) -> Sequence[Any]:
            n, out = add(mul(y, f["width"]), x), add(written, mul(x, size))
            near = add(mul(n, FLOAT * sides))
            seats = [
                (
                    mul(_index(code, add(f["corners"], near, FLOAT * i)), size),
                    code.everywhere(add(f["shares"], near, FLOAT * i)),
                )
                for i in range(sides)
            ]
            sums = _load(code, add(f["start"], mul(n, f["start_step"])), vectors)
            for seat, share in seats:
                sums = _more(code, share, add(f["heard"], seat), sums)
            hear = lambda i, by, sums: _more(code, by, add(heard, mul(i, size)), sums)  # noqa: E731
            sums = _entries(code, up, x, hear, sums)
            if full:
                _store(code, out, sums)
                own = _load(code, add(f["own"], mul(n, size)), vectors)

                def weigh(label: Any, sums: list[Any]) -> list[Any]:
                    factor = code.everywhere(add(out, mul(label, FLOAT)))
                    return _more(code, factor, add(f["rewards"], mul(label, size)), sums)

                sums = code.repeat(f["labels"], weigh, own)
            shares = softmax(code, sums)
            _store(code, out, shares)

            for seat, share in seats:
                _say(code, share, shares, add(f["said"], seat))

            def say(column: Any, factor: Any, _: list[Any]) -> list[Any]:
                _say(code, factor, shares, add(said, mul(column, size)))
                return []

            _entries(code, down, x, say, [])
            return ()

        code.repeat(f["width"], pixel)
        return ()

    code.repeat(code.arguments[2], row, first=code.arguments[1])
    return code.compiled()


def softmax(code: Code, row: Sequence[Any]) -> list[Any]:
    """Of the numbers of several vectors together; none is below e^-60, where floats grow slow."""

    def folded(combine: Callable[[Any, Any], Any], row: Sequence[Any]) -> Any:
        one, kind = reduce(combine, row), code.ir.VectorType(code.ir.IntType(32), LANES)
        for apart in (4, 2, 1):
            order = code.ir.Constant(kind, [(i + apart) % LANES for i in range(LANES)])
            one = combine(one, code.b.shuffle_vector(one, one, order))
        return one

    top = Vector(code, folded(code.larger, row))
    powers = [(Vector(code, value) - top).at_least(-60.0).exp() for value in row]
    share = Vector(code, 1.0) / Vector(code, folded(code.plus, [p.value for p in powers]))
    return [(power * share).value for power in powers]


def _entries(
    code: Code,
    matrix: Sequence[Any],
    row: Any,
    body: Callable[[Any, Any, list[Any]], list[Any]],
    carried: list[Any],
    entries: int = 0,
) -> list[Any]:
    """``body`` for column and factor of each entry of a row; of ``entries``, if given."""
    starts, columns, factors = matrix

    def entry(k: Any, carried: list[Any]) -> list[Any]:
        at = code.mul(k, FLOAT)
        column = _index(code, code.add(columns, at))
        return body(column, code.everywhere(code.add(factors, at)), carried)

    for i in range(entries):
        carried = entry(code.add(code.mul(row, entries), i), carried)
    if entries:
        return carried
    begin, end = code.facts(code.add(starts, code.mul(row, 2 * FLOAT)), 2)
    return code.repeat(end, entry, carried, first=begin)


def _index(code: Code, place: Any) -> Any:
    kind = code.ir.IntType(32).as_pointer()
    return code.b.sext(code.b.load(code.b.inttoptr(place, kind)), code.whole)


def _more(code: Code, factor: Any, place: Any, sums: Sequence[Any]) -> list[Any]:
    """``sums`` plus ``factor`` times what is there."""
    pairs = zip(_load(code, place, len(sums)), sums, strict=True)
    return [code.fma(factor, value, total) for value, total in pairs]


def _say(code: Code, factor: Any, shares: Sequence[Any], place: Any) -> None:
    """What is there, and ``factor`` times ``shares``."""
    pairs = zip(shares, _load(code, place, len(shares)), strict=True)
    _store(code, place, [code.fma(factor, share, old) for share, old in pairs])


def _load(code: Code, place: Any, vectors: int) -> list[Any]:
    return [code.load(code.add(place, FLOAT * LANES * i)) for i in range(vectors)]


def _store(code: Code, place: Any, row: Sequence[Any]) -> None:
    for i, vector in enumerate(row):
        code.store(vector, code.add(place, FLOAT * LANES * i))
