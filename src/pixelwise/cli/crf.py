"""``pixelwise crf``: scores or labels of any tool, corrected by the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import say
from pixelwise.errors import DataError, UsageError


def crf(
    given: Annotated[Path, typer.Argument(metavar="LABELS_OR_SCORES", help="map, .npz or .npy")],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="the picture they are of")],
    out: Annotated[Path, typer.Option("--out", "-o", help="label map .png, or scores .npz")],
    preset: Annotated[str, typer.Option(help="deeplab, pydensecrf, or a .json")] = "original",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="change a parameter")
    ] = None,
    confidence: Annotated[float, typer.Option(help="in the labels of a map")] = 0.7,
    classes: Annotated[int, typer.Option(help="of a label map; 0: up to its largest")] = 0,
    fill: Annotated[bool, typer.Option("--fill", help="label what is void, too")] = False,
) -> None:
    """Correct scores (K, H, W), or a label map, by the dense CRF and the picture.

    NAME: appearance, appearance_xy, appearance_rgb, smoothness, smoothness_xy, iterations, quality
    (auto, fast, exact, pydensecrf; or the least kernel of pairs, such as 0.01).
    """
    import numpy as np

    from pixelwise.cli.arguments import crf_of
    from pixelwise.crf.dense import believed, refine
    from pixelwise.labels import VOID, colours_for
    from pixelwise.machine.files import atomic_write
    from pixelwise.pictures import images
    from pixelwise.pictures.reading import read

    parameters, void, listed = crf_of(preset, changes or ()), None, []
    if out.exists():
        raise UsageError("U003", f"{out} exists, expected a new file", "choose another name")
    if images.palette_in(image) is not None:
        what = f"{image}: a picture with a palette, expected a photo; a label map comes first"
        raise DataError("D015", what, f"pixelwise crf {image} {given} -o {out}")
    if given.suffix in (".npz", ".npy"):
        try:
            scores = np.load(given, allow_pickle=False)
            scores = scores if given.suffix == ".npy" else scores["probabilities"]
        except (ValueError, OSError, KeyError, EOFError) as error:
            what = f"{given}: no array of numbers, nor an .npz with `probabilities`"
            raise DataError("D020", what, "np.save(path, scores), of (K, H, W)") from error
    else:
        labels, colours = images.read_labels(given), images.palette_in(given)
        listed = [] if colours is None else list(map(tuple, colours.tolist()))
        void = (labels == VOID) & (labels.dtype == np.uint8)
        count = classes or max(2, 1 + int(labels[~void].max(initial=0)))
        scores = believed(labels, count, confidence)
    marginals = refine(scores, read(image), parameters)
    best = marginals.argmax(0).astype(np.uint8 if len(marginals) <= VOID else np.uint16)
    if void is not None and not fill:
        best[void] = VOID
    if out.suffix == ".npz":
        atomic_write(out, lambda f: np.savez_compressed(f, probabilities=marginals))
    else:
        images.write_labels(out, best, np.asarray(colours_for(len(marginals), listed), np.uint8))
    say(f"{out}: {100 * (best != np.argmax(scores, 0)).mean():.1f} % of the labels changed")
