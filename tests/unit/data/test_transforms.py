"""Random changes move picture and labels together; what is not known is void."""

import numpy as np
import pytest

from pixelwise.data.preprocess import (
    CAFFE,
)
from pixelwise.data.sample import Sample
from pixelwise.data.transforms import Augmentation, apply, collate, paste
from pixelwise.errors import UsageError

LABELS = np.arange(30, dtype=np.uint8).reshape(5, 6)
SAMPLE = Sample("a", np.repeat(LABELS[..., None] * 8, 3, 2), {"labels": LABELS})
FILL = np.array([1, 2, 3], np.uint8)


def only(**changes) -> Augmentation:
    return Augmentation(**{"mirror": False, **changes})


def changed(augment: Augmentation, seed: int = 0, sample: Sample = SAMPLE, **options) -> Sample:
    options = {"fill": FILL} | options
    return apply(sample, augment, np.random.default_rng(seed), **options)


def test_nothing_asked_nothing_changed() -> None:
    found = changed(only())
    assert np.array_equal(found.image, SAMPLE.image)
    assert np.array_equal(found.labels, SAMPLE.labels)


def test_mirror_turns_both_for_half_of_the_samples() -> None:
    turned = 0
    for seed in range(200):
        found = changed(only(mirror=True), seed)
        assert np.array_equal(found.image[..., 0], found.labels * 8)
        turned += bool(np.array_equal(found.labels, LABELS[:, ::-1]))
    assert 75 < turned < 125


def test_crops_lie_inside_and_reach_every_corner() -> None:
    corners = set()
    for seed in range(300):
        found = changed(only(), seed, crop=(3, 4))
        top, left = divmod(int(found.labels[0, 0]), 6)
        assert np.array_equal(found.labels, LABELS[top : top + 3, left : left + 4])
        assert np.array_equal(found.image[..., 0], found.labels * 8)
        corners.add((top, left))
    assert corners == {(y, x) for y in range(3) for x in range(3)}


def test_a_crop_larger_than_the_picture_is_padded_with_void_and_the_mean() -> None:
    found = changed(only(), 4, crop=(9, 10))
    assert found.labels.shape == (9, 10)
    known = found.labels != 255
    assert known.sum() == 30
    assert np.array_equal(found.labels[known], LABELS.ravel())
    assert (found.image[~known] == FILL).all()


def test_jitter_shifts_and_fills() -> None:
    seen = set()
    for seed in range(200):
        found = changed(only(jitter=2), seed)
        assert found.labels.shape == (5, 6)
        known = found.labels != 255
        rows, columns = np.nonzero(known)
        true_rows, true_columns = np.divmod(found.labels[known].astype(int), 6)
        shift = {
            (int(a), int(b)) for a, b in zip(true_rows - rows, true_columns - columns, strict=True)
        }
        assert len(shift) == 1
        seen |= shift
        assert (found.image[~known] == FILL).all()
    assert seen == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_scaling_by_whole_factors_repeats_or_drops_labels(factor: float) -> None:
    labels = np.repeat(np.repeat(LABELS, 2, 0), 2, 1)
    sample = Sample("a", np.repeat(labels[..., None], 3, 2), {"labels": labels})
    found = changed(only(scale=(factor, factor)), sample=sample)
    assert found.labels.shape == tuple(round(n * factor) for n in labels.shape)
    times = round(2 * factor)
    assert np.array_equal(found.labels, np.repeat(np.repeat(LABELS, times, 0), times, 1))


def test_a_scaled_crop_is_the_crop_of_the_scaled_sample() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 9, (40, 50), np.uint8)
    smooth = np.linspace(0, 255, 50, dtype=np.float64)[None, :, None] * np.ones((40, 1, 3))
    sample = Sample("a", smooth.astype(np.uint8), {"labels": labels})
    whole = changed(only(scale=(1.27, 1.27)), sample=sample)
    part = changed(only(scale=(1.27, 1.27)), 3, sample=sample, crop=(20, 30))
    agreement = {
        (y, x): (whole.labels[y : y + 20, x : x + 30] == part.labels).mean()
        for y in range(32)
        for x in range(35)
    }
    y, x = max(agreement, key=agreement.__getitem__)
    assert agreement[y, x] > 0.9  # cells whose centre falls on an edge may go either way
    assert sorted(agreement.values())[-2] < 0.5
    apart = np.abs(whole.image[y : y + 20, x : x + 30].astype(int) - part.image)
    assert apart.max() <= 1


