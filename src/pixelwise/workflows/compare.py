"""Score several systems on the same pictures, and show where they part."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.evaluation.comparison import Comparison, named
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.evaluation.foreign import guess_files, guess_reader, score_guesses
from pixelwise.evaluation.systems import System
from pixelwise.machine.files import atomic_write, write_json
from pixelwise.pages import comparison as pages
from pixelwise.pictures import images
from pixelwise.predict.model import Model

PAGE, SCORES, GUESSES, PANELS = "compare.html", "scores.json", "guesses", "panels"
"""What the output folder holds."""
Load = Callable[[Path], Model]


def compare(
    chosen: Sequence[System],
    dataset: DataSet,
    split: str,
    out: Path,
    *,
    load: Load,
    advance: Callable[[], object] = lambda: None,
) -> Comparison:
    """Score every system on a split; write the scores, the page and the panels into ``out``.

    Args:
        chosen: at least one; a model's label maps are kept in ``out``.
        dataset: the pictures and the truth.
        split: of which pictures.
        out: a folder; files of the same names are replaced, so panels of an earlier comparison
            whose pictures are not shown now stay there.
        load: a model from its path.
        advance: called after each picture of each system.

    Raises:
        DataError: all guesses that are missing or cannot be read.
        ModelError: a model whose classes are not the data set's.
    """
    # Names that differ by letters that no file has are told apart by numbers.
    folder_names = named([_file_name(s.name) for s in chosen])
    folders = {s.name: out / GUESSES / f for s, f in zip(chosen, folder_names, strict=True)}
    # Foreign label maps first: what is missing among them is known before a net has run.
    scored: dict[str, Evaluation] = {}
    for system in sorted(chosen, key=lambda s: s.is_model):
        if system.is_model:
            model, keep = load(system.path), folders[system.name]
            # Of a model of several heads the one that the data's first labels are of.
            heads = [head for head in dataset.heads[:1] if head in model.heads]
            model.predictor.net.only_classes("a comparison")
            scored[system.name] = model.evaluate(
                dataset, split, heads=heads, keep=keep, watch=advance
            )
        else:
            scored[system.name] = score_guesses(system.path, dataset, split, advance=advance)
    names = tuple(s.name for s in chosen)
    comparison = Comparison(names, tuple(scored[name] for name in names))
    _write(comparison, dataset, split, out, _reader(chosen, folders, dataset))
    return comparison


def _reader(
    chosen: Sequence[System], folders: dict[str, Path], dataset: DataSet
) -> Callable[[str, str], NDArray[Any]]:
    """Reads the label map of (system, picture), wherever it lies."""
    read = guess_reader(dataset)
    files = {s.name: guess_files(folders[s.name] if s.is_model else s.path) for s in chosen}
    return lambda system, picture: read(files[system][picture])


def _write(
    comparison: Comparison,
    dataset: DataSet,
    split: str,
    out: Path,
    guess: Callable[[str, str], NDArray[Any]],
) -> None:
    shown = pages.strips(comparison, dataset, split, guess)
    for title, strips in shown.items():
        for rank, strip in enumerate(strips, start=1):
            kind = title.partition(" ")[0].lower()
            place = out / PANELS / f"{kind}_{rank}_{_file_name(strip.image.name)}.png"
            images.write_image(place, images.side_by_side(strip.pictures, strip.words))
    facts = {"data": str(dataset.root), "split": split, **comparison.as_dict()}
    write_json(out / SCORES, facts)
    atomic_write(out / PAGE, pages.page(comparison, shown, dataset, split))


def _file_name(name: str) -> str:
    """A system's or picture's name as a file's: without what leads elsewhere."""
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "system"
