from __future__ import annotations

import math

import pytest

from pixelwise.crf.parameters import PRESETS, DenseCrf
from pixelwise.crf.search import STARTS, coordinate_search, moved


def walked(valley: DenseCrf) -> tuple[DenseCrf, list[DenseCrf]]:
    """A search for the parameters that lie nearest to some, by the logarithms of all five."""

    def score(crf: DenseCrf) -> float:
        names = ("appearance", "appearance_xy", "appearance_rgb", "smoothness", "smoothness_xy")
        pairs = [(getattr(crf, name), getattr(valley, name)) for name in names]
        return -sum(math.log(a / b) ** 2 for a, b in pairs)

    search, tried = coordinate_search(), []
    crf = next(search)
    while True:
        tried.append(crf)
        try:
            crf = search.send(score(crf))
        except StopIteration as end:
            return end.value, tried


def test_a_coordinate_search_ends_within_half_a_step_of_the_best() -> None:
    valley = DenseCrf(1.3, 150, 2, 9, 0.7)
    best, tried = walked(valley)
    for name in ("appearance", "appearance_xy", "appearance_rgb", "smoothness", "smoothness_xy"):
        ratio = getattr(best, name) / getattr(valley, name)
        assert 2**-0.26 < ratio < 2**0.26, name
    assert tried[: len(STARTS)] == list(STARTS)
    assert len(tried) == len(set(tried)) < 80
    assert walked(valley) == (best, tried)


def test_where_all_is_alike_the_first_start_stays() -> None:
    search = coordinate_search(factors=(2.0,))
    next(search)
    for _ in range(len(STARTS) + 9):
        search.send(0.5)
    with pytest.raises(StopIteration) as end:
        search.send(0.5)
    assert end.value.value == STARTS[0]


def test_parameters_stay_within_their_range_and_what_is_off_stays_off() -> None:
    assert moved(DenseCrf(smoothness_xy=0.15), "smoothness_xy", 0.5).smoothness_xy == 0.1
    assert moved(DenseCrf(appearance=6e3), "appearance", 2).appearance == 1e4
    assert moved(DenseCrf(smoothness=0), "smoothness", 2) == DenseCrf(smoothness=0)
    assert moved(PRESETS["deeplab"], "appearance_rgb", 2**0.5).appearance_rgb == 4.24