def test_zoom_multiplies_the_random_factor() -> None:
    sample = Sample("a", np.zeros((20, 30, 3), np.uint8), {"labels": np.zeros((20, 30), np.uint8)})
    assert changed(only(), sample=sample, zoom=1.5).labels.shape == (30, 45)
    assert changed(only(scale=(2, 2)), sample=sample, zoom=1.5).labels.shape == (60, 90)
    assert changed(only(), sample=sample, zoom=1.5, crop=(8, 9)).labels.shape == (8, 9)


def test_rare_classes_are_seen_more_often() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[50:53, 5:8] = 1
    sample = Sample("a", np.zeros((60, 60, 3), np.uint8), {"labels": labels})

    def hits(rare: float) -> int:
        augment = only(rare=rare)
        found = (changed(augment, s, sample, crop=(20, 20), rare_classes=(1,)) for s in range(100))
        return sum(bool((f.labels == 1).any()) for f in found)

    assert hits(0.0) < 25
    assert hits(1.0) == 100


def test_pasting_moves_labels_with_their_pixels() -> None:
    """By hand: from the second sample 7, but neither its 3 nor its void."""
    one = Sample(
        "one",
        np.full((2, 3, 3), 10, np.uint8),
        {"labels": np.array([[0, 1, 2], [0, 255, 2]], np.uint8)},
    )
    source = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) + 100
    two = Sample("two", source, {"labels": np.array([[7, 3, 255], [3, 7, 7]], np.uint8)})
    found = paste(one, two, (7, 9))
    assert found.name == "one"
    assert found.labels.tolist() == [[7, 1, 2], [0, 7, 7]]
    assert found.labels.dtype == found.image.dtype == np.uint8
    assert found.image[..., 1].tolist() == [[101, 10, 10], [10, 113, 116]]
    assert one.labels[0, 0] == 0
    assert one.image.max() == 10
    assert np.array_equal(paste(one, two, ()).labels, one.labels)


def test_brightness_contrast_and_saturation_by_hand() -> None:
    grey = Sample("a", np.full((4, 4, 3), 100, np.uint8), {"labels": np.zeros((4, 4), np.uint8)})
    bright = [int(changed(only(brightness=0.5), s, grey).image[0, 0, 0]) for s in range(100)]
    assert min(bright) < 60
    assert max(bright) > 140
    assert all(50 <= b <= 150 for b in bright)
    flat = changed(only(contrast=0.5, saturation=0.9, hue=0.5), 1, grey).image
    assert np.abs(flat.astype(int) - 100).max() <= 1  # grey stays grey
    red = Sample("a", np.full((4, 4, 3), (160, 100, 100), np.uint8), grey.heads)
    turned = changed(only(hue=0.5), 2, red).image[0, 0].astype(int)
    assert abs(int(turned.sum()) - 360) <= 3  # a turn about the grey axis keeps the sum
    assert abs(int(turned[0]) - 160) > 10


def test_noise_has_its_share_of_each_bands_deviation_and_moves_no_label() -> None:
    flat = np.full((200, 200, 2), 1000.0, np.float32)
    flat[0, 0] = np.nan
    sample = Sample("a", flat, {"labels": np.zeros((200, 200), np.uint8)})
    options = {"sample": sample, "fill": np.zeros(2), "deviation": np.array([20.0, 0.5])}
    noisy = changed(only(noise=0.5), **options)
    assert np.isnan(noisy.image[0, 0]).all()
    added = (noisy.image - flat).reshape(-1, 2)[1:]
    # of 40,000 draws the mean is within 4 / sqrt(40,000) of 0, the deviation as near to its own
    assert np.abs(added.mean(0) / [10, 0.25]).max() < 0.02
    assert np.abs(added.std(0) / [10, 0.25] - 1).max() < 0.02
    assert np.corrcoef(added.T)[0, 1] == pytest.approx(0, abs=0.02)
    assert np.array_equal(noisy.labels, sample.labels)


def test_noise_stays_in_8_bits_and_leaves_other_changes_as_they_were() -> None:
    wild = {"mirror": True, "scale": (0.5, 2.0), "crop": (4, 4)}
    crop = wild.pop("crop")
    deviation = np.full(3, 1e-6)  # rounded away: what is left are the other changes
    for seed in range(20):
        plain = changed(Augmentation(**wild), seed, crop=crop)
        noisy = changed(Augmentation(**wild, noise=1), seed, crop=crop, deviation=deviation)
        assert np.array_equal(plain.image, noisy.image)
        assert np.array_equal(plain.labels, noisy.labels)
    loud = changed(only(noise=16), deviation=np.full(3, 60.0)).image
    assert loud.dtype == np.uint8
    assert {0, 255} <= set(loud.ravel().tolist())  # cut off, not turned round


