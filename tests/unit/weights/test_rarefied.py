"""Filters behind a lowered stride get the weights of the shorter ones, zeros between them."""

from __future__ import annotations

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.weights import surgery
from pixelwise.weights.rarefied import spread, spreads


def test_zeros_stand_between_the_weights_by_hand() -> None:
    short = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert spread(short, (1, 1, 4, 4))[0, 0].tolist() == expected
    assert spread(short.reshape(1, 4), (1, 1, 4, 4))[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        ((8, 5, 7, 7), (8, 5, 14, 14), True),
        ((8, 5 * 49), (8, 5, 14, 14), True),
        ((1, 1, 8, 5 * 49), (8, 5, 14, 14), True),  # Caffe's old four axes
        ((8, 5, 7, 7), (8, 5, 7, 7), False),
        ((8, 5, 7, 7), (8, 5, 15, 15), False),
        ((8, 5, 1, 1), (8, 5, 2, 2), False),  # a 1x1 filter does not grow
        ((8, 5, 7, 7), (8, 6, 14, 14), False),
        ((10, 4 * 49), (8, 5, 14, 14), False),  # as many numbers, of other layers
        ((8,), (8,), False),
        ((8, 5, 7, 14), (8, 5, 14, 14), False),
    ],
)
def test_which_filters_are_the_shorter_ones(
    have: tuple[int, ...], want: tuple[int, ...], fits: bool
) -> None:
    assert spreads(have, want) is fits


def test_a_fully_connected_classifier_fills_the_14x14_fc6() -> None:
    small = {"width": 1 / 16, "classes": 3}
    tensors = build("fcn32s-vgg16", **small).state_dict()
    fc6 = tensors["fc6.weight"]
    tensors["fc6.weight"] = fc6.flatten(1)
    lowered = build("fcn32s-vgg16", **small, lowered=["pool5"])
    plan = surgery.plan(tensors, lowered)
    assert [row.target for row in plan.of("rarefied")] == ["fc6.weight"]
    assert not plan.of("mismatched", "missing", "dropped")
    surgery.carry_out(plan, tensors, lowered)
    found = lowered.get_parameter("fc6.weight")
    assert found.shape[-2:] == (14, 14)
    assert torch.equal(found[..., ::2, ::2], fc6)
    assert found.count_nonzero() == fc6.count_nonzero()
