"""Sparse products of pixels in machine code; a pixel's labels are padded to whole vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.engine.vectors import FLOAT, Code

Floats = NDArray[np.float32]

LANES = 8  # numbers of a vector: of 16 a third would be padding at 21 labels
FACTS = (  # what a product is told, in this order
    *("starts", "columns", "factors", "values", "before", "before_step", "out"),
    *("inner", "row_outer", "row_inner", "at_outer", "at_inner", "stride"),
)


class Matrix(NamedTuple):
    """A sparse one: where the entries of each row begin, their columns, their factors."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    factors: Floats

    def times(
        self, values: Floats, out: Floats, before: Floats | None = None, **places: int
    ) -> Callable[[int, int], None]:
        """``out = before + self @ values`` for rows from the first number to the last.

        Rows and columns are pixels, or ``places`` say for each outer number of those and each
        ``inner`` one which row is taken, and where its pixel 0 is; pixels are ``stride`` apart.
        """
        width = values.shape[1]
        start = np.zeros(width, np.float32) if before is None else before
        arrays = {**self._asdict(), "values": values, "out": out, "before": start}
        given = {"inner": 1, "row_outer": 1, "stride": 1, **places}
        given |= {name: array.ctypes.data for name, array in arrays.items()}
        given["before_step"] = FLOAT * (start.size > width) * width
        facts = np.array([given.get(name, 0) for name in FACTS], np.int64)
        multiply = product(width // LANES)  # made here: LLVM works in one thread

        def work(first: int, last: int, _owners: object = arrays) -> None:
            multiply(facts.ctypes.data, first, last)

        return work


@cache
def product(vectors: int) -> Callable[..., None]:
    """(facts, first, last): see ``Matrix.times``; a pixel's sums stay in registers."""
    code = Code("product", 3, LANES)
    f = dict(zip(FACTS, code.facts(code.arguments[0], len(FACTS)), strict=True))
    size, add, mul = FLOAT * LANES * vectors, code.add, code.mul
    index = code.ir.IntType(32).as_pointer()

    def row(place: Any) -> list[Any]:
        return [add(place, FLOAT * LANES * n) for n in range(vectors)]

    def outer(i: Any, _: list[Any]) -> Sequence[Any]:
        def inner(j: Any, _: list[Any]) -> Sequence[Any]:
            which = add(mul(i, f["row_outer"]), mul(j, f["row_inner"]))
            at = add(mul(i, f["at_outer"]), mul(j, f["at_inner"]))
            begin, end = code.facts(add(f["starts"], mul(which, 8)), 2)
            values, step = add(f["values"], mul(at, size)), mul(f["stride"], size)

            def entry(k: Any, sums: list[Any]) -> Sequence[Any]:
                column = code.b.load(code.b.inttoptr(add(f["columns"], mul(k, 4)), index))
                place = add(values, mul(code.b.sext(column, code.whole), step))
                factor = code.everywhere(add(f["factors"], mul(k, FLOAT)))
                return [
                    code.fma(factor, code.load(p), s) for p, s in zip(row(place), sums, strict=True)
                ]

            here = add(at, mul(which, f["stride"]))
            before = row(add(f["before"], mul(here, f["before_step"])))
            sums = code.repeat(end, entry, [*map(code.load, before)], first=begin)
            for total, place in zip(sums, row(add(f["out"], mul(here, size))), strict=True):
                code.store(total, place)
            return ()

        code.repeat(f["inner"], inner)
        return ()

    code.repeat(code.arguments[2], outer, first=code.arguments[1])
    return code.compiled()