def test_the_same_generator_gives_the_same_bytes_and_inputs_stay() -> None:
    augment = Augmentation(True, (0.5, 2.0), 2, 0.3, 0.3, 0.3, 0.1, 0.5)
    before = SAMPLE.image.copy(), SAMPLE.labels.copy()
    one, two = (changed(augment, 9, crop=(7, 7), rare_classes=(3,)) for _ in range(2))
    assert one.image.tobytes() == two.image.tobytes()
    assert one.labels.tobytes() == two.labels.tobytes()
    assert np.array_equal(SAMPLE.image, before[0])
    assert np.array_equal(SAMPLE.labels, before[1])


def test_collate_pads_at_the_right_and_below() -> None:
    small = Sample("b", SAMPLE.image[:2, :3], {"labels": LABELS[:2, :3]})
    images, heads = collate([SAMPLE, small], CAFFE)
    labels = heads["labels"]
    assert images.shape == (2, 3, 5, 6)
    assert (labels[1, 2:] == 255).all()
    assert (labels[1, :, 3:] == 255).all()
    assert not images[1, :, 2:].any()
    assert np.array_equal(images[1, :, :2, :3], CAFFE(small.image))


WIDE = Sample("w", np.repeat(LABELS[..., None].astype(np.uint16) * 1000, 5, 2), {"labels": LABELS})


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32])
def test_geometry_moves_all_bands_of_any_dtype(kind: type) -> None:
    """Mirror, crop, shift and padding: each pixel still holds 1000 times its label, or the fill."""
    sample = Sample("w", WIDE.image.astype(kind), {"labels": LABELS})
    fill = np.array([7.4, 8, 9, 10, 11])
    for seed in range(30):
        found = apply(
            sample,
            only(mirror=True, jitter=2),
            np.random.default_rng(seed),
            crop=(7, 4),
            fill=fill,
        )
        assert found.image.dtype == kind
        known = found.labels != 255
        expected = np.repeat(found.labels[known][:, None].astype(int) * 1000, 5, 1)
        assert np.array_equal(found.image[known], expected)
        unknown = fill.astype(np.float32) if kind == np.float32 else [7, 8, 9, 10, 11]
        assert (found.image[~known] == unknown).all()


def test_scaling_keeps_what_8_bits_could_not_hold() -> None:
    labels = np.zeros((8, 8), np.uint8)
    sample = Sample("a", np.full((8, 8, 4), 40000, np.uint16), {"labels": labels})
    found = changed(only(scale=(0.5, 0.5)), sample=sample, fill=None)
    assert (found.image.shape, found.image.dtype) == ((4, 4, 4), np.uint16)
    assert (found.image == 40000).all()


def test_pasting_keeps_dtype_and_bands() -> None:
    found = paste(WIDE, Sample("b", WIDE.image + 1, {"labels": LABELS}), (3,))
    assert found.image.dtype == np.uint16
    assert np.array_equal(found.image - WIDE.image, np.repeat((LABELS == 3)[..., None], 5, 2))


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation", "hue"])
def test_colours_of_pictures_without_known_colours_are_refused_not_guessed(setting: str) -> None:
    for image in (WIDE.image, WIDE.image[..., :3], SAMPLE.image[..., :1]):
        with pytest.raises(UsageError, match=rf"3 bands of uint8.*of {image.dtype}") as caught:
            changed(
                only(**{setting: 0.2}), sample=Sample("a", image, {"labels": LABELS}), fill=None
            )
        assert caught.value.code == "U002"


def test_labels_of_all_heads_move_alike() -> None:
    """Twins stay twins through everything random; pasting takes all heads of what it pastes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (30, 40), dtype=np.uint8)
    twins = {"first": labels, "second": labels}
    sample = Sample("a", np.repeat(labels[..., None], 3, 2), twins)
    changes = Augmentation(mirror=True, scale=(0.5, 2.0), jitter=5, rare=0.5)
    for seed in range(20):
        made = apply(sample, changes, np.random.default_rng(seed), crop=(24, 24), rare_classes=(3,))
        assert np.array_equal(made.heads["first"], made.heads["second"])
        assert made.labels.shape == (24, 24)
    other = Sample("b", sample.image, {"first": labels[::-1], "second": 9 - labels})
    onto = paste(sample, other, (2,))
    chosen = labels[::-1] == 2
    assert np.array_equal(onto.heads["second"], np.where(chosen, 9 - labels, labels))
    _, heads = collate([sample, onto], CAFFE)
    assert np.array_equal(heads["second"][1], onto.heads["second"])
