"""The one path from a picture to labels; evaluation, commands and services all use it.

picture -> (zoom, mirror image, border) -> preprocessing -> runner, on shifted pictures if they are
to be stitched -> mean over showings -> labels
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.crf.dense import refine
from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.runner import Runner
from pixelwise.engine.spans import Span
from pixelwise.engine.streaming import Stream
from pixelwise.errors import DataError, ResourceError, UsageError, hxw
from pixelwise.geometry import CoordMap
from pixelwise.labels import three_bands
from pixelwise.machine.memory import failed_allocations
from pixelwise.nets.net import Net
from pixelwise.pictures.images import resize
from pixelwise.predict.border import Border, border, mirrored
from pixelwise.predict.cutting import cut
from pixelwise.predict.grid import EVERY_PIXEL, enlarged, nearest
from pixelwise.predict.memory import HINT, check_picture
from pixelwise.predict.showings import Showing, Showings
from pixelwise.predict.stitching import numbers_held, step, stitched, stitched_grid
from pixelwise.predict.view import View

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Labelled:
    """What one head of a net makes of a picture."""

    labels: NDArray[np.uint8]
    """(H, W) class ids, the first of equals; uint16 for more than 255 classes."""
    scores: Tensor | None
    """(K, H, W) float32 before softmax; a classifier's (K, h, w) are coarse probabilities."""


