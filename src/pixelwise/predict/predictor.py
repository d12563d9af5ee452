"""The one path from a picture to labels; evaluation, commands and services all use it.

picture -> (zoom, mirror image, border) -> preprocessing -> runner, on shifted pictures if they are
to be stitched -> mean over showings -> of several nets the mean of their probabilities -> labels
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from pixelwise.labels import VOID, three_bands
from pixelwise.machine.memory import failed_allocations
from pixelwise.nets.net import Net
from pixelwise.pictures.images import resize
from pixelwise.predict.border import Border, border, mirrored
from pixelwise.predict.components import Sieve, sieved
from pixelwise.predict.cutting import cut
from pixelwise.predict.grid import EVERY_PIXEL, enlarged, nearest
from pixelwise.predict.memory import HINT, check_picture
from pixelwise.predict.showings import Showing, Showings
from pixelwise.predict.stitching import numbers_held, step, stitched, stitched_grid
from pixelwise.predict.view import View

log = logging.getLogger(__name__)

ROWS = 64
"""Of a map whose softmax is taken at a time: that of all would take as much memory again."""
Sizes = list[tuple[tuple[int, int], Border, Border]]
"""Each size at which a picture is shown, and its border."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """What one head of a net makes of a picture."""

    labels: NDArray[Any]
    """(H, W) class ids, the first of equals; uint16 for more than 255 classes. Of numbers and edges
    (H, W, P) float32."""
    scores: Tensor | None
    """(K, H, W) float32 before softmax; a classifier's (K, h, w) are coarse probabilities."""


