"""What a prediction is: label map, classes, colours, and pictures of them on demand."""

from __future__ import annotations

import base64
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise import labels
from pixelwise.errors import UsageError, first_few, hxw, unknown_name
from pixelwise.geometry import CoordMap
from pixelwise.nets.kinds import CLASSES, EDGES, Kind
from pixelwise.pictures import images
from pixelwise.predict.grid import EVERY_PIXEL, smooth

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Prediction:
    """The labels of one picture.

    Attributes:
        image: (H, W, B) uint8, what was looked at.
        labels: (H, W) uint8 class ids (uint16 for more than 255 classes); 255 is void where
            the model's view rejects what is not sure. By ``kind`` numbers, (H, W, P) float32.
        classes: K names, or those of the planes of numbers.
        palette: K colours.
        probabilities: (K, H, W) float32, of a classifier its coarse map (K, h, w); None when they
            were not asked for.
        grid: where the cells of ``probabilities`` lie on the picture.
        heads: of a net with several heads each one's prediction, by its name; this one is the
            first's. Empty for a net of one head.
        false_colour: the bands that are shown, see ``labels.three_bands``.
    """

    image: NDArray[np.uint8]
    labels: NDArray[Any]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    probabilities: NDArray[np.float32] | None = None
    grid: CoordMap = EVERY_PIXEL
    heads: Mapping[str, Prediction] = field(default_factory=dict)
    false_colour: tuple[int, ...] = ()
    kind: Kind = CLASSES

    def __repr__(self) -> str:
        areas = sorted(self.areas().items(), key=lambda area: -area[1])
        largest = first_few([f"{name} {100 * share:.0f} %" for name, share in areas], 6)
        return f"<Prediction of {hxw(self.labels.shape)} (HxW): {largest}>"

    def _repr_html_(self) -> str:
        """As notebooks show it: the overlay, and the classes' areas."""
        png = base64.b64encode(images.encode(self.overlay)).decode()
        areas = sorted(self.areas().items(), key=lambda area: -area[1])
        rows = "".join(f"<tr><td>{escape(n)}</td><td>{100 * s:.1f} %</td></tr>" for n, s in areas)
        size = hxw(self.labels.shape)
        picture = f'<img src="data:image/png;base64,{png}" alt="labels of a picture of {size}">'
        return f"<div>{picture}<table>{rows}</table></div>"

    @property
    def overlay(self) -> Image:
        """The picture under the classes' colours, with a legend, as a PIL image.

        Of other bands it shows what ``labels.three_bands`` does.
        """
        return images.to_image(self.overlay_array())

    def overlay_array(
        self, strength: float = 0.5, untinted: Sequence[int] = ()
    ) -> NDArray[np.uint8]:
        """``overlay`` as an (H', W', 3) uint8 array; the legend stands beside the picture.

        ``strength`` is that of the colours, 0 to 1; classes in ``untinted`` have none.
        """
        if self.kind.measured:
            ends = (0.0, 1.0) if self.kind.kind == EDGES else labels.ends_of(self.labels)
            shown = labels.shown_numbers(self.labels, ends)
            return images.draw_legend(shown, *labels.number_legend(ends, self.classes[0]))
        palette, image = np.asarray(self.palette, np.uint8), self.shown
        covered = labels.overlay(image, self.labels, palette, opacity=strength, untinted=untinted)
        present = [int(i) for i in np.unique(self.labels) if i < len(self.classes)]
        return images.draw_legend(covered, [self.classes[i] for i in present], palette[present])

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The picture as it is seen, (H, W, 3)."""
        return labels.three_bands(self.image, self.false_colour)

    @property
    def mask(self) -> Image:
        """The label map as a PIL image: class ids with a palette, so that it is seen in colour."""
        if self.kind.measured:
            return images.to_image(labels.shown_numbers(self.labels))
        return images.label_image(self.labels, np.asarray(self.palette, np.uint8))

    def heat(self, name: str | int) -> NDArray[np.float32]:
        """The probability of a class at every pixel, (H, W) float32.

        Args:
            name: of the class, as in ``find_class``, or its number.

        Raises:
            UsageError: U001 no such class, or several; U002 the probabilities were not kept, or a
                number that is no class's.
        """
        kept = self._kept()
        index = find_class(name, self.classes) if isinstance(name, str) else operator.index(name)
        if not 0 <= index < len(self.classes):
            last = len(self.classes) - 1
            raise UsageError("U002", f"class {index} was asked for, expected 0 to {last}")
        cells, size = kept[index], self.labels.shape
        return cells if cells.shape == size else smooth(cells, self.grid, (size[0], size[1]))

    def uncertainty(self) -> float:
        """How little the net is sure, 0 to 1: the mean entropy of the classes' probabilities.

        Over all pixels, those of void too, as a share of the highest entropy, log K; of
        several heads the mean.

        Raises:
            UsageError: U002 the probabilities were not kept.
        """
        several = [h.uncertainty() for h in self.heads.values() if not h.kind.measured]
        if several:
            return sum(several) / len(several)
        total = 0.0
        for i in range(len(self.classes)):
            p = self._kept()[i]
            total -= float((p * np.log(np.maximum(p, np.finfo(np.float32).tiny))).mean(dtype=float))
        return max(total, 0.0) / max(float(np.log(len(self.classes))), 1e-9)

    def _kept(self) -> NDArray[np.float32]:
        if self.probabilities is None:
            hint = "model.predict(picture, probabilities=True)"
            raise UsageError("U002", "the prediction holds no probabilities", hint)
        return self.probabilities

    def areas(self) -> dict[str, float]:
        """Share of the picture by class, for the classes that occur; what is missing is void."""
        if self.kind.measured:
            return {}
        ids, pixels = np.unique(self.labels, return_counts=True)
        shares = zip(ids.tolist(), (pixels / self.labels.size).tolist(), strict=True)
        return {self.classes[i]: share for i, share in shares if i < len(self.classes)}


def find_class(name: str, classes: Sequence[str]) -> int:
    """The number of the class that is meant.

    Tried in turn: the whole name, one of its synonyms ("tabby" of "tabby, tabby cat"), its number,
    a part of the name; upper and lower case are the same.

    Raises:
        UsageError: U001 no class fits, or several do.
    """
    wanted = name.strip().casefold()
    folded = [c.casefold() for c in classes]
    rules = (  # the first that fits decides: "cat" is a class beside "catfish"
        [i for i, c in enumerate(classes) if c == name],
        [i for i, c in enumerate(folded) if c == wanted],
        [i for i, c in enumerate(folded) if wanted in (part.strip() for part in c.split(","))],
        [int(wanted)] if wanted.isdecimal() and int(wanted) < len(classes) else [],
        [i for i, c in enumerate(folded) if wanted and wanted in c],
    )
    fitting = next((numbers for numbers in rules if numbers), [])
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise unknown_name("class", name, classes)
    listed = first_few([f"{i} `{classes[i]}`" for i in fitting], 10)
    message = f"`{name}` fits {len(fitting)} classes: {listed}"
    raise UsageError("U001", message, f"give a whole name, or the number: {fitting[0]}")
