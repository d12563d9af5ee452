from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap
from pixelwise.predict.prediction import Prediction, find_class

NAMES = (
    "tabby, tabby cat",
    "tiger cat 2",
    "Persian cat",
    "tiger, Panthera tigris",
    "crane",
    "crane",
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("tabby, tabby cat", 0),
        ("tabby", 0),
        ("Tabby Cat", 0),
        ("tiger cat 2", 1),
        ("tiger", 3),  # a synonym before a part
        ("persian", 2),
        ("panthera", 3),
        (" TIGRIS ", 3),
        ("4", 4),
        ("2", 2),  # a number before a part
    ],
)
def test_a_class_is_found_by_name_synonym_part_or_number(asked: str, found: int) -> None:
    assert find_class(asked, NAMES) == found


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("cat", "fits 3 classes: 0 `tabby, tabby cat`, 1 `tiger cat 2`, 2 `Persian cat`"),
        ("crane", "fits 2 classes: 4 `crane`, 5 `crane`"),
        ("6", "no class is called `6`"),
        ("", "no class is called ``"),
        ("persan cat", "did you mean `Persian cat`"),
    ],
)
def test_what_is_not_one_class_is_told(asked: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        find_class(asked, NAMES)
    assert caught.value.code == "U001"


def made(probabilities: np.ndarray | None = None) -> Prediction:
    labels = np.array([[0, 0, 1, 1]] * 4, np.uint8)
    image = np.full((4, 4, 3), 100, np.uint8)
    palette = ((200, 0, 0), (0, 200, 0))
    return Prediction(
        image, labels, ("a", "b"), palette, probabilities, CoordMap(Fraction(2), Fraction(1, 2))
    )


def test_heat_of_a_coarse_map_is_placed_by_the_grid() -> None:
    cells = np.array([[[0, 1], [0, 1]], [[1, 0], [1, 0]]], np.float32)
    assert made(cells).heat("a")[0].tolist() == [0, 0.25, 0.75, 1]
    assert made(cells).heat(1)[3].tolist() == [1, 0.75, 0.25, 0]


def test_heat_without_probabilities_says_how_to_keep_them() -> None:
    with pytest.raises(UsageError, match="holds no probabilities") as caught:
        made().heat("a")
    assert "probabilities=True" in caught.value.hint


def test_a_number_may_be_numpys() -> None:
    found = made(np.full((2, 4, 4), 0.5, np.float32))
    assert np.array_equal(found.heat(found.labels[0, 3]), found.heat(1))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_than_three_channels_are_shown_too(channels: int) -> None:
    three = made()
    image = np.broadcast_to(np.uint8(100), (4, 4, channels))
    other = replace(three, image=image)
    assert np.array_equal(other.overlay_array(), three.overlay_array())


@pytest.mark.parametrize("number", [2, -1])
def test_heat_of_a_number_that_is_no_class(number: int) -> None:
    found = made(np.full((2, 2, 4), 0.5, np.float32))
    with pytest.raises(UsageError, match=f"class {number} was asked for, expected 0 to 1"):
        found.heat(number)


def test_a_prediction_shown_in_a_notebook() -> None:
    assert repr(made()) == "<Prediction of 4x4 (HxW): a 50 %, b 50 %>"


def test_areas_mask_and_overlay_by_hand() -> None:
    found = made()
    assert found.areas() == {"a": 0.5, "b": 0.5}
    assert (
        np.asarray(found.mask.convert("RGB"))[0].tolist() == [[200, 0, 0]] * 2 + [[0, 200, 0]] * 2
    )
    assert np.array_equal(np.asarray(found.mask), found.labels)
    overlay = np.asarray(found.overlay)
    assert overlay[0, :4].tolist() == [[150, 50, 50]] * 2 + [[50, 150, 50]] * 2
    assert overlay.shape[1] > 4  # the legend


def test_notebooks_show_the_overlay_and_the_areas_with_names_as_text() -> None:
    labels = np.array([[0, 1], [1, 1]], np.uint8)
    colours = ((0, 0, 0), (255, 0, 0))
    made = Prediction(np.zeros((2, 2, 3), np.uint8), labels, ("sky", "<i>ball</i>"), colours)
    shown = made._repr_html_()
    assert "<td>&lt;i&gt;ball&lt;/i&gt;</td><td>75.0 %</td>" in shown
    assert shown.index("ball") < shown.index("sky")
    assert 'src="data:image/png;base64,iVBOR' in shown
