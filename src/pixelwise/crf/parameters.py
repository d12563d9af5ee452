"""What the dense CRF believes about pictures, by the names of its paper (equation 3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pixelwise.data.class_files import parsed
from pixelwise.errors import unknown_name
from pixelwise.settings import (
    Number,
    Text,
    Whole,
    as_dict,
    limits,
    parse_json,
    read,
    refuse,
    settings,
)

QUALITIES = ("auto", "fast", "exact", "pydensecrf")
SMALL = 5000  # pixels up to which ``auto`` is exact: an iteration then takes 0.1 s
Weight = Annotated[Number, limits(ge=0, le=1e4)]
Deviation = Annotated[Number, limits(ge=0.1, le=1e5)]


@settings(noun="CRF parameter", hint="--set appearance=10, --set quality=exact")
class DenseCrf:
    """Both kernels' weights and deviations, and how mean field is carried out."""

    appearance: Weight = 10.0
    """Weight of the kernel over position and colour."""
    appearance_xy: Deviation = 60.0
    """Its deviation in pixels."""
    appearance_rgb: Deviation = 20.0
    """Its deviation in the picture's values, 0 to 255."""
    smoothness: Weight = 3.0
    """Weight of the kernel over position alone."""
    smoothness_xy: Deviation = 3.0
    """Its deviation in pixels."""
    iterations: Annotated[Whole, limits(ge=0, le=1000)] = 10
    """Of mean field."""
    quality: Text = "auto"
    """fast: by the permutohedral lattice; exact: the sum over all pairs of pixels; a number such as
    0.01: over all pairs whose kernel is at least that; auto: exact for up to 5000 pixels, else
    fast; pydensecrf: as that library, both kernels by the lattice."""

    def __post_init__(self) -> None:
        wrong = self.quality not in QUALITIES and not 0 < self.tolerance < 1
        expected = f"{', '.join(QUALITIES)}, or a number below 1"
        refuse(wrong and f"quality is {self.quality}, expected {expected}")

    @property
    def tolerance(self) -> float:
        """The kernel's value below which pairs may be left out."""
        with suppress(ValueError):
            return float(self.quality)
        return 0.0

    def is_exact(self, pixels: int) -> bool:
        """Whether pairs are summed in a picture of so many pixels."""
        fast = self.quality in ("fast", "pydensecrf")
        return pixels <= SMALL if self.quality == "auto" else not fast


PRESETS = {
    # densecrf's examples/dense_inference.cpp; deeplab-pytorch's voc12.yaml; pydensecrf's README
    "original": DenseCrf(),
    "deeplab": DenseCrf(4.0, 67.0, 3.0, 3.0, 1.0),
    "pydensecrf": DenseCrf(10.0, 80.0, 13.0, 3.0, 3.0),
}


def crf_of(source: Path | str, changes: Sequence[str] = ()) -> DenseCrf:
    """The parameters of a preset or a JSON file, with changes as ``name=value``.

    Raises:
        UsageError: U001 no such preset or file, U002 a parameter out of range.
        DataError: D034 the file is malformed.
    """
    if source not in PRESETS and not Path(source).is_file():
        raise unknown_name("preset", str(source), [*PRESETS])
    given = PRESETS.get(str(source)) or parsed(
        Path(source), lambda content: read(DenseCrf, parse_json(content)), '{"appearance": 10}'
    )
    return read(DenseCrf, as_dict(given) | dict(c.partition("=")[::2] for c in changes))


def crf_of_run(run: Path) -> DenseCrf:
    """What a search chose for a run (``crf.json``), else DeepLab's; errors as of ``crf_of``."""
    searched = run / "crf.json"
    return crf_of(searched if searched.is_file() else "deeplab")
