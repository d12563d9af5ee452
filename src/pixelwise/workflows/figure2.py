"""Figure 2 of the paper: a classifier's heat map, beside the same classifier run on windows.

One pass over the picture shares the work of all windows. Where a net pads inside, the two are not
equal: in one pass the padding of a window is its real surroundings. How far they differ is part of
the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise import labels
from pixelwise.errors import ModelError
from pixelwise.predict.grid import smooth
from pixelwise.predict.model import Model
from pixelwise.predict.prediction import find_class
from pixelwise.predict.windows import window_scores

BAND = 8  # white pixels between the panels


@dataclass(frozen=True)
class Figure2:
    """The panels and what they show."""

    sheet: NDArray[np.uint8]
    """Picture, heat map of one pass, heat map of the windows; (H, W', 3)."""
    name: str
    cells: tuple[int, int]
    highest: tuple[float, float]
    """Probability of the class in the one pass, and on windows."""
    largest_difference: float
    mean_difference: float
    same_first_class: float
    """Share of cells whose most probable class is the same."""

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {key: value for key, value in asdict(self).items() if key != "sheet"}


def figure2(model: Model, image: NDArray[np.uint8], name: str, *, window: int = 224) -> Figure2:
    """Draw a class's heat map by a classifier's one pass and by windows, and compare them.

    The picture (H, W, 3) uint8 is as large as the net is to see it, the class named as in
    ``find_class``; ``window`` is the side of what the classifier was trained on.

    Raises:
        ModelError: M040 the model is no classifier.
    """
    if model.task != "classification":
        raise ModelError(
            "M040",
            f"{model.path} is a segmentation net ({model.header.net}), expected a classifier",
            "pixelwise weights import FILE --net googlenet -o OUT.safetensors",
        )
    index = find_class(name, model.classes)
    slid = window_scores(model.predictor, image, window=window)
    one, many, off = (p[index] for p in (slid.one_pass, slid.windows, slid.off))
    net, size = model.predictor.net, (image.shape[0], image.shape[1])
    maps = [smooth(p, net.sights[net.output].map, size) for p in (one, many)]
    panels = [image, *(labels.heat_map(image, heat) for heat in maps)]
    white = ((0, 0), (0, BAND), (0, 0))
    return Figure2(
        sheet=np.hstack([np.pad(panel, white, constant_values=255) for panel in panels]),
        name=model.classes[index],
        cells=(one.shape[0], one.shape[1]),
        highest=(float(one.max()), float(many.max())),
        largest_difference=float(off.max()),
        mean_difference=float(off.mean()),
        same_first_class=slid.same_first_class,
    )
