"""What a head gives, of its scores, by hand."""

import math

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.nets.kinds import CLASSES, EDGE, Kind


def test_edges_are_a_sigmoid_on_each_plane() -> None:
    scores = np.array([[[0, math.log(3)]], [[-math.log(3), 100]]], np.float32)  # (P, H, W)
    made = EDGE.numbers(scores)
    assert (made.shape, made.dtype) == ((1, 2, 2), np.float32)
    assert made.tolist() == [[pytest.approx([0.5, 0.25]), pytest.approx([0.75, 1])]]


def test_numbers_are_on_the_scale_of_their_plane() -> None:
    scores = np.array([[[2]], [[-1]]], np.float32)
    plain = Kind("numbers", centre=(10, 20), spread=(0.5, 3))
    assert plain.numbers(scores).tolist() == [[[11, 17]]]
    logs = Kind("numbers", log=True, centre=(math.log(4), 0), spread=(math.log(3), math.log(2)))
    assert logs.numbers(scores).tolist() == [[pytest.approx([36, 0.5])]]


def test_classes_alone_are_not_measured() -> None:
    assert [kind.measured for kind in (CLASSES, EDGE, Kind("numbers"))] == [False, True, True]


def test_edges_in_a_picture_of_bytes_are_shares_of_255() -> None:
    assert (EDGE.kind, EDGE.step, EDGE.void) == ("edges", 1 / 255, None)
    assert (CLASSES.kind, CLASSES.step, CLASSES.log) == ("classes", 1, False)


def test_steps_and_deviations_are_above_zero() -> None:
    assert Kind("numbers", step=1e-9, centre=(-3,), spread=(1e-9,)).spread == (1e-9,)
    for wrong in ({"step": 0}, {"step": -1}, {"spread": (1, 0)}, {"kind": "depth"}):
        with pytest.raises(UsageError, match=f"kind.{next(iter(wrong))}"):
            Kind(**{"kind": "numbers", **wrong})
