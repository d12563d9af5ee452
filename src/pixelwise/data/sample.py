"""An item is where a picture and its labels are; a sample is what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, hxw
from pixelwise.labels import VOID

if TYPE_CHECKING:
    from pixelwise.data.classes import ClassMap

T = TypeVar("T")

IMAGE, LABELS = "image", "labels"
"""The only input and the only head, where a data set names none."""


class LabelSource(Protocol):
    """Where the labels of a picture come from, for one head: a file, several files, outlines."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read, the one that messages name first."""
        ...

    def read(self, class_map: ClassMap) -> NDArray[Any]:
        """The (H, W) class ids, 255 void; of numbers and edges (H, W, P) float32, NaN void.

        Raises:
            DataError: a file that cannot be read, or says what names no class.
        """
        ...


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Labels in one file that holds a number or a colour for each pixel."""

    path: Path
    scale: int = 1
    """How many times finer than the picture it is, along each side: it is read by majority."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def read(self, class_map: ClassMap) -> NDArray[Any]:
        """As the class map understands it; D013: its sides are not times ``scale``."""
        labels = class_map.read(self.path)
        if self.scale == 1:
            return labels
        if labels.ndim != 2 or any(n % self.scale for n in labels.shape):
            what = f"{self.path} is {hxw(labels.shape)}, expected labels {self.scale} times as fine"
            raise DataError("D013", what, "correct label_scale in dataset.json")
        return majority(labels, self.scale)


@dataclass(frozen=True)
class Derived:
    """Labels that are made of those of a source: classes merged, or the edges between them."""

    source: LabelSource
    before: ClassMap  # as which the source is read
    made: Callable[[NDArray[Any]], NDArray[Any]]

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the source."""
        return self.source.files

    def read(self, class_map: ClassMap) -> NDArray[Any]:  # noqa: ARG002 - that of after
        """As ``LabelSource.read``, of any class map."""
        return self.made(self.source.read(self.before))


@dataclass(frozen=True, slots=True)  # there may be a million
class Item:
    """A picture of a data set, and where its labels are."""

    name: str
    """Unique in the data set; outputs are named after it."""
    inputs: Mapping[str, Path]
    """The files that make the picture, by name, in the order of their bands."""
    labels: Mapping[str, LabelSource]
    """By head; empty where the picture has none and can only be predicted."""
    group: str = ""
    """What must not be torn apart by a split: a sequence, a scene, a patient."""

    @property
    def image(self) -> Path:
        """The first input, which messages and outputs are about."""
        return next(iter(self.inputs.values()))

    def labelled(self, heads: Iterable[str]) -> bool:
        """Whether it has labels for all of these heads."""
        return set(heads) <= self.labels.keys()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of it: those of the inputs, then those of the heads."""
        return (*self.inputs.values(), *(p for s in self.labels.values() for p in s.files))


Splits = Mapping[str, tuple[Item, ...]]
"""By name."""


@dataclass(frozen=True)
class Sample:
    """A picture and its labels in memory."""

    name: str
    image: NDArray[Any]
    """(H, W, B): the bands of all inputs, of one dtype."""
    heads: Mapping[str, NDArray[Any]]
    """By head (H, W) class ids, 255 void, or (H, W, P) float32 numbers, NaN void."""

    @property
    def labels(self) -> NDArray[Any]:
        """Of the first head."""
        return next(iter(self.heads.values()))

    @property
    def nbytes(self) -> int:
        """What it takes of memory."""
        return self.image.nbytes + sum(labels.nbytes for labels in self.heads.values())


Reader = Callable[[Item], Sample]
"""``DataSet.read``, or one that remembers what it has read."""


def each(
    items: Iterable[Item], work: Callable[[Item], T], watch: Callable[[], object] = lambda: None
) -> tuple[dict[tuple[Path, ...], T], list[DataError]]:
    """What ``work`` makes of each item, by the item's files, and what went wrong with the others.

    Two threads do it, as decoding lets others run; ``watch`` is called after each item.
    """

    def one(item: Item) -> T | DataError:
        try:
            return work(item)
        except DataError as error:
            return error
        finally:
            watch()

    unique = {item.files: item for item in items}
    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip(unique, pool.map(one, unique.values()), strict=True))
    done = {files: made for files, made in outcomes.items() if not isinstance(made, DataError)}
    return done, [error for error in outcomes.values() if isinstance(error, DataError)]


def majority(labels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """(H / scale, W / scale): the class of most labelled pixels of a cell; void where none is."""
    h, w = (n // scale for n in labels.shape)
    cells = labels.reshape(h, scale, w, scale).swapaxes(1, 2).reshape(h, w, -1)
    values = np.setdiff1d(labels, VOID)
    votes = np.stack([np.zeros((h, w), int), *((cells == v).sum(2) for v in values)])
    return np.asarray(np.append(np.uint8(VOID), values)[votes.argmax(0)])


def content(image: NDArray[Any]) -> str:
    """What tells a picture from others, whatever file it lies in: SHA-256 of its values, cut."""
    # 48 bits: of ten thousand trained on and a thousand judged, one in 30 million is mistaken.
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()[:12]
