"""Batches for training: which sample comes when is a pure function of seed and position.

No state has to be saved for it, any step can be made again, and the number of reading threads
changes nothing. Threads suffice: decoding, resizing and torch release the interpreter's lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.preprocess import Preprocess
from pixelwise.data.sample import Item, Sample
from pixelwise.data.transforms import apply, collate, paste
from pixelwise.training.recipe import Recipe

Batch = tuple[Tensor, Tensor]
"""Pictures (N, C, H, W) float32, preprocessed, and labels (N, H, W) uint8."""


def position(step: int, micro: int, rank: int, world: int, *, recipe: Recipe) -> int:
    """Running number of the first sample of a micro-batch over the whole run and all processes."""
    return ((step * recipe.passes + micro) * world + rank) * recipe.batch


@lru_cache(maxsize=4)  # samples are drawn ahead of the step, some in the next epoch
def order(length: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits its items: each once."""
    return np.random.default_rng([seed, 0, epoch]).permutation(length)


class SampleCache:
    """Decoded samples kept in memory until ``limit`` bytes are full."""

    def __init__(self, read: Callable[[Item], Sample], limit: int) -> None:
        self._read, self._left = read, limit
        self._kept: dict[str, Sample] = {}

    def __call__(self, item: Item) -> Sample:
        """The sample of an item, read once if there is room."""
        sample = self._kept.get(item.name)
        if sample is None:
            sample = self._read(item)
            size = sample.image.nbytes + sample.labels.nbytes
            if size <= self._left:
                self._left -= size
                self._kept[item.name] = sample
        return sample


class Feed:
    """Makes batches, some steps ahead of the net. Use as a context manager."""

    def __init__(
        self,
        items: Sequence[Item],
        read: Callable[[Item], Sample],
        recipe: Recipe,
        preprocess: Preprocess,
        *,
        rare: tuple[int, ...] = (),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.items, self.read, self.recipe, self.preprocess = items, read, recipe, preprocess
        self.rare, self.rank, self.world = rare, rank, world
        self._pool = ThreadPoolExecutor(recipe.workers) if recipe.workers else None
        self._ahead: OrderedDict[int, list[Future[Sample]]] = OrderedDict()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int, micro: int = 0) -> Batch:
        """The micro-batch of a step."""
        first = position(step, micro, self.rank, self.world, recipe=self.recipe)
        n = self.recipe.batch
        if self._pool is None:
            samples = [self._sample(first + i) for i in range(n)]
        else:
            stride = n * self.world
            for start in range(first, first + 4 * stride, stride):  # this one and three ahead
                if start not in self._ahead:
                    numbers = range(start, start + n)
                    self._ahead[start] = [self._pool.submit(self._sample, i) for i in numbers]
            samples = [future.result() for future in self._ahead.pop(first)]
        images, labels = collate(samples, self.preprocess)
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _sample(self, number: int) -> Sample:
        """Sample ``number`` of the run, augmented by a generator of its own."""
        epoch, place = divmod(number, len(self.items))
        item = self.items[int(order(len(self.items), self.recipe.seed, epoch)[place])]
        sample = self._changed(item, np.random.default_rng([self.recipe.seed, 1, number]))
        rng = np.random.default_rng([self.recipe.seed, 2, number])
        if rng.random() < self.recipe.augment.paste:
            other = self.items[int(rng.integers(len(self.items)))]
            sample = paste(sample, self._changed(other, rng), self.rare)
        return sample

    def _changed(self, item: Item, rng: np.random.Generator) -> Sample:
        return apply(
            self.read(item),
            self.recipe.augment,
            rng,
            crop=self.recipe.crop,
            zoom=self.recipe.zoom,
            rare_classes=self.rare,
            fill=self.preprocess.mean_pixel(),
        )
