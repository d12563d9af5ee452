"""A classifier slid over a picture, window by window, beside its one pass over the whole.

The two give the same scores where nothing is padded inside the net and a window is as large as its
receptive field (paper, section 3.1). The published nets pad inside and were trained on smaller
windows; then the two differ, and by how much is part of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.errors import UsageError, hxw
from pixelwise.predict.predictor import Predictor


@dataclass(frozen=True, eq=False)
class WindowScores:
    """What a net gives for windows of a picture, and for the cells of one pass at their places.

    Of a classifier that ends in a softmax, scores are probabilities.
    """

    one_pass: NDArray[np.float32]
    """(K, rows, columns)."""
    windows: NDArray[np.float32]
    """(K, rows, columns)."""

    @property
    def off(self) -> NDArray[np.float32]:
        """(K, rows, columns): how far one pass is from the windows."""
        off: NDArray[np.float32] = np.abs(self.one_pass - self.windows)
        return off

    @property
    def same_first_class(self) -> float:
        """Share of cells whose best class is the same."""
        return float((self.one_pass.argmax(0) == self.windows.argmax(0)).mean())


def window_scores(
    predictor: Predictor, image: NDArray[np.uint8], *, window: int, batch: int = 1
) -> WindowScores:
    """Run a classifier on every window of a picture, at the stride of its cells, and on the whole.

    Args:
        predictor: of a net whose output is coarse.
        image: (H, W, B), as large as the net is to see it.
        window: side of a window in pixels; what the classifier was trained on, or the receptive
            field.
        batch: windows in one forward pass.

    Raises:
        UsageError: U002 the picture is smaller than a window, or a window gives several cells.
    """
    net = predictor.net
    cells, step = net.sizes(window)[net.output], int(net.stride)
    if cells > 1 or min(image.shape[:2]) < window:
        raise UsageError(
            "U002",
            f"a window of {window} in a picture of {hxw(image.shape[:2])} (HxW) gives "
            f"{cells}x{cells} cells, expected one cell of a window inside the picture",
            "the side that the classifier was trained on: 224, AlexNet 227",
        )
    views = sliding_window_view(image, (window, window), axis=(0, 1))[::step, ::step]
    rows, columns = views.shape[:2]
    parts = [views[i, j].transpose(1, 2, 0) for i, j in np.ndindex(rows, columns)]
    scores = [_scores(predictor, parts[i : i + batch]) for i in range(0, len(parts), batch)]
    slid = torch.cat(scores)[:, :, 0, 0].T.reshape(-1, rows, columns)
    whole = _scores(predictor, [image])[0]
    # Ceiling pools may add a cell at the far border of the one pass, and inner padding more.
    rows, columns = min(rows, whole.shape[1]), min(columns, whole.shape[2])
    one, many = (x[:, :rows, :columns].cpu().numpy() for x in (whole, slid))
    return WindowScores(one, many)


def _scores(predictor: Predictor, images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """(N, K, h, w) float32 of N pictures (H, W, B) of one size."""
    inputs = torch.from_numpy(np.stack([predictor.preprocess(image) for image in images]))
    (scores,) = predictor.runner.maps(inputs).values()
    return scores.whole()
