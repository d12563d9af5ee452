"""Shift-and-stitch: a finer map from shifted pictures, the net left as it is (section 3.2).

A net of stride s says something of every s-th pixel. The picture is moved right and down by each
of F x F multiples of s/F pixels, the net is carried out on each, and the maps are interlaced, so
that every prediction stands where the centre of its receptive field was on the picture. That takes
F x F passes and gives what a rarefied net gives in one (``nets.rarefy``): exactly where nothing is
padded, away from the rims elsewhere.

Where a net ends in fixed upsampling by s, the scores before it are interlaced and then enlarged by
s/F, with F = s not at all; what is enlarged already stands on every pixel and cannot be interlaced.
Around the moved picture stands zero, after preprocessing the mean pixel, as in Caffe's padding.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.modules import FixedUpsampling
from pixelwise.engine.plan import coarse_scores
from pixelwise.engine.runner import Runner, ScoreMap
from pixelwise.engine.upsampling import Window
from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap, crop_offset, deconv_map, relative_offset
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net


def step(net: Net, factor: int) -> int:
    """Pixels from one shift to the next: the stride of the scores, divided by ``factor``.

    Raises:
        UsageError: U002 the scores have no stride that ``factor`` divides, or several strides.
    """
    strides = {net.sights[cells].map.scale for cells in coarse_scores(net).values()}
    stride = int(max(strides))
    if factor > 1 and (len(strides) > 1 or stride == 1):
        why = "of several strides" if len(strides) > 1 else "on every pixel already"
        hint = "no --stitch, or a net whose last upsampling is fixed"
        raise UsageError("U002", f"stitch {factor}: the net gives scores {why}", hint)
    if stride % factor:
        divisors = [str(n) for n in range(2, stride + 1) if stride % n == 0]
        message = f"stitch {factor} does not divide the stride {stride} of the net's scores"
        raise UsageError("U002", message, f"--stitch {', '.join(divisors)}")
    return stride // factor


def stitched_grid(net: Net, head: str, factor: int) -> CoordMap:
    """Where the cells of a head's stitched map lie on the picture."""
    seen = net.sights[coarse_scores(net)[head]].map
    # The picture that is moved furthest has its cells furthest to the left and the top.
    return CoordMap(seen.scale / factor, seen.shift - (factor - 1) * seen.scale / factor)


def numbers_held(net: Net, size: tuple[int, int], factor: int) -> int:
    """Scores of the stitched maps, of moved pictures of ``size`` (H, W), until all is in place."""
    (rows, columns), heads = map(net.sizes, size), coarse_scores(net).values()
    return sum(factor**2 * net.channels[c] * rows[c] * columns[c] for c in heads)


def stitched(runner: Runner, x: Tensor, factor: int) -> dict[str, ScoreMap]:
    """As ``runner.maps``, of preprocessed pictures (N, B, H, W), ``factor`` times finer."""
    if factor == 1:
        return runner.maps(x)
    by = step(runner.net, factor)
    cells: dict[str, Tensor] = {}
    made: dict[str, ScoreMap] = {}
    for down, right in product(range(factor), repeat=2):
        behind = [(factor - 1 - shift) * by for shift in (right, down)]
        moved = F.pad(x, (right * by, behind[0], down * by, behind[1]))
        made = runner.maps(moved)
        for head, scores in made.items():
            n, classes, height, width = scores.cells.shape
            shape = (n, classes, factor * height, factor * width)
            whole = cells.setdefault(head, scores.cells.new_empty(shape))
            # Moved by a step less, a cell's centre lies a step further on the picture.
            whole[..., factor - 1 - down :: factor, factor - 1 - right :: factor] = scores.cells
    size = x.shape[2], x.shape[3]
    return {
        head: _enlarged(runner.net, head, replace(scores, cells=cells[head]), factor, size)
        for head, scores in made.items()
    }


def _enlarged(
    net: Net, head: str, scores: ScoreMap, factor: int, size: tuple[int, int]
) -> ScoreMap:
    """The map with stitched cells, and with the upsampling that is left to do."""
    cells, coarse = scores.cells, coarse_scores(net)[head] != net.outputs[head]
    assert coarse == (scores.upsampling is not None), "a runner gives scores before upsampling"
    if scores.upsampling is None:
        return replace(scores, window=Window(0, 0, cells.shape[2], cells.shape[3]))
    by, grid = step(net, factor), stitched_grid(net, head, factor)
    output, frame = net.sights[net.outputs[head]].map, net.frame(*size, head)
    for kernel in (2 * by, 2 * by - 1):  # parity is forced by alignment, as in Net.upsample
        enlarged = grid.then(deconv_map(kernel, by))
        if relative_offset(enlarged, output).denominator == 1:
            break
    layer = Upsample(head, (), kernel, by, edge=scores.upsampling.edge)
    upsampling = FixedUpsampling(layer).to(cells.device)
    offset = crop_offset(enlarged, output)
    return ScoreMap(cells, upsampling, Window(offset, offset, frame.height, frame.width))
