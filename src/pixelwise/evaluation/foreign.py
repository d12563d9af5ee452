"""Score label maps that any tool wrote: two folders, matched file by file, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.classes import ClassMap
from pixelwise.data.formats import canonical
from pixelwise.data.listing import by_stem, known_name, pictures, raise_all, read_list
from pixelwise.errors import DataError, UsageError, hxw
from pixelwise.evaluation.evaluate import Evaluation, Pair, evaluate
from pixelwise.folders import OVERLAY, is_predictions
from pixelwise.labels import VOID
from pixelwise.metrics.confusion import strange_values

Labels = npt.NDArray[Any]
ADD = "add it, or score a part: --list FILE"
MOST = 1024
"""Classes that the largest value may stand for; more take a table of their square."""
NOTHING = "nothing was scored: a mean over fewer images would not be comparable"


@dataclass(frozen=True)
class Match:
    """A guess and its truth on disk."""

    name: str
    guess: Path
    truth: Path


def match(guesses: Path, truth: Path, stems: Sequence[str] | None = None) -> tuple[Match, ...]:
    """Pair the label maps of two folders by file stem; every gap is an error, all are listed.

    Args:
        guesses: folder of guessed label maps.
        truth: folder of true label maps, or a data set in the canonical layout.
        stems: score these only; by default every label map of both folders.

    Raises:
        DataError: missing guesses, extra files, two files of one stem (D035 with ``problems``).
    """
    problems: list[DataError] = []
    guessed, true = _maps(guesses, problems), _maps(_truth_folder(truth), problems)
    listed = () if stems is None else (known_name(s, true) for s in stems)
    wanted = sorted({*guessed, *true} if stems is None else set(listed))
    for stem in wanted:
        if stem not in guessed:
            problems.append(DataError("D031", f"{stem}: no guess in {guesses}", ADD))
        if stem not in true:
            problems.append(DataError("D031", f"{stem}: no truth in {truth}", ADD))
    if not wanted:
        problems.append(
            DataError(
                "D010",
                f"{truth}: no label map was found in it",
                "label maps are .png files of class numbers",
            )
        )
    raise_all(guesses, problems, summary=f"{guesses} does not match {truth}", hint=NOTHING)
    return tuple(Match(stem, guessed[stem], true[stem]) for stem in wanted)


def score_folders(
    guesses: Path,
    truth: Path,
    *,
    classes: Sequence[str] | int | None = None,
    stems: Sequence[str] | None = None,
    ignore: Sequence[int] = (),
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """The evaluation of a folder of foreign label maps, or one error that lists all problems.

    Args:
        guesses: folder of guessed label maps.
        truth: folder of true label maps, or a data set in the canonical layout.
        classes: names, or how many; by default those of the truth's ``dataset.json``, else one
            more than the largest value in either folder (void aside).
        stems: score these only.
        ignore: values of the truth that are void, beside 255 and what that file ignores.
        advance: called after each file pair that was read.
    """
    matches = match(guesses, truth, stems)
    told = _described(truth) if classes is None else None
    void = frozenset((VOID, *ignore)) | (told.void if told else frozenset())
    names = told.classes if told else _class_names(matches, truth, classes, void)
    problems: list[DataError] = []
    pairs = _read_pairs(matches, len(names), void, problems, advance)
    try:
        found = evaluate(pairs, names)
    except UsageError:  # no pair was left to count
        assert problems
    summary = f"{guesses} cannot be scored against {truth}"
    raise_all(guesses, problems, summary=summary, hint=NOTHING)
    return found


def _described(truth: Path) -> ClassMap | None:
    """What the ``dataset.json`` says that is the truth's own: beside it only for ``labels/``."""
    truth = truth.absolute()
    places = [truth, truth.parent] if truth.name == "labels" else [truth]
    found = (place / canonical.NAME for place in places)
    return next((canonical.described(path) for path in found if path.is_file()), None)


