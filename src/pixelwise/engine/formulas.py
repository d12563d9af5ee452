"""Formulas of vectors, as they are written on paper: what kernels for training are made of.

``vectors.py`` has the instructions; here a vector knows plus, times, exponential and logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pixelwise.engine.vectors import FLOAT, Code

# Cephes (expf.c, logf.c): polynomials of least error, and ln 2 in two parts.
EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1),
    *(1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
LN2 = (0.693359375, -2.12194440e-4)
LEAST = -87.0  # e to it is the smallest normal number
MAGIC = 1.5 * 2**23  # added, a number is rounded to a whole one, which stands in its last bits
HALF_ROOT = 0x3F3504F3  # bits of sqrt(1/2)


class Vector:
    """A vector of a kernel that is being written; numbers beside it stand for all lanes."""

    def __init__(self, code: Code, value: Any) -> None:
        self.code, self.value = (
            code,
            code.same(float(value)) if isinstance(value, int | float) else value,
        )

    def _with(self, operation: Any, *others: Any) -> Vector:
        values = [o.value if isinstance(o, Vector) else self.code.same(float(o)) for o in others]
        return Vector(self.code, operation(self.value, *values))

    def __add__(self, other: Vector | float) -> Vector:
        return self._with(self.code.b.fadd, other)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._with(self.code.b.fsub, other)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._with(self.code.b.fmul, other)

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._with(self.code.b.fdiv, other)

    def times_plus(self, factor: Vector | float, more: Vector | float) -> Vector:
        """self * factor + more, rounded once."""
        return self._with(self.code.fma, factor, more)

    def at_least(self, other: Vector | float) -> Vector:
        """The larger of two; what is not a number stays, if it is this one."""
        return self._with(lambda a, b: self.code.larger(b, a), other)

    def when(self, sign: str, other: Vector | float, yes: Any, no: Any = 0.0) -> Vector:
        """``yes`` in lanes where the comparison holds, else ``no``."""

        def chosen(a: Any, b: Any, yes: Any, no: Any) -> Any:
            return self.code.b.select(self.code.b.fcmp_ordered(sign, a, b), yes, no)

        return self._with(chosen, other, yes, no)

    def exp(self) -> Vector:
        """e to it, of numbers that are not above 0; what is not a number stays."""
        b, whole = self.code.b, self.code.ir.VectorType(self.code.ir.IntType(32), self.code.lanes)
        x = self.at_least(LEAST)
        shifted = x.times_plus(1.44269504088896341, MAGIC)
        for part in LN2:
            x = (shifted - MAGIC).times_plus(-part, x)
        total = (_polynomial(EXP, x) * x).times_plus(x, x) + 1.0
        by = b.shl(b.bitcast(shifted.value, whole), whole([23] * self.code.lanes))
        bits = b.add(b.bitcast(total.value, whole), by)
        return Vector(self.code, b.bitcast(bits, self.code.vector))

    def log(self) -> Vector:
        """The natural logarithm of numbers from 1 on; what is not a number stays."""
        b, whole = self.code.b, self.code.ir.VectorType(self.code.ir.IntType(32), self.code.lanes)
        bits, by = b.bitcast(self.value, whole), whole([23] * self.code.lanes)
        turns = b.ashr(b.sub(bits, whole([HALF_ROOT] * self.code.lanes)), by)
        rest = b.bitcast(b.sub(bits, b.shl(turns, by)), self.code.vector)  # up to sqrt(2)
        f, n = Vector(self.code, rest) - 1.0, Vector(self.code, b.sitofp(turns, self.code.vector))
        total = n.times_plus(LN2[1], _polynomial(LOG, f) * f * f * f)
        return n.times_plus(LN2[0], (f * f).times_plus(-0.5, total) + f)


def load(code: Code, place: Any) -> Vector:
    """The vector that stands there."""
    return Vector(code, code.load(place))


def gather(code: Code, value: Vector, place: Any) -> None:
    """Adds to what stands there."""
    code.store((load(code, place) + value).value, place)


def number(code: Code, numbers: Any, i: Any) -> Vector:
    """One of some numbers in all lanes."""
    return Vector(code, code.everywhere(code.add(numbers, code.mul(i, FLOAT))))


def _polynomial(factors: Sequence[float], x: Vector) -> Vector:
    """By Horner's rule, the highest power first."""
    total = Vector(x.code, factors[0])
    for factor in factors[1:]:
        total = total.times_plus(x, factor)
    return total
