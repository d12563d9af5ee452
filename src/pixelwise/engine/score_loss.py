"""Cross-entropy, soft Jaccard and Dice loss of coarse scores, without a map of all pixels' scores.

``losses/`` says what is computed, and computes it by torch's operations on whole maps, which took
a fifth of a training step of light nets. Here a vector holds outputs of one phase in neighbouring
strides, so that upsampling is an interpolation between neighbouring cells, and the gradient of
cells a sum. Softmax and its gradient follow in registers; backward all is computed once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pixelwise.engine.formulas import Vector, gather, load, number
from pixelwise.engine.runner import ScoreMap
from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Scratch, Workers
from pixelwise.labels import VOID

UNKNOWN = -1.0
"""Label of void, and of outputs beyond the window."""

Read = tuple[Tensor, Tensor, int]
"""Beside cells (N, h + 2, K, line), the rim's included: by phase the share of the later of two
cells, labels (N, H, stride, gaps) float32, and the first row that is wanted."""

_workers = Workers()


def score_loss(
    scores: ScoreMap, labels: Tensor, weights: Tensor, jaccard: float, dice: float = 0.0
) -> Tensor:
    """Cross-entropy, summed, and the soft Jaccard and Dice losses.

    Args:
        scores: of any float type, in a processor's memory; the loss is computed in float32.
        labels: (N, H, W) uint8; void is left out.
        weights: (N, K) factor on the cross-entropy of each picture's pixels of each class.
        jaccard: factor on ``losses.overlap.soft_jaccard``.
        dice: the same of ``soft_dice``.

    Returns:
        A scalar float32, with a gradient of the scores' cells.
    """
    up, window, lanes = scores.upsampling, scores.window, processor().lanes
    shares = up.shares.float() if up else torch.ones(1)
    gaps = -((scores.cells.shape[3] + 1) // -lanes) * lanes  # between cells, and beyond the rim
    beyond = "replicate" if up and up.edge == "hold" else "constant"
    cells = F.pad(scores.cells.float(), (1, 1, 1, 1), beyond)
    cells = F.pad(cells, (0, gaps + lanes - cells.shape[3])).transpose(1, 2).contiguous()
    right = len(shares) * gaps - window.left - window.width
    known = labels.float().masked_fill_(labels == VOID, UNKNOWN)
    known = F.pad(known, (window.left, right), value=UNKNOWN)
    known = known.view(*known.shape[:2], gaps, -1).transpose(2, 3).contiguous()
    pixels = labels.flatten().bincount(minlength=VOID + 1)[: weights.shape[1]]
    read = shares, known, window.top
    loss: Tensor = _ScoreLoss.apply(cells, read, weights, (jaccard, dice), pixels)  # type: ignore[no-untyped-call]
    return loss


class _ScoreLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cells: Tensor,
        read: Read,
        weights: Tensor,
        factors: tuple[float, float],
        pixels: Tensor,
    ) -> Tensor:
        ctx.cells, ctx.read, ctx.weights, classes = cells, read, weights, len(pixels)
        sums = _run(_loss(), (1 + 2 * classes) * processor().lanes, cells, read, weights)
        # Many small numbers: in single precision their sum would be off.
        sums = sums.view(len(sums), -1, processor().lanes).double().sum((0, 2))
        loss, guessed, hits = sums[0], sums[1 : classes + 1], sums[classes + 1 :]
        union = (guessed + pixels - hits).where(pixels > 0, 1)
        present, count = pixels > 0, (pixels > 0).sum().clamp_min(1)
        share, of_dice = (present * (factor / count) for factor in factors)
        # Of 1 - hits / union, by what its own pixels give a class beside, and by what all give it.
        by_own, by_all = -share * (union + hits) / union**2, share * hits / union**2
        whole: Tensor = loss + (share * (1 - hits / union)).sum()
        if factors[1]:  # of 1 - 2 hits / both
            both = (guessed + pixels).where(present, 1)
            by_own, by_all = by_own - 2 * of_dice / both, by_all + 2 * of_dice * hits / both**2
            whole = whole + (of_dice * (1 - 2 * hits / both)).sum()
        ctx.factors = torch.cat([by_own, by_all]).float()
        return whole.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, towards: Tensor) -> tuple[Tensor | None, ...]:
        cells, by = ctx.cells, (ctx.weights * towards, ctx.factors * towards)
        made = _run(_gradient(), 4 * cells[0, 0].numel(), cells, ctx.read, *by)
        corners = made.view(len(cells), -1, 2, 2, *cells.shape[2:])
        gradient = torch.zeros_like(cells)
        for below in (0, 1):
            rows = gradient.narrow(1, below, corners.shape[1])
            rows += corners[:, :, below, 0]
            rows[..., 1:] += corners[:, :, below, 1, :, :-1]
        return gradient, None, None, None, None


def _run(
    kernel: Callable[..., None],
    size: int,
    cells: Tensor,
    read: Read,
    weights: Tensor,
    factors: Tensor | None = None,
) -> Tensor:
    """(N * turns, ``size``): what is added up in a turn, the outputs between two rows of cells."""
    shares, labels, top = read
    n, rows, classes, line = cells.shape
    stride, gaps = labels.shape[2:]
    made, weights = torch.zeros(n * (rows - 1), size), weights.contiguous()
    facts = [classes, FLOAT * line, FLOAT * gaps, stride, shares.data_ptr()]
    told = np.array([*facts, 0 if factors is None else factors.data_ptr()], np.int64)

    def turn(i: int, scratch: Scratch) -> None:
        picture, gap = divmod(i, rows - 1)
        begin = top - gap * stride
        first, last = (min(max(0, end), stride) for end in (begin, begin + labels.shape[1]))
        if first < last:
            given = cells[picture, gap], labels[picture, first - begin], weights[picture], made[i]
            places = [*(part.data_ptr() for part in given), scratch.address(classes * line)]
            kernel(told.ctypes.data, first, last, *places)

    _workers.each(len(made), turn)
    return made


# -- kernels --------------------------------------------------------------------------------------
@cache
def _loss() -> Callable[..., None]:
    """Adds up the cross-entropy, and what each class is guessed and rightly guessed."""
    rows = _Rows("loss")
    code = rows.code
    guessed = code.add(rows.made, FLOAT * code.lanes)
    hits = rows.of_class(guessed, rows.classes)

    def pixels(at: Any, shares: Sequence[Vector], label: Vector) -> None:
        total, true, weight = rows.exponentials(at, shares, label)
        gather(code, label.when(">=", 0, weight * (total.log() - true)), rows.made)
        part = label.when(">=", 0, Vector(code, 1) / total)

        def count(k: Any, own: Vector) -> list[Vector]:
            chance = load(code, rows.of_class(rows.chances, k)) * part
            gather(code, chance, rows.of_class(guessed, k))
            gather(code, label.when("==", own, chance), rows.of_class(hits, k))
            return []

        rows.each_class(count)

    return rows.compiled(pixels)


@cache
def _gradient() -> Callable[..., None]:
    """Adds up the gradients of the cells above, left and right of each gap, and of those below.

    Of the cross-entropy it is w (p - t) where t is 1 for the true class y; of a function of p with
    derivatives g it is p (g - sum p g), and here g is b for every class and a_y more for the true.
    """
    rows = _Rows("gradient")
    code = rows.code
    by_all = code.add(rows.factors, code.mul(rows.classes, FLOAT))

    def pixels(at: Any, shares: Sequence[Vector], label: Vector) -> None:
        total, _, weight = rows.exponentials(at, shares, label)
        part, weight = (label.when(">=", 0, v) for v in (Vector(code, 1) / total, weight))

        def mean(k: Any, own: Vector, mixed: Vector, more: Vector) -> list[Vector]:
            chance = load(code, rows.of_class(rows.chances, k)) * part
            mixed = number(code, by_all, k).times_plus(chance, mixed)
            return [mixed, label.when("==", own, number(code, rows.factors, k) * chance, more)]

        mixed, more = rows.each_class(mean, Vector(code, 0), Vector(code, 0))
        same, more = weight - mixed - more, more - weight

        def gradient(k: Any, own: Vector) -> list[Vector]:
            chance = load(code, rows.of_class(rows.chances, k)) * part
            made = chance.times_plus(same + number(code, by_all, k), label.when("==", own, more))
            place, below = code.add(rows.made, code.mul(k, rows.line), at), shares[0] * made
            for row in (made - below, below):
                right = shares[1] * row
                for value in (row - right, right):
                    gather(code, value, place)
                    place = code.add(place, rows.plane)
            return []

        rows.each_class(gradient)

    return rows.compiled(pixels)


class _Rows:
    """A kernel under way: (facts, first row, last, cells, labels, weights, made, scratch)."""

    def __init__(self, name: str) -> None:
        self.code = code = Code(name, 8, processor().lanes)
        told, *self.ends, self.cells, self.labels, self.weights, self.made, self.chances = (
            code.arguments
        )
        facts = code.facts(told, 6)
        self.classes, self.line, self.gaps, self.stride, self.shares, self.factors = facts
        self.plane = code.mul(self.classes, self.line)

    def compiled(
        self, pixels: Callable[[Any, Sequence[Vector], Vector], None]
    ) -> Callable[..., None]:
        """With ``pixels`` for each vector: its place in a row, its shares, its labels."""
        code, (first, last) = self.code, self.ends

        def row(i: Any, _: list[Any]) -> Sequence[Any]:
            line = code.mul(code.sub(i, first), self.stride, self.gaps)

            def phase(j: Any, _: list[Any]) -> Sequence[Any]:
                labels = code.add(self.labels, line, code.mul(j, self.gaps))
                shares = number(code, self.shares, i), number(code, self.shares, j)

                def some(at: Any, _: list[Any]) -> Sequence[Any]:
                    pixels(at, shares, load(code, code.add(labels, at)))
                    return ()

                code.repeat(self.gaps, some, step=FLOAT * code.lanes)
                return ()

            code.repeat(self.stride, phase)
            return ()

        code.repeat(last, row, first=first)
        return code.compiled()

    def each_class(self, body: Callable[..., list[Vector]], *start: Vector) -> list[Vector]:
        """``body`` for each class: its number, its label, and what is carried."""
        code = self.code

        def turn(k: Any, carried: list[Any]) -> list[Any]:
            label, *others = (Vector(code, value) for value in carried)
            return [v.value for v in (label + 1, *body(k, label, *others))]

        passed = code.repeat(self.classes, turn, [code.zero(), *(v.value for v in start)])
        return [Vector(code, value) for value in passed[1:]]

    def exponentials(self, at: Any, shares: Sequence[Vector], label: Vector) -> list[Vector]:
        """Keeps exp(score - most) of each class; their sum, and of the true one score - most and
        weight."""
        code = self.code

        def scored(k: Any, own: Vector, most: Vector, true: Vector, by: Vector) -> list[Vector]:
            place, rows = code.add(self.cells, code.mul(k, self.line), at), []
            for start in (place, code.add(place, self.plane)):
                left = load(code, start)
                rows.append(shares[1].times_plus(load(code, code.add(start, FLOAT)) - left, left))
            score = shares[0].times_plus(rows[1] - rows[0], rows[0])
            code.store(score.value, self.of_class(self.chances, k))
            weight = label.when("==", own, number(code, self.weights, k), by)
            return [score.at_least(most), label.when("==", own, score, true), weight]

        zero = Vector(code, 0)
        most, true, weight = self.each_class(scored, Vector(code, -np.inf), zero, zero)

        def raised(k: Any, _: Vector, total: Vector) -> list[Vector]:
            place = self.of_class(self.chances, k)
            chance = (load(code, place) - most).exp()
            code.store(chance.value, place)
            return [total + chance]

        return [*self.each_class(raised, zero), true - most, weight]

    def of_class(self, vectors: Any, k: Any) -> Any:
        """The place of a class's vector."""
        return self.code.add(vectors, self.code.mul(k, FLOAT * self.code.lanes))
