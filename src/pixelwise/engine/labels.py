"""Labels of scores that are upsampled, without a map of what they are upsampled to.

Rows of a strip are spread along the columns only; a kernel then takes each output row between two
of them, class by class, and keeps the best. The arithmetic is that of ``upsample``, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Workers


@cache
def labellers() -> Workers:
    """Those who make labels."""
    return Workers()


@cache
def best(bits: int) -> Callable[..., None]:
    """Labels of ``bits`` each, of the largest score the first; its arguments are ``fill``'s."""
    code = Code("best", 12, processor().lanes)
    scores, row_step, class_step, further, classes, shares, stride, start = code.arguments[:8]
    labels, labels_step, height, width = code.arguments[8:]
    kind = code.ir.VectorType(code.ir.IntType(bits), code.lanes)

    @code.each(height)
    def row(y: Any) -> None:
        at, phase = code.divided(code.add(start, y), stride)
        share = code.everywhere(code.add(shares, code.mul(phase, FLOAT)))
        # As torch.lerp: from the nearer end, rounded once.
        near = code.b.fcmp_ordered("<", share, code.same(0.5))
        factor = code.b.select(near, share, code.b.fsub(share, code.same(1.0)))
        line = code.add(scores, code.mul(at, row_step))
        target = code.add(labels, code.mul(y, labels_step))

        def some(x: Any, mask: Any) -> None:
            def score(place: Any) -> Any:
                before = code.load(place, mask)
                own = code.load(code.add(place, further), mask)
                end = code.b.select(near, before, own)
                return code.fma(factor, code.b.fsub(own, before), end)

            def one(k: Any, carried: list[Any]) -> Sequence[Any]:
                highest, which, label = carried
                label = code.plus(label, code.same(1.0))
                value = score(code.add(line, x, code.mul(k, class_step)))
                better = code.b.fcmp_ordered(">", value, highest)
                pairs = ((value, highest), (label, which))
                return (*(code.b.select(better, *pair) for pair in pairs), label)

            begin = [score(code.add(line, x)), code.zero(), code.zero()]
            _, which, _ = code.repeat(classes, one, begin, first=1)
            place = code.add(target, code.divided(code.mul(x, bits // 8), FLOAT)[0])
            code.store(code.b.fptoui(which, kind), place, mask)

        code.channels(width, some)

    return code.compiled()


def fill(labels: Tensor, scores: Tensor, shares: Tensor, start: int) -> None:
    """Write the labels (N, H, W) of ``scores`` (N, h, K, W) that are spread along the columns.

    Output row t lies between rows (start + t) // s and the next, by ``shares`` (s,); where there
    are no more rows than labels, each is a row of its own.
    """
    size, (classes, width) = labels.element_size(), scores.shape[2:]
    by_row, by_class = (FLOAT * scores.stride(i) for i in (1, 2))
    further = by_row if len(shares) > 1 or scores.shape[1] > labels.shape[1] else 0
    for own, made in zip(scores, labels, strict=True):
        read = (own.data_ptr(), by_row, by_class, further, classes)
        between = (shares.data_ptr(), len(shares), start)
        written = (made.data_ptr(), size * made.stride(0), len(made), width)
        best(8 * size)(*read, *between, *written)
