"""What a net is shown of pixels: by hand, in any order of bands, kept in headers."""

import json

import numpy as np
import pytest

from pixelwise.data.preprocess import (
    CAFFE,
    IMAGENET,
    PUBLISHED,
    Preprocess,
    standard,
    with_components,
)
from pixelwise.errors import DataError, ModelError
from pixelwise.settings import as_dict, read


def test_preprocessing_by_hand() -> None:
    pixel = np.array([[[255, 128, 0]]], np.uint8)
    assert CAFFE(pixel)[:, 0, 0].tolist() == pytest.approx(
        [0 - 104.00699, 128 - 116.66877, 255 - 122.67892]
    )
    assert IMAGENET(pixel)[:, 0, 0].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225], rel=1e-5
    )
    assert CAFFE.mean_pixel().round().tolist() == [123, 117, 104]
    assert IMAGENET.mean_pixel().round().tolist() == [124, 116, 104]
    assert read(Preprocess, as_dict(CAFFE)) == CAFFE
    assert standard([10, 20], [0, 5])(np.array([[[10, 30]]], np.uint8))[:, 0, 0].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({}, "preprocess.order is missing; preprocess.scale is missing"),
        (
            {"order": "xyz", "scale": 1, "mean": [], "std": []},
            "preprocess.order is 'xyz', expected one of rgb, bgr; "
            "preprocess.order is 'xyz', expected a list",
        ),
        (
            {"order": "rgb", "scale": 1, "mean": [1], "std": [0]},
            "preprocess.std[0] is 0, expected more than 0",
        ),
        (
            {"order": "rgb", "scale": 0, "mean": [1, 2], "std": [1]},
            "preprocess.mean is for 2 bands, preprocess.std for 1; preprocess.scale is 0",
        ),
        (
            {"order": [0, 0], "scale": 1, "mean": [1, 1], "std": [1, 1]},
            "preprocess.order is (0, 0), expected each of 2 bands once",
        ),
        (
            {"order": "rgb", "scale": float("inf"), "mean": [1], "std": [1]},
            "preprocess.scale is inf, expected a finite number",
        ),
        (
            {"order": "rgb", "scale": 1, "mean": [1], "std": [1], "values": "16-bit"},
            "preprocess.values is '16-bit', expected one of 8-bit, stored",
        ),
    ],
)
def test_senseless_preprocessing_in_a_file_is_refused(broken, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(Preprocess, broken)
    assert caught.value.code == "M002"
    assert str(caught.value).startswith(said)


def test_bands_in_any_order_by_hand() -> None:
    """Colour turned for Caffe with a fourth band behind it, as two streams need."""
    four = Preprocess((2, 1, 0, 3), 1.0, (1.0, 2.0, 3.0, 1000.0), (1.0, 1.0, 1.0, 10.0), "stored")
    pixel = np.array([[[50, 60, 70, 3000]]], np.uint16)
    assert four(pixel)[:, 0, 0].tolist() == [69, 58, 47, 200]
    assert four.mean_pixel().tolist() == [3, 2, 1, 1000]
    assert read(Preprocess, as_dict(four)) == four
    assert read(Preprocess, json.loads(json.dumps(as_dict(four)))) == four


def test_some_bands_by_hand_and_what_is_not_shown_changes_nothing() -> None:
    some = Preprocess((3, 1), 1.0, (10.0, 20.0), (2.0, 5.0), "stored", given=4)
    picture = np.array([[[7, 30, 7, 14]]], np.uint16)
    assert some(picture)[:, 0, 0].tolist() == [2.0, 2.0]
    assert (some.bands_given, some.channels) == (4, 2)
    assert some.mean_pixel().tolist() == [0, 20, 0, 10]
    assert read(Preprocess, as_dict(some)) == some
    with pytest.raises(DataError, match=r"the net takes \(H, W, 4\)"):
        some(picture[..., :2])
    for broken in ({"given": 3}, {"order": [3, 3]}, {"order": [-1, 1]}, {"order": "rgb"}):
        with pytest.raises(ModelError, match=r"preprocess.order is .*, expected each of 2 bands"):
            read(Preprocess, as_dict(some) | broken)
    with pytest.raises(ModelError, match="rows of other lengths than 2 bands"):
        read(Preprocess, as_dict(some) | {"components": [[1.0]]})


def test_components_are_uncorrelated_and_those_of_the_pixels_that_are_known() -> None:
    """Two bands that are 3t + s and 3t - s of independent t and s: the first component is their
    sum, the second their difference; each deviates by the bands' own deviation.
    """
    rng = np.random.default_rng(0)
    t, s = rng.normal(0, 1, (2, 50, 60))
    image = np.stack([100 + 3 * t + s, 50 + 3 * t - s, rng.normal(0, 1, t.shape)], -1)
    known = np.zeros(t.shape, bool)
    known[:, :40] = True
    image[~known] *= 9  # what is judged teaches nothing
    shown = Preprocess((0, 1), 1.0, (90.0, 60.0), (1.0, 1.0), "stored", given=3)
    made = with_components(shown, 2, [(image[:25], known[:25]), (image[25:], known[25:])])
    found = made(image)
    assert (made.channels, found.shape, found.dtype) == (2, (2, 50, 60), np.float32)
    spectra = found[:, known]
    assert spectra.mean(1) == pytest.approx([0, 0], abs=1e-3)
    # the bands' variance is 9 + 1 with these draws' own noise
    usual = image[known][:, :2].var(0).mean()
    assert np.cov(spectra, bias=True) == pytest.approx(usual * np.eye(2), rel=1e-3, abs=1e-3)
    assert abs(np.corrcoef(spectra[0], t[known])[0, 1]) > 0.99
    assert abs(np.corrcoef(spectra[1], s[known])[0, 1]) > 0.99
    alone = with_components(shown, 1, [(image, known)])
    assert np.allclose(np.abs(alone(image)), np.abs(found[:1]), rtol=1e-3, atol=1e-3)
    assert read(Preprocess, as_dict(made)) == made
    assert np.abs(made(made.mean_pixel()[None, None])).max() < 1e-5


def test_headers_of_before_say_nothing_of_values_and_mean_8_bits() -> None:
    old = {"order": "bgr", "scale": 1.0, "mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0, 1.0]}
    assert read(Preprocess, old) == Preprocess("bgr", 1.0, (1, 2, 3), (1, 1, 1), "8-bit")


def test_the_means_of_the_released_nyud_and_siftflow_layers_by_hand() -> None:
    pixel = np.array([[[200, 100, 50, 60, 70, 80]]], np.uint8)
    colour = [50 - 116.190, 100 - 97.203, 200 - 92.318]
    hha = [60 - 132.431, 70 - 94.076, 80 - 118.477]

    def shown(name: str, image: np.ndarray) -> list[float]:
        return PUBLISHED[name](image)[:, 0, 0].tolist()

    assert shown("nyud-color", pixel[..., :3]) == pytest.approx(colour, abs=1e-4)
    assert shown("nyud-hha", pixel[..., 3:]) == pytest.approx(hha, abs=1e-4)  # not turned
    assert shown("nyud-color-hha", pixel) == pytest.approx([*colour, *hha], abs=1e-4)
    assert shown("siftflow", pixel[..., :3]) == pytest.approx(
        [50 - 114.578, 100 - 115.294, 200 - 108.353], abs=1e-4
    )
    # ln 1000 = 6.907755, ln 65535 = 11.090340; what is missing (0) is shown as the mean.
    deep = np.array([[[200, 100, 50, z] for z in (1000, 65535, 0)]], np.uint16)
    made = PUBLISHED["nyud-color-d"](deep)[:, 0]
    assert made[:3, 0].tolist() == pytest.approx(colour, abs=1e-4)
    assert made[3].tolist() == pytest.approx([6.907755 - 7.844, 11.090340 - 7.844, 0], abs=1e-5)


def test_the_mean_of_a_logarithm_is_a_depth_of_two_and_a_half_metres() -> None:
    pixel = PUBLISHED["nyud-color-d"].mean_pixel()
    assert pixel[:3].tolist() == [92.318, 97.203, 116.190]
    assert pixel[3] == pytest.approx(2550.4, abs=0.1)
    assert not PUBLISHED["nyud-color-d"](pixel[None, None].astype(np.float32)).round(4).any()


def test_a_logarithm_is_kept_in_a_header_and_names_bands_that_are_there() -> None:
    depth = PUBLISHED["nyud-color-d"]
    assert read(Preprocess, json.loads(json.dumps(as_dict(depth)))) == depth
    with pytest.raises(ModelError, match=r"preprocess.log names band 4 of 4"):
        read(Preprocess, {**as_dict(depth), "log": [4]})


def test_pictures_that_a_net_was_not_trained_on_are_refused() -> None:
    for image, code, told in (
        (np.zeros((2, 2, 4), np.uint8), "D018", r"shape \(2, 2, 4\), the net takes \(H, W, 3\)"),
        (np.zeros((2, 2), np.uint8), "D018", r"shape \(2, 2\)"),
        (np.zeros((2, 2, 3), np.uint16), "D015", "of uint16, the net takes uint8"),
    ):
        with pytest.raises(DataError, match=told) as caught:
            CAFFE(image)
        assert caught.value.code == code


def test_deviations_of_stored_values_may_be_small() -> None:
    """Reflectances of 0 to 1 deviate by less than one; a flat band by nothing."""
    assert standard([0.5, 3], [0.1, 0], "stored").std == (0.1, 1.0)
    assert standard([0.5, 3], [0.1, 0]).std == (1.0, 1.0)


def test_further_bands_of_published_weights_deviate_as_photos_did_and_keep_their_order() -> None:
    """Caffe's see levels of 255 less a mean: 58 of deviation; its blue comes first."""
    mean, std = [10.0, 20.0, 30.0, 4000.0], [1.0, 2.0, 3.0, 400.0]
    like = standard(mean, std, "stored", like=CAFFE)
    assert like.order == (2, 1, 0, 3)
    assert like.mean == (30.0, 20.0, 10.0, 4000.0)
    image = np.array([[mean, [m + s for m, s in zip(mean, std, strict=True)]]], np.float32)
    assert like(image)[:, 0, 0].tolist() == [0, 0, 0, 0]
    assert like(image)[:, 0, 1] == pytest.approx([0.226 * 255] * 4, rel=1e-3)
    assert standard(mean, std, like=IMAGENET) == standard(mean, std)


def test_gaps_are_shown_as_the_mean() -> None:
    image = np.array([[[1.0, 20.0], [np.nan, 30.0]]], np.float32)
    net = standard([2, 20], [1, 10], "gaps")
    assert net(image)[:, 0].tolist() == [[-1, 0], [0, 1]]
