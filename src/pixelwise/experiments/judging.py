"""What was trained, judged as an arm of a claim looks at pictures; kept as counts per picture."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.crf.parameters import PRESETS
from pixelwise.data.dataset import DataSet
from pixelwise.data.masking import masked_as
from pixelwise.data.sample import Sample
from pixelwise.evaluation.on_dataset import Labelling, evaluate_split
from pixelwise.experiments.claims import Look
from pixelwise.metrics.scores import tallies
from pixelwise.pictures.images import cast, resize
from pixelwise.predict.model import load
from pixelwise.predict.on_data import labelling

SQUARES = 4
"""Grey squares that hide a part of a picture together, where they do not overlap."""


def judge(
    weights: Path, look: Look, data: DataSet, split: str, watch: Callable[[], object]
) -> dict[str, Any]:
    """Label a split as ``look`` says; hits, truth and guess by picture and class, as plain data."""
    model = load(weights)
    model = model.shown(
        stitch=look.stitch if look.stitch > 1 else None,
        crf=PRESETS["deeplab"] if look.crf else None,
    )
    dataset = model.fitting(data, (look.head,) if look.head else ())
    pixel = model.predictor.preprocess.mean_pixel()
    hide = masked_as(look.mask, dataset.classes, pixel, dataset.kinds)
    label, classes = labelling(model, dataset)

    def shown(sample: Sample) -> Sample:
        sample = hide(sample)
        return replace(sample, image=disturbed(sample.image, look, pixel))

    in_blocks = by_blocks(label, look.blocks) if look.blocks else label
    evaluation = evaluate_split(in_blocks, classes, dataset, split, shown=shown, watch=watch)
    counted = tallies(evaluation.image_counts, per_image=True)
    return {
        "classes": list(evaluation.classes),
        "pictures": list(evaluation.names),
        **{name: part.tolist() for name, part in counted._asdict().items()},
    }


def by_blocks(label: Labelling, side: int) -> Labelling:
    """Labels of a picture whose squares of ``side`` pixels are each labelled by themselves.

    What is left over at the right and below makes smaller blocks.
    """

    def labelled(image: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        parts: dict[str, NDArray[Any]] = {}
        for y in range(0, image.shape[0], side):
            for x in range(0, image.shape[1], side):
                block = np.ascontiguousarray(image[y : y + side, x : x + side])
                for head, part in label(block).items():
                    whole = parts.setdefault(head, np.zeros(image.shape[:2], part.dtype))
                    whole[y : y + side, x : x + side] = part
        return parts

    return labelled


def disturbed(image: NDArray[Any], look: Look, pixel: NDArray[Any]) -> NDArray[Any]:
    """An (H, W, B) picture blurred, noisy, and partly under squares of the mean pixel.

    What is random follows from the picture alone: all arms see the same.
    """
    made, size = image, image.shape[:2]
    if look.blur > 1:
        small = (max(1, size[0] // look.blur), max(1, size[1] // look.blur))
        made = resize(resize(made, small), (size[0], size[1]))
    rng = np.random.default_rng(zlib.crc32(image.tobytes()))
    if look.noise:
        made = cast(made + rng.normal(0, look.noise, made.shape), image.dtype)
    if look.hidden:
        made = made.copy()
        side = round((look.hidden * size[0] * size[1] / SQUARES) ** 0.5)
        for _ in range(SQUARES):
            y, x = (int(rng.integers(max(1, n - side + 1))) for n in size)
            made[y : y + side, x : x + side] = cast(pixel, image.dtype)
    return made
