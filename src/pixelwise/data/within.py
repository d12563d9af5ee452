"""Splits inside a picture: some of its labels are trained on, others judged.

A net that sees n x n pixels is shown, in training, what lies around those that it is judged on. So
whole blocks are held out, and what is nearer to them than the net sees is in no split.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import label_folder
from pixelwise.data.grouping import Grouping
from pixelwise.data.listing import pictures
from pixelwise.data.remarks import SCORES
from pixelwise.data.sample import LabelMap
from pixelwise.data.splitting import Drawn, Ints, Shares
from pixelwise.errors import UsageError
from pixelwise.labels import VOID
from pixelwise.machine.files import atomic_write
from pixelwise.nets import catalog
from pixelwise.pictures.images import write_labels

BLOCKS, TRIES = 6, 256
"""Blocks along each side, and ways to deal them out, of which that with the evenest classes is."""
NET = "fcn-spectral"  # as far as it sees is the gap where nobody says another


def reached(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Pixels within ``radius`` rows and columns of one that is set."""
    for _ in range(2):  # along the other axis of the transpose the second time
        before = np.pad(mask.cumsum(0), ((radius + 1, radius), (0, 0)), mode="edge")
        before[: radius + 1] = 0
        mask = (before[2 * radius + 1 :] > before[: -2 * radius - 1]).T
    return mask


def seen_in_training(
    trained: NDArray[np.bool_], held: NDArray[np.bool_], net: str
) -> tuple[float, str]:
    """Share of ``held`` (H, W) that lies in the field of a net around a pixel of ``trained``, and
    that as half a sentence.
    """
    field = catalog.spec(net).receptive_field
    near = reached(trained, int(min(field, 2 * max(held.shape)) // 2)) & held
    share = float(near.sum() / max(held.sum(), 1))
    width = f"{field:g} px" if field < math.inf else "the whole picture"
    return share, f"lie in the field of {net} ({width}) around one that is trained on: {SCORES}"


def write_parts(
    folder: Path, dataset: DataSet, shares: Shares, by: str, *, gap: int = -1, seed: int = 0
) -> Drawn:
    """Part the labels of each picture into ``SPLIT/NAME.png``, which the lists ``SPLIT.txt`` name.

    ``by`` is blocks or pixels. ``gap`` rows and columns lie between what is
    trained on and what is held out; -1: as far as ``NET`` sees, of pixels none. Notes tell leaks.

    Raises:
        UsageError: U002 no canonical data set of one head, folds, or nothing is left of a split.
    """
    root, scale = dataset.root.resolve(), dataset.label_scale
    outside = not folder.resolve().is_relative_to(root)
    if len(dataset.heads) > 1 or dataset.layout != "canonical" or shares.folds or outside:
        what = f"--by {by} parts one head of canonical data into train, val and test, in its folder"
        raise UsageError("U002", what, f"pixelwise data convert {dataset.root} OUT; no --folds, -o")
    far = int(catalog.spec(NET).receptive_field) // 2
    gap = gap if gap >= 0 else far * (by == "blocks")
    k = len(dataset.classes)
    counts = dict.fromkeys(shares.parts, np.zeros(k, np.int64))
    stored, palette = _as_stored(dataset.class_map)
    lines, seen, own = dict.fromkeys(counts, ""), (0.0, ""), label_folder(dataset.root)
    for n, path in enumerate(pictures(own)):
        labels = LabelMap(path, scale).read(dataset.class_map)
        parts = _dealt(labels, [*shares.parts.values()], by, seed + n)
        held = (labels != VOID) & (parts > 0)
        parts[reached(held, gap) & ~held] = -1
        seen = max(seen, seen_in_training((labels != VOID) & (parts == 0), held, NET))
        for i, split in enumerate(counts):
            part = np.where(parts == i, labels, np.uint8(VOID))
            counts[split] = counts[split] + np.bincount(part.ravel(), minlength=VOID + 1)[:k]
            place = folder / split / f"{path.stem}.png"
            write_labels(place, stored[part].repeat(scale, 0).repeat(scale, 1), palette)
            lines[split] += f"{path.stem}\t{place.resolve().relative_to(root).as_posix()}\n"
    for split, text in lines.items():
        if not counts[split].any():
            what = f"{dataset.root}: nothing is left for split {split} with a gap of {gap} px"
            raise UsageError("U002", what, f"--gap {gap // 2}, or other shares")
        atomic_write(folder / f"{split}.txt", text)
    notes = (f"{seen[0]:.0%} of the pixels held out {seen[1]}",) if seen[0] else ()
    return Drawn(dict.fromkeys(counts, dataset.all_items()), Grouping({}, ""), counts, {}, notes)


def _as_stored(class_map: ClassMap) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """By class id, and void, the number that label maps have for it, and those numbers' colours."""
    numbers = np.full(VOID + 1, VOID)
    for number, class_id in sorted(class_map.values.items(), reverse=True):
        numbers[class_id] = number
    own = numbers[: len(class_map.classes)]
    palette = np.zeros((own.max() + 1, 3), np.uint8)
    palette[own] = class_map.palette
    return numbers.astype(np.uint8 if numbers.max() < 256 else np.uint16), palette


def _dealt(labels: NDArray[np.uint8], shares: list[float], by: str, seed: int) -> Ints:
    """(H, W) number of the part of each pixel; blocks, or lots of pixels, are dealt out such that
    each class has its share.
    """
    rows, columns = (np.arange(n) * BLOCKS // n for n in labels.shape)
    block, rng = rows[:, None] * BLOCKS + columns, np.random.default_rng(seed)
    if by == "pixels":
        block = rng.integers(0, BLOCKS**2, labels.shape)
    amounts = np.zeros((BLOCKS**2, VOID + 1))
    np.add.at(amounts, (block.ravel(), labels.ravel()), 1)
    amounts = amounts[:, :VOID] / np.maximum(amounts[:, :VOID].sum(0), 1)
    ends, tried, weight = np.cumsum(shares[:-1]), [], amounts.mean(1)
    for _ in range(TRIES):
        order, place = rng.permutation(BLOCKS**2), np.zeros(BLOCKS**2, np.int64)
        place[order] = np.searchsorted(ends, weight[order].cumsum() / weight.sum())
        given = np.stack([amounts[place == i].sum(0) for i in range(len(shares))])
        tried.append((np.abs(given - np.outer(shares, amounts.sum(0))).sum(), place.tolist()))
    return np.asarray(np.array(min(tried)[1])[block])
