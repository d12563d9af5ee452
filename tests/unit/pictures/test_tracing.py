from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pixelwise.pictures.tracing import Ring, area, regions

maps = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.integers(0, 2),
)


def filled(rings: list[Ring], shape: tuple[int, ...]) -> np.ndarray:
    """By the even-odd rule, the slow obvious way: each upright edge flips all to its right."""
    inside = np.zeros((shape[0], shape[1] + 1), bool)
    for ring in rings:
        for (x, y), (other, end) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == other) != (y == end), "an edge is upright or level"
            if x == other:
                inside[min(y, end) : max(y, end), x:] ^= True
    return inside[:, :-1]


def cycle(ring: Ring) -> list[list[int]]:
    """From the least corner on."""
    corners = ring.tolist()
    first = corners.index(min(corners))
    return corners[first:] + corners[:first]


def test_outlines_of_a_ring_and_what_lies_in_it_by_hand() -> None:
    outside, ring, inside = regions(
        np.array([[0, 0, 0, 0], [1, 1, 1, 0], [1, 2, 1, 0], [1, 1, 1, 0]], np.uint8)
    )
    assert cycle(ring.outer) == [[0, 1], [3, 1], [3, 4], [0, 4]]
    assert [cycle(hole) for hole in ring.holes] == [[[1, 2], [1, 3], [2, 3], [2, 2]]]
    assert (ring.value, ring.filled, ring.pixels) == (1, 9, 8)
    assert (inside.value, cycle(inside.outer)) == (2, [[1, 2], [2, 2], [2, 3], [1, 3]])
    assert (outside.value, outside.pixels, outside.holes) == (0, 7, ())


def test_pixels_that_touch_in_a_corner_are_two_regions() -> None:
    assert sorted(r.value for r in regions(np.eye(2, dtype=np.uint8))) == [0, 0, 1, 1]


def test_an_outline_that_touches_itself_is_cut_into_outline_and_hole() -> None:
    """The 0 inside touches the 0 outside in a corner alone."""
    (ring,) = (
        r for r in regions(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)) if r.value == 1
    )
    assert (ring.filled, len(ring.holes), ring.pixels) == (8, 1, 7)
    assert (1, 1) in map(tuple, ring.outer.tolist())
    assert (1, 1) in map(tuple, ring.holes[0].tolist())


@given(maps)
@settings(max_examples=150, deadline=None)
def test_filled_outlines_are_the_label_map(labels: np.ndarray) -> None:
    made, times = np.full(labels.shape, 255), np.zeros(labels.shape, int)
    for region in regions(labels):
        inside = filled([region.outer, *region.holes], labels.shape)
        assert inside.sum() == region.pixels
        assert area(region.outer) > 0 > max(map(area, region.holes), default=-1)
        for ring in (region.outer, *region.holes):
            assert len({*map(tuple, ring.tolist())}) == len(ring), "no corner comes twice"
        made[inside], times = region.value, times + inside
    assert np.array_equal(made, labels)
    assert (times == 1).all()


def test_large_regions_take_memory_for_their_outlines_alone() -> None:
    (whole,) = regions(np.zeros((600, 900), np.uint16))
    assert cycle(whole.outer) == [[0, 0], [900, 0], [900, 600], [0, 600]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_rims_run_through_the_outermost_pixels(shape: tuple[int, int]) -> None:
    (line,) = regions(np.zeros(shape, np.uint8))
    ends = {(0, 0), (shape[1] - 1, shape[0] - 1)}
    assert {*map(tuple, line.rim.tolist())} == ends
