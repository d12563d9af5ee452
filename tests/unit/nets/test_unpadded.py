"""A net without padding has the same layers, weights and fields, and sees nothing but pixels."""

from __future__ import annotations

import pytest

from pixelwise.errors import UsageError
from pixelwise.geometry import sides
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import Softmax
from pixelwise.nets.unpadded import unpadded

NAMES = [
    "alexnet",
    "vgg16",
    "googlenet",
    "fcn32s-mobilenetv2",
    "fcn8s-vgg16",
    "fcn32s-alexnet-tight",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cell_sees_the_first_pixels(name: str) -> None:
    """Its field begins at pixel 0, and a picture of one field has one cell."""
    padded = spec(name, width=1 / 16)
    net = unpadded(padded)
    assert not any(any(sides(getattr(layer, "pad", 0))) for layer in net.layers.values())
    assert (net.top, net.output) == (padded.top, padded.top)
    assert (net.stride, net.receptive_field) == (padded.stride, padded.receptive_field)
    cell = net.sights[net.top]
    assert cell.map.shift == (cell.field - 1) / 2
    field = int(cell.field)
    assert net.sizes(field)[net.top] == 1
    assert net.sizes(field + 32)[net.top] == 2


@pytest.mark.parametrize("name", NAMES)
def test_weights_fit_both_by_name(name: str) -> None:
    padded = spec(name, width=1 / 16)
    shapes, all_of_it = unpadded(padded).parameter_shapes(), padded.parameter_shapes()
    assert shapes.items() <= all_of_it.items()
    left_out = all_of_it.keys() - shapes.keys()
    assert {key.split(".")[0] for key in left_out} <= {"score_pool4", "score_pool3"}
    assert not any(isinstance(layer, Softmax) for layer in unpadded(padded).layers.values())


def test_branches_of_an_inception_are_cropped_to_the_widest() -> None:
    """Of 1x1, 3x3, 5x5 and pooled 3x3 the cells begin at 2, 1, 0 and 1 of the 5x5's frame."""
    crops = unpadded(spec("googlenet", width=1 / 16)).crops()
    of_one = {k: v for k, v in crops.items() if k.startswith("inception_3a/")}
    assert of_one == {
        "inception_3a/relu_1x1_cropped": 2,
        "inception_3a/relu_3x3_cropped": 1,
        "inception_3a/relu_pool_proj_cropped": 1,
    }


def test_a_resnet_has_no_such_form() -> None:
    with pytest.raises(UsageError, match="a crop at offset 3/2 is impossible"):
        unpadded(spec("resnet18", width=1 / 16))