def _class_names(
    matches: Sequence[Match], truth: Path, classes: Sequence[str] | int | None, void: Set[int]
) -> tuple[str, ...]:
    """Class names as given, or numbers up to the largest value found."""
    if isinstance(classes, int):
        return tuple(str(i) for i in range(classes))
    if classes is not None:
        return tuple(classes)
    largest = _largest(matches, void)
    if not largest:
        message = f"{truth}: no class but 0 occurs beside void (255), so the score would be 1"
        hint = "map masks of 0 and 255 to 0 and 1 first, or say --classes 1 if that is meant"
        raise DataError("D012", message, hint)
    if largest >= MOST:
        told = f"{truth}: the largest value is {largest:,}, expected a class below {MOST:,}"
        raise DataError("D012", told, f"--ignore {largest} if it is void, else --classes N")
    return tuple(str(i) for i in range(largest + 1))


def _truth_folder(truth: Path) -> Path:
    inner = truth / "labels"
    return inner if inner.is_dir() else truth


def _maps(folder: Path, problems: list[DataError]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            "D010", f"{folder}: no such folder (expected a folder of label maps)", "check the path"
        )
    found = pictures(folder)
    if is_predictions(folder):
        found = [path for path in found if not path.name.endswith(OVERLAY)]
    return by_stem(found, problems)


def _read_pairs(
    matches: Sequence[Match],
    num_classes: int,
    void: Set[int],
    problems: list[DataError],
    advance: Callable[[], object],
) -> Iterator[Pair]:
    """Pairs that can be counted; what cannot is added to ``problems`` and the rest still read."""
    for pair in matches:
        try:
            guess, truth = _read(pair.guess), _without(_read(pair.truth), void)
            _check(pair, guess, truth, num_classes)
        except DataError as error:
            problems.append(error)
        else:
            yield Pair(pair.name, truth, guess)
        advance()


def _check(pair: Match, guess: Labels, truth: Labels, num_classes: int) -> None:
    if guess.shape != truth.shape:
        sizes = f"is {hxw(guess.shape)}, but {pair.truth} is {hxw(truth.shape)} (HxW)"
        raise DataError(
            "D013",
            f"{pair.guess} {sizes}; expected one size",
            "export both at the size of the picture",
        )
    counted = truth != VOID
    _check_values(pair.truth, truth[counted], num_classes, "or 255 for void")
    _check_values(pair.guess, guess[counted], num_classes, "void is no class to predict")


def _check_values(path: Path, values: Labels, num_classes: int, note: str) -> None:
    if listed := strange_values(values, num_classes):
        expected = f"expected 0..{num_classes - 1}; {note}"
        message = f"{path}: values that name no class: {listed} ({expected})"
        hint = "give the right --classes N, --ignore a value of the truth, or map the values first"
        raise DataError("D012", message, hint)


def _without(truth: Labels, void: Set[int]) -> Labels:
    """The truth with every void value as 255."""
    return np.where(np.isin(truth, list(void)), truth.dtype.type(VOID), truth)


def _largest(matches: Sequence[Match], void: Set[int]) -> int:
    """The largest class index in any file; unreadable files are told of later, all at once."""
    largest = 0
    for path in (path for pair in matches for path in (pair.truth, pair.guess)):
        try:
            values = _read(path)
        except DataError:
            continue
        largest = max(largest, int(values[~np.isin(values, list(void))].max(initial=0)))
    return largest


def _read(path: Path) -> Labels:
    from pixelwise.pictures.images import read_labels

    labels: Labels = read_labels(path)
    return labels


def read_names(path: Path) -> tuple[str, ...]:
    """Names from a text file, one a line, without folder; ``match`` leaves suffixes aside.

    Raises:
        DataError: D034 it cannot be read.
    """
    problems: list[DataError] = []
    names = read_list(path, problems)
    raise_all(path, problems)
    return tuple(names)