class Predictor:
    """A net with the preprocessing that it was trained with, ready for pictures.

    ``others`` are nets of the same heads and classes: their probabilities are averaged with its
    own, each by its own view and preprocessing. What comes after scores is said by this one's view.

    Raises:
        UsageError: U002 a view that a coarse map, or a net of this stride, cannot have.
    """

    def __init__(
        self,
        runner: Runner,
        preprocess: Preprocess,
        *,
        view: View | None = None,
        others: Sequence[Predictor] = (),
    ) -> None:
        self.runner, self.preprocess, self.view = runner, preprocess, view or View()
        self.others = tuple(others)
        self._shift = step(self.net, self.view.stitch) if self.view.stitch > 1 else 0
        if self.view.crf or self.view.sieve != Sieve():
            asked = ["crf"] if self.view.crf else [k for k, v in vars(self.view.sieve).items() if v]
            self.net.only_classes(", ".join(asked))
        coarse = any(p._coarse(head) for p in self._all for head in p.net.outputs)
        most = max(self.net.channels[layer] for layer in self.net.outputs.values())
        if coarse and (self.others or self.view.crf or self.view.sieve != Sieve()):
            what = "ensemble" if self.others else "crf" if self.view.crf else "sieve"
            raise UsageError("U002", f"{what}: the net gives a coarse map, not all pixels")
        if self.view.sieve.reject and most > VOID:
            what = f"reject: void is {VOID}, which is a class where there are {most}"
            raise UsageError("U002", what, "leave --reject out")
        if coarse and (len(self.view.zooms) > 1 or self.view.mirror):
            what = "mirror" if len(self.view.zooms) == 1 else f"zooms {self.view.zooms}"
            raise UsageError(
                "U002",
                f"{what}: a mean of several maps was asked for, but the net gives a coarse map, "
                "whose cells would not lie on each other",
                "--zoom 2 alone",
            )

    def shown(self, changes: Mapping[str, Any]) -> Predictor:
        """The same nets with other fields of their views."""
        view = replace(self.view, **changes)
        others = [other.shown(changes) for other in self.others]
        return Predictor(self.runner, self.preprocess, view=view, others=others)

    @property
    def _all(self) -> tuple[Predictor, ...]:
        return (self, *self.others)

    @property
    def net(self) -> Net:
        """What is carried out."""
        return self.runner.net

    @property
    def bands(self) -> int:
        """Bands of the pictures that the net takes, those of all its inputs together."""
        return self.preprocess.bands_given

    def grid(self, head: str) -> CoordMap:
        """Where the cells of a head's scores lie on the picture."""
        cells = self.net.sights[self.net.outputs[head]].map
        if cells.scale > 1:
            cells = stitched_grid(self.net, head, self.view.stitch)
        return EVERY_PIXEL if cells.scale == 1 else enlarged(self.view.zooms[0]).then(cells)

    def _coarse(self, head: str) -> bool:
        return self.grid(head) != EVERY_PIXEL

    def _temperature(self, head: str) -> float:
        return self.view.temperature.get(head, 1.0)

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
        size, soft = size_of(image), scores or self._soft
        with failed_allocations(HINT):
            try:
                plan = self._plan(size, scores=soft)
            except ResourceError as error:
                try:
                    if scores:
                        raise
                    blocks = self._cut(size, error)
                except ResourceError:
                    runners = [p.runner for p in self._all]
                    if not any(r.spare() for r in runners if isinstance(r, PlannedRunner)):
                        raise
                    log.warning("%s: large layers' weights are packed for each picture", error)
                    return self.by_head(image, scores=scores)
                return self._in_parts(image, blocks)
            if not soft:
                made = {h: showings.labels() for h, showings in self._showings(image, plan)}
                return {h: Labelled(self._values(h, best, size), None) for h, best in made.items()}
            return {h: self._finished(h, s, image) for h, s in self._scores(image, plan).items()}

    def blocks(self, size: tuple[int, int]) -> list[Stream]:
        """In what streams labels are made where maps do not fit; none: they do."""
        try:
            self._plan(size, scores=self._soft)
        except ResourceError as error:
            return self._cut(size, error)
        return []

    @property
    def _soft(self) -> bool:
        """Whether labels are made of all scores at once."""
        return self._joined or any(self.net.kind(head).measured for head in self.net.outputs)

    @property
    def _joined(self) -> bool:
        """Whether what is given for a pixel is made of more than the net's scores there."""
        return bool(self.others or self.view.crf or self.view.sieve.reject)

    def _cut(self, size: tuple[int, int], error: ResourceError) -> list[Stream]:
        """Streams for a picture that does not fit, or the ``error`` that says so."""
        if not isinstance(self.runner, PlannedRunner) or not self.plain(size):
            raise error
        return cut(self.runner, size)

    def plain(self, size: tuple[int, int]) -> bool:
        """Whether a label depends on nothing but the net's scores at its own pixel."""
        coarse = any(self._coarse(head) for head in self.net.outputs)
        around = any(border(self.net, length).around(length) != length for length in size)
        labelled = replace(self.view, temperature={})  # which changes no label
        return labelled == View() and not (self._joined or coarse or around)

    def of_strip(self, head: str, made: Tensor) -> NDArray[Any]:
        """What a head gives for a strip, of what ``Streaming.labels`` made of it."""
        if (kind := self.net.kind(head)).measured:
            return kind.numbers(made.numpy())
        return made.numpy().astype(np.uint8 if made.dtype == torch.uint8 else np.uint16)

    def _in_parts(self, image: NDArray[Any], blocks: Sequence[Stream]) -> dict[str, Labelled]:
        def feed(rows: Span, columns: Span) -> Tensor:
            return torch.from_numpy(self.preprocess(image[slice(*rows), slice(*columns)]))

        maps = dict[str, NDArray[Any]]()
        for block in blocks:
            assert isinstance(self.runner, PlannedRunner)
            for rows, labels in self.runner.streaming(block).labels(feed):
                for head, made in labels.items():
                    part = self.of_strip(head, made)
                    size = *image.shape[:2], *part.shape[2:]
                    whole = maps.setdefault(head, np.empty(size, part.dtype))
                    whole[slice(*rows), slice(*block.columns)] = part
        return {head: Labelled(labels, None) for head, labels in maps.items()}

    def _plan(self, size: tuple[int, int], *, scores: bool, beside: int = 0) -> Sizes:
        """Each size at which the picture is shown and its border; refused before any work.

        ``beside`` are numbers that are held meanwhile.
        """
        sizes = self.view.sizes(size)
        try:
            plan = [((h, w), border(self.net, h), border(self.net, w)) for h, w in sizes]
            for (height, width), rows, columns in plan:
                moved, held = (self.view.stitch - 1) * self._shift, beside
                whole = rows.around(height) + moved, columns.around(width) + moved
                if moved:
                    held += numbers_held(self.net, whole, self.view.stitch)
                check_picture(self.runner, whole, scores=scores, beside=held)
        except UsageError as error:
            raise DataError(
                "D023",
                f"a picture of {hxw(size)} (HxW) is too small for the net ({error})",
                "enlarge the picture, or take a model made with a larger zoom",
            ) from error
        # One net after the other; meanwhile the sum of those before is held.
        mean = size[0] * size[1] * sum(self.net.channels[c] for c in self.net.outputs.values())
        for other in self.others:
            other._plan(size, scores=True, beside=beside + mean)
        return plan

    def _showings(self, image: NDArray[Any], plan: Sizes) -> Iterator[tuple[str, Showings]]:
        """Each head's scores of the picture as it is shown."""
        shown = [self._shown(image, *step) for step in plan]
        for head in self.net.outputs:
            each = tuple(showing[head] for showing in shown)
            size = each[0].size if self._coarse(head) else size_of(image)
            yield head, Showings(each, size)

    def _scores(self, image: NDArray[Any], plan: Sizes) -> dict[str, Tensor]:
        """Each head's scores, of several nets the logarithm of their mean probabilities.

        Of heads that give numbers the mean of the scores, which have one scale (``Kind``).
        """
        made = {head: showings.scores() for head, showings in self._showings(image, plan)}
        if not self.others:
            return made
        measured = [head for head in made if self.net.kind(head).measured]
        for head, own in made.items():
            own.div_(self._temperature(head))
            for rows, part in in_rows(own, soften=head not in measured):
                own[:, rows] = part
        for other in self.others:
            theirs = other._scores(image, other._plan(size_of(image), scores=True))
            # Of one head nets may have called it otherwise.
            names = made if len(made) > 1 else theirs
            for (head, own), name in zip(made.items(), names, strict=True):
                scores = theirs[name].div_(other._temperature(name))
                for rows, part in in_rows(scores, soften=head not in measured):
                    own[:, rows] += part.to(own.device)
        for head, own in made.items():
            own.div_(len(self._all))
            if head not in measured:  # the logarithm of zero would be no number
                own.clamp_min_(torch.finfo(torch.float32).tiny).log_()
        return made

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

    def _finished(self, head: str, scores: Tensor, image: NDArray[Any]) -> Labelled:
        """What is made of a head's scores."""
        if (kind := self.net.kind(head)).measured:
            return Labelled(kind.numbers(scores.cpu().numpy()), scores)
        if self.view.crf:
            refined = refine(scores.cpu().numpy(), three_bands(image), self.view.crf)
            scores = torch.from_numpy(refined).log()  # their softmax is what was refined
        best = scores.max(0).indices
        if not self.others:  # each of several has its own
            scores.div_(self._temperature(head))
        sure = probability(scores) if self.view.sieve.reject else None
        return Labelled(self._values(head, best, size_of(image), sure), scores)

    def _values(
        self,
        head: str,
        best: Tensor,
        size: tuple[int, int],
        sure: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """(H, W): the best classes of pixels, sieved, or of the cells of a coarse map."""
        # 255 is a class like others where there are more: label maps are then 16 bits wide.
        wide = self.net.channels[self.net.outputs[head]] > 255
        values = best.cpu().numpy().astype(np.uint16 if wide else np.uint8)
        return sieved(nearest(values, self.grid(head), size), self.view.sieve, sure)


def in_rows(scores: Tensor, *, soften: bool) -> Iterator[tuple[slice, Tensor]]:
    """Rows of (K, H, W), ``ROWS`` at a time, and their scores or probabilities."""
    for first in range(0, scores.shape[1], ROWS):
        rows = slice(first, first + ROWS)
        yield rows, scores[:, rows].softmax(0) if soften else scores[:, rows]


def probability(scores: Tensor) -> NDArray[np.float32]:
    """(H, W) float32: that of the best class, of scores (K, H, W)."""
    best = [part.max(0).values for _, part in in_rows(scores, soften=True)]
    return torch.cat(best).cpu().numpy()


def size_of(image: NDArray[Any]) -> tuple[int, int]:
    """(H, W) of a picture (H, W, B)."""
    return (image.shape[0], image.shape[1])
