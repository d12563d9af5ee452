"""Labels of scores that are upsampled, without a map of what they are upsampled to.

Rows of a strip are spread along the columns only; a kernel then takes each output row between two
of them, class by class, and keeps the best. The arithmetic is that of ``upsample``, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from pixelwise.engine.telling import Told
from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Workers

FACTS = (
    *("scores", "scores_class", "scores_row", "classes", "width", "further"),
    *("shares", "stride", "start", "labels", "labels_row"),
)
"""What the kernel is told, in this order: the bytes from class to class and row to row, from a row
to the one that it is mixed with, and from one row of labels to the next."""


@cache
def best(bits: int) -> Callable[..., None]:
    """(facts, first row, rows): labels of ``bits`` each, of the largest score the first."""
    code = Code("best", 3, processor().lanes)
    f = dict(zip(FACTS, code.facts(code.arguments[0], len(FACTS)), strict=True))
    kind = code.ir.VectorType(code.ir.IntType(bits), code.lanes)

    def row(i: Any, _: list[Any]) -> Sequence[Any]:
        y = code.add(code.arguments[1], i)
        at, phase = code.divided(code.add(f["start"], y), f["stride"])
        share = code.everywhere(code.add(f["shares"], code.mul(phase, FLOAT)))
        # As torch.lerp: from the nearer end, rounded once.
        near = code.b.fcmp_ordered("<", share, code.same(0.5))
        factor = code.b.select(near, share, code.b.fsub(share, code.same(1.0)))
        line = code.add(f["scores"], code.mul(at, f["scores_row"]))
        target = code.add(f["labels"], code.mul(y, f["labels_row"]))

        def some(x: Any, mask: Any) -> None:
            def score(place: Any) -> Any:
                before = code.load(place, mask)
                own = code.load(code.add(place, f["further"]), mask)
                return code.fma(factor, code.b.fsub(own, before), code.b.select(near, before, own))

            def one(k: Any, carried: list[Any]) -> Sequence[Any]:
                highest, which, label = carried
                label = code.plus(label, code.same(1.0))
                value = score(code.add(line, x, code.mul(k, f["scores_class"])))
                better = code.b.fcmp_ordered(">", value, highest)
                return (
                    code.b.select(better, value, highest),
                    code.b.select(better, label, which),
                    label,
                )

            start = [score(code.add(line, x)), code.zero(), code.zero()]
            _, which, _ = code.repeat(f["classes"], one, start, first=1)
            place = code.add(target, code.divided(code.mul(x, bits // 8), FLOAT)[0])
            code.store(code.b.fptoui(which, kind), place, mask)

        code.channels(f["width"], some)
        return ()

    code.repeat(code.arguments[2], row)
    return code.compiled()


@cache
def labellers() -> Workers:
    """Those who make labels."""
    return Workers()


def fill(labels: Tensor, scores: Tensor, shares: Tensor, start: int) -> None:
    """Write the labels (N, H, W) of ``scores`` (N, h, K, W) that are spread along the columns.

    Output row t lies between rows (start + t) // s and the next, by ``shares`` (s,); of a single
    share each is a row of its own.
    """
    n, _, classes, width = scores.shape
    height, size = labels.shape[1], labels.element_size()
    further = FLOAT * scores.stride(1) if len(shares) > 1 else 0
    for i in range(n):
        facts = {
            "scores": scores[i].data_ptr(),
            "scores_class": FLOAT * scores.stride(2),
            "scores_row": FLOAT * scores.stride(1),
            "classes": classes,
            "width": width,
            "further": further,
            "shares": shares.data_ptr(),
            "stride": len(shares),
            "start": start,
            "labels": labels[i].data_ptr(),
            "labels_row": size * labels.stride(1),
        }
        best(8 * size)(Told(facts, names=FACTS).at, 0, height)
