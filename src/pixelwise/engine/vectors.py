"""Machine code for this processor without a compiler: functions written in LLVM's own language.

LLVM comes with numba (llvmlite). What is written here says each vector and each loop itself, so
that nothing is left to an optimiser but the choice of registers and instructions; the same text
becomes AVX-512, AVX2 or NEON by the number of lanes.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

FLOAT = 4
"""Bytes of a number."""


@dataclass(frozen=True)
class Processor:
    """What the vectors of a processor allow."""

    name: str
    """Of its instructions."""
    lanes: int
    """Float32 numbers of a vector."""
    rows: int
    """Of a tile of a matrix product, beside two vectors: what the registers hold."""

    @property
    def panel(self) -> int:
        """Columns of a tile."""
        return 2 * self.lanes


@cache
def processor() -> Processor:
    """What this processor can do.

    Raises:
        ImportError, RuntimeError: LLVM is not there, or has no code for it.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Processor("AVX-512", 16, 14)  # of 32 registers 28 are sums
    if features.get("avx2") and features.get("fma"):
        return Processor("AVX2", 8, 6)  # of 16 registers 12 are sums
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return Processor("NEON", 4, 8)  # of 32 registers 16 are sums
    raise RuntimeError("the processor has neither AVX2 nor NEON")


_number = itertools.count()


