"""Bands of rows give the scores of the whole picture, bit for bit, in memory of a few rows."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.engine.bands import Edges
from pixelwise.engine.fusing import plan
from pixelwise.engine.layout import layout_for
from pixelwise.engine.network import Network
from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.spans import Span
from pixelwise.engine.streaming import Stream
from pixelwise.errors import NumericalError, UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from random_nets import nets
from random_weights import shaken


@cache
def narrow(name: str, **options: str) -> PlannedRunner:
    slim = any(word in name for word in ("tiny", "mobilenet", "efficientnet"))
    return PlannedRunner(shaken(Network(spec(name, width=1 / 4 if slim else 1 / 16, **options))))


def assert_exact(
    runner: PlannedRunner, x: torch.Tensor, rows: Span, columns: Span, band: int
) -> None:
    """Scores and labels of a part are those of the whole picture, to the last bit."""
    whole, layout = runner.maps(x), layout_for(runner.plan, 1, x.shape[2], x.shape[3])
    carried_out, at = runner.streaming(Stream(layout, rows, columns, band)), rows.first
    for strip, labels in carried_out.labels(lambda r, c: x[0, :, slice(*r), slice(*c)]):
        assert strip.first == at
        for head, own in labels.items():
            expected = whole[head].rows(strip.first, strip.length)[0, :, :, slice(*columns)]
            assert torch.equal(carried_out.scores(head, strip).whole()[0], expected)
            assert torch.equal(own, whole[head].labels()[0, slice(*strip), slice(*columns)])
        at = strip.end
    assert at == rows.end


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 180), st.integers(1, 180), st.integers(0, 14), st.data())
def test_any_part_of_any_size(height: int, width: int, band: int, data: st.DataObject) -> None:
    runner = narrow(data.draw(st.sampled_from(["fcn8s-vgg16", "fcn4s-tiny", "fcn8s-googlenet"])))
    cuts = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in (height, width)]
    if all(first < end for first, end in cuts):
        x = torch.randn(1, 3, height, width)
        assert_exact(runner, x, Span(*cuts[0]), Span(*cuts[1]), 2**band)


@settings(max_examples=30, deadline=None)
@given(nets(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 10))
def test_random_nets(net: Net, height: int, width: int, band: int) -> None:
    runner = PlannedRunner(shaken(Network(net)))
    try:
        size = net.sizes(height)["score"], net.sizes(width)["score"]
    except UsageError:
        return
    x = torch.randn(1, 2, height, width)
    assert_exact(runner, x, Span(0, size[0]), Span(0, size[1]), 2**band)


def test_what_cannot_be_cut_into_rows_is_whole_and_exact() -> None:
    runner = narrow("fcn8s-tiny", learned="inner")
    assert_exact(runner, torch.randn(1, 3, 150, 70), Span(0, 150), Span(0, 70), 2**10)


def tall(name: str, height: int, width: int = 1000) -> Stream:
    layout = layout_for(plan(spec(name)), 1, height, width)
    return Stream(layout, Span(0, height), Span(0, width), 2**20)


@pytest.mark.parametrize("name", ["fcn8s-vgg16", "fcn8s-tiny"])
def test_memory_does_not_grow_with_the_height(name: str) -> None:
    assert tall(name, 8000).held < 1.1 * tall(name, 4000).held
    # Of VGG16 at 1000x1000 the whole plan takes 380 MB, and 1.5 GB at 4000x1000.
    assert tall(name, 4000).held < 60e6


def test_no_row_is_computed_twice() -> None:
    made = tall("fcn8s-vgg16", 1000)
    bands, rows = made.bands(), dict.fromkeys(made.cut.rows.computed, 0)
    for _, scores in made.strips():
        for op, band in bands.wanted(scores):
            assert band.first == made.cut.rows.computed[op.name].first + rows[op.name]
            rows[op.name] += band.length
    assert rows == {name: span.length for name, span in made.cut.rows.computed.items()}


def test_edges_are_those_of_the_tiles_by_hand() -> None:
    # Rows 2 to 24 in tiles of four: 2, 6, .. 18; 22 would leave a rest shorter than a tile.
    edges = Edges(Span(2, 24), 4, 4)
    assert [edges.after(n) for n in (2, 3, 6, 18, 19, 24)] == [2, 6, 6, 18, 24, 24]
    assert [edges.before(n) for n in (2, 5, 6, 20, 24)] == [2, 2, 6, 18, 18]


def test_scores_that_are_not_finite_are_refused() -> None:
    network = shaken(Network(spec("fcn32s-tiny", width=1 / 4)))
    network.get_parameter("score_fr.bias").data.fill_(torch.inf)
    runner = PlannedRunner(network)
    made = Stream(layout_for(runner.plan, 1, 80, 40), Span(0, 80), Span(0, 40), 2**10)
    with pytest.raises(NumericalError, match="not finite"):
        next(runner.streaming(made).labels(lambda r, c: torch.ones(3, r.length, c.length)))
