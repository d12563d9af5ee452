"""Batches for training: which sample comes when is a pure function of seed and position.

No state has to be saved for it, any step can be made again, and the number of reading threads
changes nothing. Threads suffice: decoding, resizing and torch release the interpreter's lock.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.preprocess import Preprocess
from pixelwise.data.sample import Item, Sample
from pixelwise.data.transforms import apply, collate, paste
from pixelwise.training.recipe import Recipe

Batch = tuple[Tensor, dict[str, Tensor]]
"""Pictures (N, B, H, W) float32, preprocessed, and by head labels (N, H, W) uint8."""


def position(step: int, micro: int, rank: int, world: int, *, recipe: Recipe) -> int:
    """Running number of the first sample of a micro-batch over the whole run and all processes."""
    return ((step * recipe.passes + micro) * world + rank) * recipe.batch


@lru_cache(maxsize=4)  # samples are drawn ahead of the step, some in the next epoch
def order(length: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits its items: each once."""
    return np.random.default_rng([seed, 0, epoch]).permutation(length)


class Draws:
    """Which item stands at each position when items are drawn with replacement.

    As the released data layers draw (voc_layers.py and its kin): ``random.seed(seed)``, then
    ``random.randint(0, length - 1)`` for each forward pass. They ran under Python 2, whose randint
    scales a random number; today's compares random bits, and gives others from the same seed.
    """

    def __init__(self, length: int, seed: int, *, python2: bool = False) -> None:
        self._length, self._python2 = length, python2
        self._random, self._drawn, self._lock = random.Random(seed), list[int](), Lock()

    def __getitem__(self, position: int) -> int:
        with self._lock:  # a draw depends on those before it, and reading threads come in any order
            while len(self._drawn) <= position:
                self._drawn.append(self._next())
            return self._drawn[position]

    def _next(self) -> int:
        if self._python2:  # Lib/random.py of 2.7, randrange: int(random() * width)
            return int(self._random.random() * self._length)
        return self._random.randint(0, self._length - 1)


class SampleCache:
    """Decoded samples kept in memory until ``limit`` bytes are full."""

    def __init__(self, read: Callable[[Item], Sample], limit: int) -> None:
        self._read, self._left = read, limit
        self._kept: dict[tuple[Path, ...], Sample] = {}

    def __call__(self, item: Item) -> Sample:
        """The sample of an item, read once if there is room."""
        sample = self._kept.get(item.files)
        if sample is None:
            sample = self._read(item)
            if sample.nbytes <= self._left:
                self._left -= sample.nbytes
                self._kept[item.files] = sample
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
        deviation: np.ndarray | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.items, self.read, self.recipe, self.preprocess = items, read, recipe, preprocess
        self.rare, self.rank, self.world = rare, rank, world
        bands = np.arange(preprocess.bands_given)[preprocess.bands()]
        ones = np.ones(preprocess.bands_given)
        self.deviation = ones if deviation is None else deviation.copy()
        self.deviation[bands[list(preprocess.log)]] = 0  # 0 says there that depth is missing
        python2 = recipe.sampling == "replacement_python2"
        self._draws = Draws(len(items), recipe.seed, python2=python2)
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
        images, heads = collate(samples, self.preprocess)
        return torch.from_numpy(images), {h: torch.from_numpy(m) for h, m in heads.items()}

    def _sample(self, number: int) -> Sample:
        """Sample ``number`` of the run, augmented by a generator of its own."""
        item = self.items[self._index(number)]
        sample = self._changed(item, np.random.default_rng([self.recipe.seed, 1, number]))
        rng = np.random.default_rng([self.recipe.seed, 2, number])
        if rng.random() < self.recipe.augment.paste:
            other = self.items[int(rng.integers(len(self.items)))]
            sample = paste(sample, self._changed(other, rng), self.rare)
        return sample

    def _index(self, number: int) -> int:
        if self.recipe.sampling != "epochs":
            return self._draws[number]
        epoch, place = divmod(number, len(self.items))
        return int(order(len(self.items), self.recipe.seed, epoch)[place])

    def _changed(self, item: Item, rng: np.random.Generator) -> Sample:
        return apply(
            self.read(item),
            self.recipe.augment,
            rng,
            crop=self.recipe.crop,
            zoom=self.recipe.zoom,
            rare_classes=self.rare,
            fill=self.preprocess.mean_pixel(),
            deviation=self.deviation,
        )
