"""What mean field does to pixels, in machine code; a pixel's labels are padded to vectors."""

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
FACTS = ("starts", "columns", "factors", "values", "out", "inner")  # what a product is told
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

    def times(self, values: Floats, out: Floats, inner: int = 1) -> Callable[[int, int], None]:
        """``out = self @ values`` for rows from the first to the last.

        A row is a pixel, or ``inner`` pixels that stand together, each for itself.
        """
        arrays = (*self[:3], values, out)
        facts = np.array([*(array.ctypes.data for array in arrays), inner], np.int64)
        # Made here: LLVM works in one thread.
        multiply = product(values.shape[1] // LANES, self.entries)

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
    *matrix, values, out, inner = code.facts(code.arguments[0], len(FACTS))
    size, add, mul = FLOAT * LANES * vectors, code.add, code.mul

    def row(i: Any, _: list[Any]) -> Sequence[Any]:
        def pixel(j: Any, _: list[Any]) -> Sequence[Any]:
            def entry(column: Any, factor: Any, sums: list[Any]) -> list[Any]:
                return _more(code, factor, add(values, mul(add(mul(column, inner), j), size)), sums)

            sums = _entries(code, matrix, i, entry, [code.zero()] * vectors, entries)
            _store(code, add(out, mul(add(mul(i, inner), j), size)), sums)
            return ()

        code.repeat(inner, pixel)
        return ()

    code.repeat(code.arguments[2], row, first=code.arguments[1])
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
            places = [add(mul(n, FLOAT * sides), FLOAT * i) for i in range(sides)]
            corners = [mul(_index(code, add(f["corners"], place)), size) for place in places]
            factors = [code.everywhere(add(f["shares"], place)) for place in places]
            sums = _load(code, add(f["start"], mul(n, f["start_step"])), vectors)
            for corner, factor in zip(corners, factors, strict=True):
                sums = _more(code, factor, add(f["heard"], corner), sums)
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
            for corner, factor in zip(corners, factors, strict=True):
                _say(code, factor, shares, add(f["said"], corner))
            say = lambda i, by, _: _say(code, by, shares, add(said, mul(i, size)))  # noqa: E731
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


def _say(code: Code, factor: Any, shares: Sequence[Any], place: Any) -> list[Any]:
    """What is there, and ``factor`` times ``shares``."""
    pairs = zip(shares, _load(code, place, len(shares)), strict=True)
    _store(code, place, [code.fma(factor, share, old) for share, old in pairs])
    return []


def _load(code: Code, place: Any, vectors: int) -> list[Any]:
    return [code.load(code.add(place, FLOAT * LANES * i)) for i in range(vectors)]


def _store(code: Code, place: Any, row: Sequence[Any]) -> None:
    for i, vector in enumerate(row):
        code.store(vector, code.add(place, FLOAT * LANES * i))
