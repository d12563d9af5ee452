"""``pixelwise crf``: scores or labels of any tool, corrected by the picture; a search for how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli import options
from pixelwise.cli.console import emit_json, in_percent, say, table
from pixelwise.errors import DataError, UsageError, unknown_name
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METHODS = ("dense", "grid")
OF_MAPS = ("method", "preset", "confidence", "classes", "fill")
OF_SEARCH = ("split", "pictures", "minutes")


def crf(
    context: typer.Context,
    given: Annotated[
        Path, typer.Argument(metavar="LABELS_OR_SCORES", help="map, .npz or .npy; or a run")
    ],
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="the picture they are of; or data")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="label map .png, or scores .npz")
    ] = None,
    method: Annotated[str, typer.Option(help="dense; grid: a Potts MRF")] = "dense",
    preset: Annotated[str, typer.Option(help="deeplab, pydensecrf, or a .json")] = "original",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="change a parameter")
    ] = None,
    confidence: Annotated[float, typer.Option(help="in the labels of a map")] = 0.7,
    classes: Annotated[int, typer.Option(help="of a label map; 0: up to its largest")] = 0,
    fill: Annotated[bool, typer.Option("--fill", help="label what is void, too")] = False,
    search: Annotated[
        bool, typer.Option("--search", help="RUN DATA: choose parameters for predict --crf")
    ] = False,
    split: Annotated[str, typer.Option(help="split to search on")] = "val",
    pictures: Annotated[int, typer.Option(help="of it, to search on")] = 20,
    minutes: Annotated[float, typer.Option(help="to search for")] = 10.0,
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Correct scores (K, H, W), or a label map, by the dense CRF and the picture.

    NAME: appearance, appearance_xy, appearance_rgb, smoothness, smoothness_xy, iterations, quality
    (auto, fast, exact, pydensecrf; or the least kernel of pairs, such as 0.01). Of --method grid:
    appearance, appearance_rgb, smoothness, rounds.
    """
    from pixelwise.machine.environment import use_threads

    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    idle = OF_MAPS if search else OF_SEARCH + (("preset",) if method == "grid" else ())
    for name in idle:
        if str(context.get_parameter_source(name)) != "ParameterSource.DEFAULT":
            beside = "--search" if search else "--method grid" if name == "preset" else "a map"
            what = f"--{name} does nothing with {beside}, expected it without"
            raise UsageError("U002", what, "pixelwise crf --help")
    use_threads(threads)
    if search:
        _search(given, image, out, changes or (), split, pictures, minutes, json=json)
        return
    if out is None or out.exists():
        what = f"{out} exists, expected a new file" if out else "there is no output, expected one"
        raise UsageError("U003" if out else "U002", what, "-o better.png")
    if method == "grid" and out.suffix == ".npz":
        raise UsageError("U002", f"{out}: a grid has labels, no probabilities", "-o labels.png")
    about: dict[str, Any] = {"classes": classes, "confidence": confidence, "fill": fill}
    changed = _refine(given, image, out, method, preset, changes or (), **about)
    if json:
        emit_json({"out": str(out), "method": method, "changed": changed})
    else:
        say(f"{out}: {100 * changed:.1f} % of the labels changed")


def _refine(
    given: Path,
    image: Path,
    out: Path,
    method: str,
    preset: str,
    changes: Sequence[str],
    *,
    classes: int,
    confidence: float,
    fill: bool,
) -> float:
    """Writes ``out``, and gives the part of the labels that changed."""
    import numpy as np

    from pixelwise.labels import VOID, colours_for
    from pixelwise.machine.files import atomic_write
    from pixelwise.pictures import images

    if images.palette_in(image) is not None:
        what = f"{image}: a picture with a palette, expected a photo; a label map comes first"
        raise DataError("D015", what, f"pixelwise crf {image} {given} -o {out}")
    scores, void, listed = _read(given, classes, confidence)
    refined = _refined(scores, image, method, preset, changes)
    best = refined.argmax(0) if refined.ndim == 3 else refined
    best = best.astype(np.uint8 if len(scores) <= VOID else np.uint16)
    changed = best != np.argmax(scores, 0)
    if void is not None and not fill:
        best[void], changed[void] = VOID, False
    if out.suffix == ".npz":
        atomic_write(out, lambda f: np.savez_compressed(f, probabilities=refined))
    else:
        images.write_labels(out, best, np.asarray(colours_for(len(scores), listed), np.uint8))
    return float(changed.mean())


