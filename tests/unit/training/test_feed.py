"""Batches are a pure function of seed and position."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.data.preprocess import CAFFE, NYUD_COLOR_D
from pixelwise.data.sample import Item, Sample
from pixelwise.training.feed import Draws, Feed, SampleCache, order, position
from pixelwise.training.recipe import Augmentation, Recipe

ITEMS = tuple(Item(f"p{i}", {"image": Path(f"p{i}.png")}, {}) for i in range(5))
CHANGES = Augmentation(mirror=True, scale=(0.5, 2.0), brightness=0.3)


def read(item: Item) -> Sample:
    i = int(item.name[1:])
    rng = np.random.default_rng(i)
    image = rng.integers(0, 256, (20 + i, 30, 3), np.uint8)
    return Sample(item.name, image, {"labels": np.full(image.shape[:2], i, np.uint8)})


def batch(made: Feed, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and the labels of the only head."""
    images, heads = made.batch(step)
    return images, heads["labels"]


def feed(workers: int = 0, rank: int = 0, world: int = 1, rare=(), **changes) -> Feed:
    settings = {"batch": 2, "crop": (16, 16), "augment": CHANGES, "seed": 3} | changes
    made = Recipe(workers=workers, **settings)
    return Feed(ITEMS, read, made, CAFFE, rare=rare, rank=rank, world=world)


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_threads_change_nothing(workers: int) -> None:
    plain = feed()
    with feed(workers) as threaded:
        for step in range(6):
            for a, b in zip(batch(plain, step), batch(threaded, step), strict=True):
                assert torch.equal(a, b)


def test_pasting_changes_what_is_pasted_over_and_nothing_else() -> None:
    """Each picture is of one class, so a crop of two classes is one that was pasted over."""
    wide = replace(CHANGES, scale=(0.2, 0.4))  # pictures smaller than the crop leave room
    plain = feed(augment=wide)
    pasted = feed(augment=replace(wide, paste=1.0), rare=(2,))
    threaded = feed(3, augment=replace(wide, paste=1.0), rare=(2,))
    never = feed(augment=replace(wide, paste=1.0))
    mixed = 0
    with threaded:
        for step in range(30):
            before, after = batch(plain, step), batch(pasted, step)
            new = after[1] != before[1]
            assert set(after[1][new].tolist()) <= {2}
            changed = (after[0] != before[0]).any(1)
            assert not (changed & (after[1] != 2)).any()
            mixed += bool(new.any())
            for a, b, c, d in zip(
                after, batch(threaded, step), before, batch(never, step), strict=True
            ):
                assert torch.equal(a, b)
                assert torch.equal(c, d)
    assert mixed > 5


def test_any_step_can_be_made_again_alone() -> None:
    first = feed()
    for step in range(4):
        images, _ = first.batch(step)
    again, _ = feed().batch(3)
    assert torch.equal(images, again)


def test_noise_is_new_at_each_look_and_missing_depth_stays_missing() -> None:
    def depth(item: Item) -> Sample:
        image = np.full((8, 8, 4), 1000, np.uint16)
        image[0, :, 3] = 0
        return Sample(item.name, image, {"labels": np.zeros((8, 8), np.uint8)})

    recipe = Recipe(batch=1, augment=Augmentation(mirror=False, noise=0.1), seed=3)
    made = Feed(ITEMS[:1], depth, recipe, NYUD_COLOR_D, deviation=np.full(4, 100.0))
    once, again = (made.batch(step)[0][0] for step in (0, 1))
    assert not torch.equal(once[:3], again[:3])
    assert torch.equal(made.batch(1)[0][0], again)  # by position alone, as every change is
    assert once[:3].std(dim=(1, 2)) == pytest.approx([10.0] * 3, rel=0.4)
    assert (once[3, 0] == 0).all()  # shown as the mean
    assert once[3, 1:].unique().numel() == 1


def test_each_epoch_visits_every_item_once() -> None:
    for epoch in range(3):
        assert sorted(order(5, 3, epoch).tolist()) == [0, 1, 2, 3, 4]
    assert order(5, 3, 0).tolist() != order(5, 3, 1).tolist()


def test_the_order_and_the_changes_of_earlier_versions_stay() -> None:
    """A run that was begun with one goes on with the next: these were drawn in 2026."""
    assert [order(5, 3, epoch).tolist() for epoch in (0, 1)] == [[4, 2, 1, 3, 0], [3, 1, 4, 0, 2]]
    assert [int(row[0, 0]) for row in batch(feed(), 0)[1]] == [4, 2]
    pasted = feed(augment=replace(CHANGES, scale=(0.2, 0.4), paste=0.5), rare=(2,), batch=16)
    shown = [int((row == 2).sum()) for row in batch(pasted, 0)[1]]
    assert shown == [88, 70, 0, 0, 48, 0, 0, 0, 0, 80, 88, 0, 0, 0, 0, 0]


