"""``pixelwise crf``: scores or labels of any tool, corrected by the picture; a search for how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli import options
from pixelwise.cli.console import emit_json, in_percent, say, table
from pixelwise.errors import DataError, UsageError, unknown_name
from pixelwise.machine.progress import progress

if TYPE_CHECKING:
    from pixelwise.crf.grid import GridMrf
    from pixelwise.crf.parameters import DenseCrf

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
    search: Annotated[bool, typer.Option("--search", help="RUN DATA: for predict --crf")] = False,
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
    from pixelwise.crf.grid import GridMrf
    from pixelwise.crf.parameters import crf_of
    from pixelwise.machine.environment import use_threads
    from pixelwise.settings import read

    if method not in ("dense", "grid"):
        raise unknown_name("method", method, ["dense", "grid"])
    for name in OF_MAPS if search else OF_SEARCH + ("preset",) * (method == "grid"):
        if str(context.get_parameter_source(name)) != "ParameterSource.DEFAULT":
            beside = "--search" if search else "--method grid" if name == "preset" else "a map"
            what = f"--{name} does nothing with {beside}, expected it without"
            raise UsageError("U002", what, "pixelwise crf --help")
    use_threads(threads)
    named = dict(change.partition("=")[::2] for change in changes or ())
    if search:
        _search(given, image, out, named, split, pictures, minutes, json)
        return
    if out is None or out.exists():
        what = f"{out} exists, expected a new file" if out else "there is no output, expected one"
        raise UsageError("U003" if out else "U002", what, "-o better.png")
    if method == "grid" and out.suffix == ".npz":
        raise UsageError("U002", f"{out}: a grid has labels, no probabilities", "-o labels.png")
    parameters = read(GridMrf, named) if method == "grid" else crf_of(preset, changes or ())
    changed = _correct(given, image, out, parameters, classes, confidence, fill)
    say(f"{out}: {100 * changed:.1f} % of the labels changed")
    if json:
        emit_json({"out": str(out), "method": method, "changed": changed})


def _correct(
    given: Path,
    image: Path,
    out: Path,
    parameters: DenseCrf | GridMrf,
    classes: int,
    confidence: float,
    fill: bool,
) -> float:
    """Writes ``out``; comes out which part of the labels changed."""
    import numpy as np

    from pixelwise.crf.dense import refine
    from pixelwise.crf.grid import GridMrf, relabel
    from pixelwise.labels import VOID, colours_for
    from pixelwise.machine.files import atomic_write
    from pixelwise.pictures import images
    from pixelwise.pictures.reading import read

    if images.palette_in(image) is not None:
        what = f"{image}: a picture with a palette, expected a photo; a label map comes first"
        raise DataError("D015", what, f"pixelwise crf {image} {given} -o {out}")
    scores, void, listed = _read(given, classes, confidence)
    if isinstance(parameters, GridMrf):
        best: Any = relabel(scores, read(image), parameters)
    else:
        made: Any = refine(scores, read(image), parameters)
        best = made.argmax(0)
    changed = best != np.argmax(scores, 0)
    labels: Any = best.astype(np.uint8 if len(scores) <= VOID else np.uint16)
    if void is not None and not fill:
        labels[void], changed[void] = VOID, False
    if out.suffix == ".npz":
        atomic_write(out, lambda f: np.savez_compressed(f, probabilities=made))
    else:
        images.write_labels(out, labels, np.asarray(colours_for(len(scores), listed), np.uint8))
    return float(changed.mean())


def _read(given: Path, classes: int, confidence: float) -> tuple[Any, Any, list[Any]]:
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


def _search(
    run: Path,
    data: Path,
    out: Path | None,
    fixed: dict[str, str],
    split: str,
    pictures: int,
    minutes: float,
    json: bool,
) -> None:
    from pixelwise.cli.arguments import load_model
    from pixelwise.crf.search import NAMES
    from pixelwise.data.formats.layouts import open_dataset
    from pixelwise.folders import is_run
    from pixelwise.workflows.crf_search import search

    if out is None and not is_run(run):
        what = f"{run} is no run folder, expected one, or where to write the parameters"
        raise UsageError("U002", what, "-o crf.json")
    model = load_model(run, precision="", device="auto", threads=0)
    dataset, place = model.fitting(open_dataset(data)), out or run / "crf.json"
    budget: dict[str, Any] = {"pictures": pictures, "minutes": minutes}
    with progress("trying parameters", quiet=json) as advance:
        made = search(model, dataset, split, place, fixed=fixed, **budget, watch=advance)
    if json:
        emit_json({"model": str(run), "data": str(data), "split": split, **budget, **made})
        return
    rows = []
    for trial in sorted(made["trials"], key=lambda trial: -(trial["mean_iu"] or 0)):
        crf = trial.pop("crf") or dict.fromkeys(NAMES, "none")
        rows.append((*(crf[name] for name in NAMES), *map(in_percent, trial.values())))
    measures = ("mean IU, %", "pixel accuracy, %", "boundary IU, %")
    table(f"{len(rows)} trials on {split}", (*NAMES, *measures), rows)
    if not made["complete"]:
        say("the time was over: the same command goes on")
    say(f"wrote {made['out']}" if made["out"] else "no CRF is better than none: nothing written")