def _read(
    given: Path, classes: int, confidence: float
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, list[Any]]:
    """Scores, and of a label map where it is void, and its colours."""
    import numpy as np

    from pixelwise.crf.dense import believed
    from pixelwise.labels import VOID
    from pixelwise.pictures import images

    if given.suffix in (".npz", ".npy"):
        try:
            scores = np.load(given, allow_pickle=False)
            return scores if given.suffix == ".npy" else scores["probabilities"], None, []
        except (ValueError, OSError, KeyError, EOFError) as error:
            what = f"{given}: no array of numbers, nor an .npz with `probabilities`"
            raise DataError("D020", what, "np.save(path, scores), of (K, H, W)") from error
    labels, colours = images.read_labels(given), images.palette_in(given)
    listed = [] if colours is None else list(map(tuple, colours.tolist()))
    void = (labels == VOID) & (labels.dtype == np.uint8)
    count = classes or max(2, 1 + int(labels[~void].max(initial=0)))
    return believed(labels, count, confidence), void, listed


def _refined(
    scores: NDArray[Any], image: Path, method: str, preset: str, changes: Sequence[str]
) -> NDArray[Any]:
    """Probabilities (K, H, W), or labels (H, W)."""
    from pixelwise.cli.arguments import crf_of
    from pixelwise.crf.dense import refine
    from pixelwise.crf.grid import GridMrf, relabel
    from pixelwise.pictures.reading import read
    from pixelwise.settings import read as read_settings

    if method == "grid":
        named = dict(change.partition("=")[::2] for change in changes)
        return relabel(scores, read(image), read_settings(GridMrf, named))
    return refine(scores, read(image), crf_of(preset, changes))


def _search(
    run: Path,
    data: Path,
    out: Path | None,
    changes: Sequence[str],
    split: str,
    pictures: int,
    minutes: float,
    *,
    json: bool,
) -> None:
    from pixelwise.cli.arguments import load_model
    from pixelwise.crf.search import NAMES
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.folders import is_run
    from pixelwise.workflows.crf_search import RESULT, search

    if out is None and not is_run(run):
        what = f"{run} is no run folder, expected one, or where to write the parameters"
        raise UsageError("U002", what, f"-o {RESULT}")
    model = load_model(run, precision="", device="auto", threads=0)
    dataset = model.fitting(open_dataset(data))
    with progress("trying parameters", quiet=json) as advance:
        made = search(
            model,
            dataset,
            split,
            out or run / RESULT,
            fixed=dict(change.partition("=")[::2] for change in changes),
            pictures=pictures,
            minutes=minutes,
            watch=advance,
        )
    if json:
        facts = {"model": str(run), "data": str(data), "split": split}
        emit_json({**facts, "out": str(made.written) if made.written else None, **made.as_dict()})
        return
    rows = []
    for trial in sorted(made.trials, key=lambda t: -(t.scores["mean_iu"] or 0)):
        values = [getattr(trial.crf, name) for name in NAMES] if trial.crf else ["none"] * 5
        rows.append((*values, *(in_percent(score) for score in trial.scores.values())))
    what = f"{len(made.trials)} trials on {made.pictures} pictures of {split}"
    table(what, (*NAMES, "mean IU, %", "pixel accuracy, %", "boundary IU, %"), rows)
    if not made.complete:
        say("the time was over: the same command goes on")
    say(f"wrote {made.written}" if made.written else "no CRF is better than none: nothing written")