def test_threads_read_this_batch_and_three_ahead() -> None:
    """Of two processes each reads its own: every other pair."""
    with feed(1, rank=1, world=2) as made:
        made.batch(0)
        assert [*made._ahead] == [6, 10, 14]
        made.batch(1)
        assert [*made._ahead] == [10, 14, 18]
        assert [len(futures) for futures in made._ahead.values()] == [2, 2, 2]


def test_positions_of_ranks_and_micro_batches_never_meet() -> None:
    recipe = Recipe(batch=2, accumulate=3)
    seen = [
        position(step, micro, rank, 2, recipe=recipe) + i
        for step in range(4)
        for micro in range(3)
        for rank in range(2)
        for i in range(2)
    ]
    assert sorted(seen) == list(range(48))


def test_other_seeds_give_other_batches() -> None:
    assert not torch.equal(feed().batch(0)[0], feed(seed=4).batch(0)[0])


def test_pictures_of_differing_sizes_are_padded_with_void() -> None:
    plain = feed(crop=None, augment=Augmentation(mirror=False), batch=5)
    images, labels = batch(plain, 0)
    assert images.shape == (5, 3, 24, 30)
    for row in labels:
        known = row[row != 255]
        assert known.numel() == 30 * (20 + int(known[0]))
    assert not images[labels.eq(255)[:, None].expand_as(images)].any()


def test_the_cache_reads_once_and_keeps_its_limit() -> None:
    calls = []

    def counted(item: Item) -> Sample:
        calls.append(item.name)
        return read(item)

    size = read(ITEMS[0]).image.nbytes + read(ITEMS[0]).labels.nbytes
    cache = SampleCache(counted, size)
    for _ in range(3):
        cache(ITEMS[0])
        cache(ITEMS[1])
    assert calls == ["p0", "p1", "p1", "p1"]


def test_a_readers_error_comes_out_of_batch() -> None:
    def broken(item: Item) -> Sample:
        raise ValueError(item.name)

    with (
        Feed(ITEMS, broken, Recipe(batch=2, workers=2), CAFFE) as f,
        pytest.raises(ValueError, match="p"),
    ):
        f.batch(0)


# -- sampling with replacement (fact sheet 3.1, trap 23) ------------------------------------------
TRAIN = 8498  # pictures of SBD's train.txt


def test_draws_are_pythons_own() -> None:
    """voc_layers.py: one randint when the layer is set up, one after each forward pass."""
    theirs = random.Random(1337)
    expected = [theirs.randint(0, TRAIN - 1) for _ in range(300)]
    draws = Draws(TRAIN, 1337)
    assert [draws[i] for i in range(300)] == expected
    assert [Draws(TRAIN, 1337)[i] for i in (299, 0, 17)] == [expected[i] for i in (299, 0, 17)]


def test_python_2_drew_otherwise() -> None:
    """Python 2.7's randint(0, n - 1) is int(random() * n); the generator is the same in both.

    The first outputs of the generator for a seed are facts of MT19937; numpy has them too.
    """
    theirs = np.random.RandomState([1337])  # an array of one word, as Python hands its seed over
    expected = [int(u * TRAIN) for u in theirs.random_sample(300)]
    draws = Draws(TRAIN, 1337, python2=True)
    assert [draws[i] for i in range(300)] == expected
    assert expected[:20] != [Draws(TRAIN, 1337)[i] for i in range(20)]


@pytest.mark.parametrize("sampling", ["replacement", "replacement_python2"])
def test_pictures_are_shown_as_they_are_drawn(sampling: str) -> None:
    """Also by several threads, two processes and micro-batches; each label map has one number."""
    settings = {"augment": Augmentation(mirror=False), "crop": None, "batch": 1, "seed": 1337}
    draws = Draws(5, 1337, python2=sampling == "replacement_python2")
    expected = [draws[i] for i in range(40)]
    plain = feed(**settings, sampling=sampling)
    assert [int(batch(plain, step)[1].min()) for step in range(40)] == expected
    with feed(3, **settings, sampling=sampling) as threaded:
        assert [int(batch(threaded, step)[1].min()) for step in range(40)] == expected
    settings |= {"accumulate": 2, "sampling": sampling}
    parts = [feed(rank=rank, world=2, **settings) for rank in (0, 1)]
    shown = [
        int(p.batch(s, m)[1]["labels"].min()) for s in range(10) for m in (0, 1) for p in parts
    ]
    assert shown == expected
    counts = np.bincount(expected, minlength=5)
    assert counts.max() > counts.min()  # of eight epochs: each would have shown each once
