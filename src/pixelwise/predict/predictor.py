"""The one path from a picture to labels; evaluation, commands and services all use it.

picture -> (zoom, mirror image, border) -> preprocessing -> runner -> mean over showings -> labels
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.runner import Runner
from pixelwise.errors import DataError, UsageError, hxw
from pixelwise.machine.memory import failed_allocations
from pixelwise.nets.net import Net
from pixelwise.pictures.images import resize
from pixelwise.predict.border import Border, border, mirrored
from pixelwise.predict.grid import EVERY_PIXEL, Grid
from pixelwise.predict.memory import HINT, check_picture
from pixelwise.predict.showings import Showing, Showings
from pixelwise.predict.view import View


@dataclass(frozen=True, eq=False)
class Labelled:
    """What one head of a net makes of a picture."""

    labels: NDArray[np.uint8]
    """(H, W) class ids, the first of equals; uint16 for more than 255 classes."""
    scores: Tensor | None
    """(K, H, W) float32 before softmax; a classifier's (K, h, w) are coarse probabilities."""


class Predictor:
    """A net with its preprocessing, ready for pictures.

    Args:
        runner: carries the net out.
        preprocess: what the net was trained with.
        view: how pictures are shown to it.

    Raises:
        UsageError: U002 a view that a coarse map cannot have.
    """

    def __init__(self, runner: Runner, preprocess: Preprocess, *, view: View | None = None) -> None:
        self.runner, self.preprocess, self.view = runner, preprocess, view or View()
        several = len(self.view.zooms) > 1 or self.view.mirror
        if several and any(self.grid(head) != EVERY_PIXEL for head in self.net.outputs):
            what = "mirror" if len(self.view.zooms) == 1 else f"zooms {self.view.zooms}"
            raise UsageError(
                "U002",
                f"{what}: a mean of several maps was asked for, but the net gives a coarse map, "
                "whose cells would not lie on each other",
                "--zoom 2 alone",
            )

    @property
    def net(self) -> Net:
        """What is carried out."""
        return self.runner.net

    @property
    def bands(self) -> int:
        """Bands of the pictures that the net takes, those of all its inputs together."""
        return sum(self.net.inputs.values())

    def only_head(self) -> str:
        """The name of the net's only head.

        Raises:
            UsageError: U002 it has several; ``by_head`` gives them all.
        """
        layer = self.net.output
        return next(head for head, of in self.net.outputs.items() if of == layer)

    def grid(self, head: str) -> Grid:
        """Where the cells of a head's scores lie on the picture."""
        seen = self.net.sights[self.net.outputs[head]].map
        return EVERY_PIXEL if seen.scale == 1 else Grid.of(seen, self.view.zooms[0])

    def labels(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """The best class of every pixel by the net's only head; see ``by_head``."""
        head = self.only_head()  # several are refused before the work
        return self.by_head(image)[head].labels

    def scores(self, image: NDArray[Any]) -> Tensor:
        """The scores of the net's only head, (K, H, W) or coarse; see ``by_head``."""
        head = self.only_head()
        scores = self.by_head(image, scores=True)[head].scores
        assert scores is not None
        return scores

    def by_head(self, image: NDArray[Any], *, scores: bool = False) -> dict[str, Labelled]:
        """What every head of the net makes of a picture.

        Args:
            image: (H, W, B), of the values that ``preprocess`` takes.
            scores: give them too; without them no map of K x H x W numbers is made.

        Raises:
            DataError: D018 another number of bands than the net takes, D023 too small for it.
            ResourceError: R003 it would not fit into memory.
            NumericalError: N003 a score is not finite.
        """
        size = (image.shape[0], image.shape[1])
        plan = self._plan(size, scores=scores)
        with failed_allocations(HINT):
            groups = [self._shown(image, *step) for step in plan]
            return {
                head: self._labelled(head, Showings(tuple(g[head] for g in groups), size), scores)
                for head in self.net.outputs
            }

    def _plan(
        self, size: tuple[int, int], *, scores: bool
    ) -> list[tuple[tuple[int, int], Border, Border]]:
        """Each size at which the picture is shown and its border; refused before any work."""
        sizes = self.view.sizes(size)
        try:
            plan = [((h, w), border(self.net, h), border(self.net, w)) for h, w in sizes]
            for (height, width), rows, columns in plan:
                whole = rows.around(height), columns.around(width)
                check_picture(self.net, whole, self.runner.device, scores=scores)
        except UsageError as error:
            raise DataError(
                "D023",
                f"a picture of {hxw(size)} (HxW) is too small for the net ({error})",
                "enlarge the picture, or take a model made with a larger zoom",
            ) from error
        return plan

    def _shown(
        self, image: NDArray[Any], size: tuple[int, int], rows: Border, columns: Border
    ) -> dict[str, tuple[Showing, ...]]:
        """By head the scores of the picture at one size, and of its mirror image if asked for."""
        shown = image if size == image.shape[:2] else resize(image, size)
        sides = [shown, shown[:, ::-1]] if self.view.mirror else [shown]
        maps = [
            self.runner.maps(torch.from_numpy(self.preprocess(mirrored(side, rows, columns)))[None])
            for side in sides
        ]
        return {
            head: tuple(
                Showing(
                    scores[head],
                    rows.corners[head],
                    columns.corners[head],
                    size if self.grid(head) == EVERY_PIXEL else None,
                    mirrored=bool(side),
                )
                for side, scores in enumerate(maps)
            )
            for head in self.net.outputs
        }

    def _labelled(self, head: str, showings: Showings, scores: bool) -> Labelled:
        whole = showings.scores() if scores else None
        best = showings.labels() if whole is None else whole.max(0).indices
        values = best.cpu().numpy().astype(np.uint8 if showings.classes <= 255 else np.uint16)
        return Labelled(self.grid(head).nearest(values, showings.size), whole)