class Code:
    """A function of whole numbers that is being written; addresses are whole numbers too."""

    def __init__(self, name: str, arguments: int, lanes: int) -> None:
        from llvmlite import ir

        self.ir: Any = ir
        self.whole, self.number = ir.IntType(64), ir.FloatType()
        self.vector = ir.VectorType(self.number, lanes)
        self.lanes, self.module = lanes, ir.Module(name=name)
        kind = ir.FunctionType(ir.VoidType(), [self.whole] * arguments)
        # One engine holds all functions, and knows them by their names.
        self.function = ir.Function(self.module, kind, name=f"{name}{next(_number)}")
        self.b: Any = ir.IRBuilder(self.function.append_basic_block())
        self.arguments = list(self.function.args)

    # -- whole numbers ------------------------------------------------------------------------
    def n(self, value: Any) -> Any:
        """A whole number of the code."""
        return self.ir.Constant(self.whole, value) if isinstance(value, int) else value

    def add(self, *values: Any) -> Any:
        """Their sum."""
        return reduce(self.b.add, map(self.n, values))

    def mul(self, *values: Any) -> Any:
        """Their product."""
        return reduce(self.b.mul, map(self.n, values))

    def sub(self, a: Any, b: Any) -> Any:
        """Their difference."""
        return self.b.sub(self.n(a), self.n(b))

    def less(self, a: Any, b: Any) -> Any:
        """Whether a < b."""
        return self.b.icmp_signed("<", self.n(a), self.n(b))

    def least(self, a: Any, b: Any) -> Any:
        """The smaller."""
        a, b = self.n(a), self.n(b)
        return self.b.select(self.less(a, b), a, b)

    def most(self, a: Any, b: Any) -> Any:
        """The larger."""
        a, b = self.n(a), self.n(b)
        return self.b.select(self.less(a, b), b, a)

    def divided(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Quotient and remainder of numbers that are not negative."""
        return self.b.udiv(self.n(a), self.n(b)), self.b.urem(self.n(a), self.n(b))

    def facts(self, address: Any, count: int) -> list[Any]:
        """Whole numbers that stand one after the other in memory."""
        place = self.b.inttoptr(address, self.whole.as_pointer())
        return [self.b.load(self.b.gep(place, [self.n(i)])) for i in range(count)]

    # -- order --------------------------------------------------------------------------------
    def repeat(
        self,
        count: Any,
        body: Callable[[Any, list[Any]], Sequence[Any]],
        carried: Sequence[Any] = (),
        *,
        first: Any = 0,
        step: int = 1,
    ) -> list[Any]:
        """``body`` from ``first`` on up to ``count``, with what it passes from turn to turn."""
        before, head = self.b.block, self.function.append_basic_block()
        inside, after = (self.function.append_basic_block() for _ in range(2))
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(self.whole)
        passed = [self.b.phi(value.type) for value in carried]
        self.b.cbranch(self.less(index, count), inside, after)
        self.b.position_at_end(inside)
        results = list(body(index, passed) or ())
        further = self.add(index, step)
        index.add_incoming(self.n(first), before)
        index.add_incoming(further, self.b.block)
        for phi, start, result in zip(passed, carried, results, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(result, self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)
        return passed

    def each(self, count: Any, *, first: Any = 0, step: int = 1) -> Callable[..., object]:
        """A decorator: what is done for each number from ``first`` on up to ``count``."""
        return lambda body: self.repeat(count, lambda i, _: body(i) or (), first=first, step=step)

    @contextmanager
    def where(self, condition: Any) -> Iterator[None]:
        """What is written within is done where the condition holds."""
        with self.b.if_then(condition):
            yield

    # -- vectors ------------------------------------------------------------------------------
    def _at(self, address: Any, kind: Any) -> Any:
        return self.b.inttoptr(self.n(address), kind.as_pointer())

    def load(self, address: Any, mask: Any = None) -> Any:
        """A vector; of lanes that the mask leaves out zero."""
        place = self._at(address, self.vector)
        if mask is None:
            return self.b.load(place, align=FLOAT)
        zero = self.ir.Constant(self.vector, None)
        call = self._intrinsic("llvm.masked.load", self.vector, [place.type, *self._masks()])
        return self.b.call(call, [place, self.ir.Constant(self.ir.IntType(32), FLOAT), mask, zero])

    def store(self, value: Any, address: Any, mask: Any = None) -> None:
        """A vector of any kind, or the lanes of a mask."""
        place, size = self._at(address, value.type), FLOAT
        if value.type.element != self.number:
            size = value.type.element.width // 8
        if mask is None:
            self.b.store(value, place, align=size)
            return
        kinds = [value.type, place.type, *self._masks()[:2]]
        call = self._intrinsic("llvm.masked.store", self.ir.VoidType(), kinds)
        self.b.call(call, [value, place, self.ir.Constant(self.ir.IntType(32), size), mask])

    def _masks(self) -> list[Any]:
        bits = self.ir.VectorType(self.ir.IntType(1), self.lanes)
        return [self.ir.IntType(32), bits, self.vector]

    def _intrinsic(self, name: str, result: Any, kinds: Sequence[Any]) -> Any:
        element = (kinds if "store" in name else [self.vector])[0].element
        kind = "f32" if element == self.number else str(element)
        full = f"{name}.v{self.lanes}{kind}" + (".p0" if "masked" in name else "")
        known = self.module.globals.get(full)
        kind = self.ir.FunctionType(result, kinds)
        return known or self.ir.Function(self.module, kind, name=full)

    def mask(self, count: Any) -> Any:
        """The first ``count`` lanes."""
        kind = self.ir.VectorType(self.whole, self.lanes)
        lanes = self.ir.Constant(kind, list(range(self.lanes)))
        return self.b.icmp_signed("<", lanes, self.spread(self.n(count), kind))

    def spread(self, value: Any, kind: Any = None) -> Any:
        """One number in all lanes."""
        kind = kind or self.vector
        none = self.ir.Constant(kind, self.ir.Undefined)
        zero = self.ir.Constant(self.ir.IntType(32), 0)
        one = self.b.insert_element(none, value, zero)
        places = self.ir.Constant(self.ir.VectorType(self.ir.IntType(32), self.lanes), None)
        return self.b.shuffle_vector(one, none, places)

    def everywhere(self, address: Any) -> Any:
        """The number at an address in all lanes."""
        return self.spread(self.b.load(self._at(address, self.number), align=FLOAT))

    def same(self, value: float) -> Any:
        """A constant in all lanes."""
        return self.ir.Constant(self.vector, [value] * self.lanes)

    def zero(self) -> Any:
        """Zero in all lanes."""
        return self.same(0.0)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once."""
        return self.b.call(self._intrinsic("llvm.fma", self.vector, [self.vector] * 3), [a, b, c])

    def plus(self, a: Any, b: Any) -> Any:
        """a + b."""
        return self.b.fadd(a, b)

    def larger(self, a: Any, b: Any) -> Any:
        """The larger of two, the second where they cannot be compared: NaN stays."""
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a: Any, b: Any) -> Any:
        """The smaller of two, the second where they cannot be compared."""
        return self.b.select(self.b.fcmp_ordered("<", a, b), a, b)

    def or_none(self, value: Any, others: Sequence[Any]) -> Any:
        """``value``, or NaN where any of the others is."""
        pairs = zip(others[::2], [*others[1::2], others[-1]], strict=False)
        none = reduce(self.b.or_, (self.b.fcmp_unordered("uno", a, b) for a, b in pairs))
        return self.b.select(none, self.same(math.nan), value)

    def root(self, a: Any) -> Any:
        """The square root."""
        return self.b.call(self._intrinsic("llvm.sqrt", self.vector, [self.vector]), [a])

    def channels(self, count: Any, body: Callable[[Any, Any], None]) -> None:
        """``body`` for each vector of ``count`` numbers: its first byte, and a mask of the last."""
        whole, rest = self.divided(count, self.lanes)
        self.each(whole)(lambda i: body(self.mul(i, FLOAT * self.lanes), None))
        with self.where(self.less(0, rest)):
            body(self.mul(whole, FLOAT * self.lanes), self.mask(rest))

    def linear(self, factors: Sequence[float], vectors: Sequence[Any]) -> Any:
        """The sum of vectors times constants; of those that are zero nothing is computed."""
        total = None
        for factor, vector in zip(factors, vectors, strict=True):
            if factor == 0:
                continue
            if total is None:
                total = vector if factor == 1 else self.b.fmul(vector, self.same(factor))
            elif factor == 1:
                total = self.plus(total, vector)
            elif factor == -1:
                total = self.b.fsub(total, vector)
            else:
                total = self.fma(vector, self.same(factor), total)
        return self.zero() if total is None else total

    def applied(self, matrix: Sequence[Sequence[float]], vectors: Sequence[Any]) -> list[Any]:
        """A matrix of constants times vectors; what two points +p and -p share is computed once."""
        n = len(vectors)
        if len(matrix) >= n:  # rows of +p and -p differ in the sign of their even or odd columns
            made: list[Any] = []
            while len(made) < len(matrix):
                row = matrix[len(made)]
                following = matrix[len(made) + 1] if len(made) + 1 < len(matrix) else ()
                sign = next((s for s in (1, -1) if _mirrored(row, following, s)), 0)
                if not sign:
                    made.append(self.linear(row, vectors))
                    continue
                even, odd = (self.linear(row[i::2], vectors[i::2]) for i in range(2))
                pair = (even, odd) if sign == 1 else (odd, even)
                made += [self.plus(even, odd), self.b.fsub(*pair)]
            return made
        columns, folded = [list(c) for c in zip(*matrix, strict=True)], list(vectors)
        for j in range(n - 1):
            if _mirrored(columns[j], columns[j + 1], 1):
                a, b = folded[j : j + 2]
                folded[j : j + 2] = [self.plus(a, b), self.b.fsub(a, b)]
                even = [v if i % 2 == 0 else 0 for i, v in enumerate(columns[j])]
                columns[j + 1] = [v if i % 2 else 0 for i, v in enumerate(columns[j])]
                columns[j] = even
        return [self.linear(row, folded) for row in zip(*columns, strict=True)]

    def compiled(self) -> Callable[..., None]:
        """The function, callable without the interpreter's lock."""
        self.b.ret_void()
        return _compiled(str(self.module), self.function.name, len(self.arguments))


def _mirrored(row: Sequence[float], other: Sequence[float], sign: int) -> bool:
    """Whether two rows are alike in even columns times ``sign``, and opposite in the odd."""
    if len(row) != len(other) or not (any(row[::2]) and any(row[1::2])):
        return False
    return all(
        b == sign * (-a if j % 2 else a) for j, (a, b) in enumerate(zip(row, other, strict=True))
    )


@cache
def _engine() -> Any:
    """What holds the machine code of all functions, which it must outlive."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
    )
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _compiled(text: str, name: str, arguments: int) -> Callable[..., None]:
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.verify()
    _engine().add_module(module)
    _engine().finalize_object()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)
    address = _engine().get_function_address(name)
    _engine().remove_module(module)
    return kind(address)
