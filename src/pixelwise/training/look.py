"""A held-out picture beside what the net makes of it so far: seen early, it says more than a loss.

It is made between steps, at a time that the clock decides, so it changes nothing that is trained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.data.preprocess import Preprocess
from pixelwise.labels import ends_of, number_legend, overlay, shown_numbers, three_bands
from pixelwise.pictures import images
from pixelwise.training.run_data import RunData
from pixelwise.training.step import Stepper
from pixelwise.training.validate import kept_predictor

SIDE = 480  # pixels of the longer side as shown: three fit beside each other on a screen
OPACITY = 0.6  # of the labels: classes are told apart, and edges of the picture seen


def write_look(
    path: Path, stepper: Stepper, data: RunData, preprocess: Preprocess, step: int
) -> Path:
    """The picture of the validation split with the most classes, the labels that the kept weights
    give it, and the true ones, as one PNG with a legend."""
    assert data.example, "without a validation split there is nothing to look at"
    sample, classes = data.read(data.example), data.dataset.classes
    palette = np.asarray(data.dataset.palette, np.uint8)
    with kept_predictor(stepper, preprocess) as predictor:
        guess = next(iter(predictor.by_head(sample.image).values())).labels  # the first head's
    kind, factor = data.dataset.class_map.kind, SIDE / max(guess.shape)
    height, width = (max(1, round(factor * n)) for n in guess.shape[:2])
    image = three_bands(sample.image, data.dataset.false_colour)
    picture = images.resize(image, (height, width))
    maps = [images.resize(m, (height, width), method="nearest") for m in (guess, sample.labels)]
    if kind.measured:
        painted = [shown_numbers(m, ends_of(sample.labels)) for m in maps]
        names, colours = number_legend(ends_of(sample.labels), classes[0])
    else:
        painted = [overlay(picture, m, palette, opacity=OPACITY) for m in maps]
        shown = [i for i in np.union1d(*maps) if i < len(classes)]
        names, colours = [classes[i] for i in shown], palette[shown]
    row = images.side_by_side((picture, *painted), (sample.name, f"step {step}", "truth"))
    return images.write_image(path, images.draw_legend(row, names, colours))
