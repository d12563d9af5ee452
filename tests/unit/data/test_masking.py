"""Masked pictures by hand: what of table 8 a net is shown."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.data.masking import masked_as
from pixelwise.data.sample import Sample
from pixelwise.errors import UsageError
from pixelwise.pictures.bands import InputKind

CLASSES = ("background", "cat", "dog")
LABELS = np.array([[0, 1, 2, 255], [0, 0, 255, 1]], np.uint8)
IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
MEAN = np.array([100.4, 110.6, 120.0])
FILL = [100, 111, 120]

SHOWN = {  # which pixels stay as they are
    "none": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "foreground": [[1, 0, 0, 0], [1, 1, 0, 0]],
    "background": [[0, 1, 1, 0], [0, 0, 0, 1]],
}


@pytest.mark.parametrize("masking", SHOWN)
def test_what_is_hidden_is_the_mean_pixel_and_void_is_hidden_with_both(masking) -> None:
    sample = Sample("a", IMAGE, {"labels": LABELS})
    made = masked_as(masking, CLASSES, MEAN)(sample)
    assert made.image.dtype == np.uint8
    for y, x in np.ndindex(2, 4):
        expected = IMAGE[y, x].tolist() if SHOWN[masking][y][x] else FILL
        assert made.image[y, x].tolist() == expected
    assert np.array_equal(made.labels, LABELS)
    assert IMAGE[0, 0].tolist() == [0, 1, 2]  # the sample itself may be cached


def test_a_shape_is_a_silhouette_whatever_the_picture() -> None:
    show = masked_as("shape", CLASSES, MEAN)
    made = show(Sample("a", IMAGE, {"labels": LABELS})).image
    white, mean = [255, 255, 255], FILL
    assert made.tolist() == [[mean, white, white, mean], [mean, mean, mean, white]]
    assert np.array_equal(made, show(Sample("b", 255 - IMAGE, {"labels": LABELS})).image)
    deep = show(Sample("c", IMAGE.astype(np.uint16), {"labels": LABELS})).image
    assert deep[0, 1].tolist() == [65535] * 3
    with pytest.raises(UsageError, match="whole numbers, the pictures are of float32"):
        show(Sample("d", IMAGE.astype(np.float32), {"labels": LABELS}))


def test_white_beside_depth_of_16_bits_is_that_of_8() -> None:
    kinds = {"color": InputKind(3, "uint8"), "depth": InputKind(1, "uint16")}
    stack = np.concatenate([IMAGE, IMAGE[..., :1]], axis=2).astype(np.uint16)
    show = masked_as("shape", CLASSES, np.array([*MEAN, 2550.0]), kinds)
    made = show(Sample("a", stack, {"labels": LABELS})).image
    assert made[0, 1].tolist() == [255, 255, 255, 65535]
    assert made[0, 0].tolist() == [*FILL, 2550]


def test_the_background_is_a_class_by_name() -> None:
    labels = np.array([[0, 1]], np.uint8)
    sample = Sample("a", IMAGE[:1, :2], {"labels": labels})
    for name in ("Background", "_background_"):
        made = masked_as("background", ("sky", name), MEAN)(sample).image
        assert made.tolist() == [[[0, 1, 2], FILL]]
    with pytest.raises(UsageError, match="no class is called background among sky, road"):
        masked_as("background", ("sky", "road"), MEAN)
    assert masked_as("none", ("sky", "road"), MEAN)(sample) is sample
    with pytest.raises(UsageError, match="no mask is called `forground`"):
        masked_as("forground", CLASSES, MEAN)