class Predictor:
    """A net with the preprocessing that it was trained with, ready for pictures.

    Raises:
        UsageError: U002 a view that a coarse map, or a net of this stride, cannot have.
    """

    def __init__(self, runner: Runner, preprocess: Preprocess, *, view: View | None = None) -> None:
        self.runner, self.preprocess, self.view = runner, preprocess, view or View()
        self._shift = step(self.net, self.view.stitch) if self.view.stitch > 1 else 0
        coarse = any(self._coarse(head) for head in self.net.outputs)
        if self.view.crf and coarse:
            raise UsageError("U002", "crf: the net gives a coarse map, expected one of all pixels")
        if coarse and (len(self.view.zooms) > 1 or self.view.mirror):
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

    def grid(self, head: str) -> CoordMap:
        """Where the cells of a head's scores lie on the picture."""
        cells = self.net.sights[self.net.outputs[head]].map
        if cells.scale > 1:
            cells = stitched_grid(self.net, head, self.view.stitch)
        return EVERY_PIXEL if cells.scale == 1 else enlarged(self.view.zooms[0]).then(cells)

    def _coarse(self, head: str) -> bool:
        return self.grid(head) != EVERY_PIXEL

    def labels(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """The best class of every pixel by the net's only head; see ``by_head``."""
        _ = self.net.output  # several heads are refused before the work
        (only,) = self.by_head(image).values()
        return only.labels

    def scores(self, image: NDArray[Any]) -> Tensor:
        """The scores of the net's only head, (K, H, W) or coarse; see ``by_head``."""
        _ = self.net.output
        (only,) = self.by_head(image, scores=True).values()
        assert only.scores is not None
        return only.scores

    def by_head(self, image: NDArray[Any], *, scores: bool = False) -> dict[str, Labelled]:
        """What every head of the net makes of a picture.

        Args:
            image: (H, W, B), of the values that ``preprocess`` takes.
            scores: give them too; without them no map of K x H x W numbers is made, and a picture
                whose maps do not fit into memory is labelled in parts (``cutting.py``).

        Raises:
            DataError: D018 another number of bands than the net takes, D023 too small for it.
            ResourceError: R003 it would not fit into memory.
            NumericalError: N003 a score is not finite.
        """
        size = (image.shape[0], image.shape[1])
        with failed_allocations(HINT):
            try:
                plan = self._plan(size, scores=scores or self.view.crf is not None)
            except ResourceError as error:
                if not isinstance(self.runner, PlannedRunner):
                    raise
                try:
                    if scores or not self._plain(size):
                        raise error
                    blocks = cut(self.runner, size)
                except ResourceError:
                    if not self.runner.spare():
                        raise
                    log.warning("%s: large layers' weights are packed for each picture", error)
                    return self.by_head(image, scores=scores)
                return self._in_parts(image, self.runner, blocks)
            shown = [self._shown(image, *step) for step in plan]
            heads = {head: tuple(s[head] for s in shown) for head in self.net.outputs}
            return {h: self._labelled(h, each, image, scores=scores) for h, each in heads.items()}

    def blocks(self, size: tuple[int, int]) -> list[Stream]:
        """In what streams labels are made where maps do not fit; none: they do."""
        try:
            self._plan(size, scores=False)
        except ResourceError:
            if not isinstance(self.runner, PlannedRunner) or not self._plain(size):
                raise
            return cut(self.runner, size)
        return []

    def _plain(self, size: tuple[int, int]) -> bool:
        """Whether a label depends on nothing but the net's scores at its own pixel."""
        coarse = any(self._coarse(head) for head in self.net.outputs)
        around = any(border(self.net, length).around(length) != length for length in size)
        return self.view == View() and not coarse and not around

    def _in_parts(
        self, image: NDArray[Any], runner: PlannedRunner, blocks: Sequence[Stream]
    ) -> dict[str, Labelled]:
        def feed(rows: Span, columns: Span) -> Tensor:
            return torch.from_numpy(self.preprocess(image[slice(*rows), slice(*columns)]))

        maps = dict[str, NDArray[np.uint8]]()
        for block in blocks:
            for rows, labels in runner.streaming(block).labels(feed):
                for head, part in labels.items():
                    kind: Any = np.uint8 if part.dtype == torch.uint8 else np.uint16
                    whole = maps.setdefault(head, np.empty(image.shape[:2], kind))
                    whole[slice(*rows), slice(*block.columns)] = part.numpy()
        return {head: Labelled(labels, None) for head, labels in maps.items()}

    def _plan(
        self, size: tuple[int, int], *, scores: bool
    ) -> list[tuple[tuple[int, int], Border, Border]]:
        """Each size at which the picture is shown and its border; refused before any work."""
        sizes = self.view.sizes(size)
        try:
            plan = [((h, w), border(self.net, h), border(self.net, w)) for h, w in sizes]
            for (height, width), rows, columns in plan:
                moved, beside = (self.view.stitch - 1) * self._shift, 0
                whole = rows.around(height) + moved, columns.around(width) + moved
                if moved:
                    beside = numbers_held(self.net, whole, self.view.stitch)
                check_picture(self.runner, whole, scores=scores, beside=beside)
        except UsageError as error:
            raise DataError(
                "D023",
                f"a picture of {hxw(size)} (HxW) is too small for the net ({error})",
                "enlarge the picture, or take a model made with a larger zoom",
            ) from error
        return plan

    def _shown(
        self, image: NDArray[Any], size: tuple[int, int], rows: Border, columns: Border
    ) -> dict[str, Showing]:
        """By head the scores of the picture at one size, and of its mirror image if asked for."""
        resized = image if size == image.shape[:2] else resize(image, size)
        # The border comes last: of the mirror image it is another where it is wider behind.
        sides = [resized, resized[:, ::-1]] if self.view.mirror else [resized]
        inputs = [self.preprocess(mirrored(side, rows, columns)) for side in sides]
        maps = [stitched(self.runner, torch.from_numpy(x)[None], self.view.stitch) for x in inputs]
        return {
            head: Showing(
                tuple(scores[head] for scores in maps),
                rows.corners[head],
                columns.corners[head],
                maps[0][head].shape[2:] if self._coarse(head) else size,
            )
            for head in self.net.outputs
        }

    def _labelled(
        self, head: str, each: tuple[Showing, ...], image: NDArray[Any], *, scores: bool
    ) -> Labelled:
        size = (image.shape[0], image.shape[1])
        showings = Showings(each, each[0].size if self._coarse(head) else size)
        whole = showings.scores() if scores or self.view.crf else None
        if whole is not None and self.view.crf:
            refined = refine(whole.cpu().numpy(), three_bands(image), self.view.crf)
            whole = torch.from_numpy(refined).log()  # their softmax is what was refined
        best = showings.labels() if whole is None else whole.max(0).indices
        # 255 is a class like others where there are more: label maps are then 16 bits wide.
        values = best.cpu().numpy().astype(np.uint8 if showings.classes <= 255 else np.uint16)
        return Labelled(nearest(values, self.grid(head), size), whole)
