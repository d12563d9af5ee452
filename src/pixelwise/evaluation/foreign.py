"""Score label maps that any tool wrote: two folders, matched file by file, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.class_files import stated
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import described_classes, label_folder, layout_classes
from pixelwise.data.listing import by_stem, known_name, pictures, read_list
from pixelwise.data.unpacking import folder_of
from pixelwise.errors import DataError, UsageError, hxw, raise_all
from pixelwise.evaluation.evaluate import Evaluation, Pair, evaluate
from pixelwise.folders import OVERLAY, is_predictions
from pixelwise.labels import VOID, voc_palette
from pixelwise.metrics.confusion import strange_values
from pixelwise.pictures.images import read_labels

Labels = npt.NDArray[Any]
ADD = "add it, or score a part: --list FILE"
_ADD_GUESS = "add it, or compare on a split of which all are there: --split NAME"
MOST = 1024
"""Classes that the largest value may stand for; more take a table of their square."""
RIGHT_CLASSES = "give the right --classes N, --ignore a value of the truth, or map the values first"
NOTHING = "nothing was scored: a mean over fewer images would not be comparable"


@dataclass(frozen=True)
class Match:
    """A guess and its truth on disk."""

    name: str
    guess: Path
    truth: Path


def match(guesses: Path, truth: Path, stems: Sequence[str] | None = None) -> tuple[Match, ...]:
    """Pair the label maps of two folders (or of a data set) by stem; every gap is an error.

    Raises:
        DataError: missing guesses, extra files, two files of one stem (D035 with ``problems``).
    """
    problems: list[DataError] = []
    guessed, true = _maps(folder_of(guesses), problems), _maps(label_folder(truth), problems)
    listed = () if stems is None else (known_name(s, true) for s in stems)
    wanted = sorted({*guessed, *true} if stems is None else set(listed))
    for stem in wanted:
        if stem not in guessed:
            problems.append(DataError("D031", f"{stem}: no guess in {guesses}", ADD))
        if stem not in true:
            problems.append(DataError("D031", f"{stem}: no truth in {truth}", ADD))
    if not wanted:
        what = f"{truth}: no label map was found in it"
        problems.append(DataError("D010", what, "label maps are .png files of class numbers"))
    raise_all(guesses, problems, summary=f"{guesses} does not match {truth}", hint=NOTHING)
    return tuple(Match(stem, guessed[stem], true[stem]) for stem in wanted)


@dataclass(frozen=True)
class _Reading:
    """How the files of both folders become class numbers."""

    classes: tuple[str, ...]
    truth: Callable[[Match], Labels]
    guess: Callable[[Path], Labels] = read_labels


def score_folders(
    guesses: Path,
    truth: Path,
    *,
    classes: int | None = None,
    stems: Sequence[str] | None = None,
    ignore: Sequence[int] = (),
    values: str = "",
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """The evaluation of a folder of foreign label maps, or one error that lists all problems.

    What the truth's values or colours mean is read from its ``classes.json``, ``classes.txt`` or
    ``dataset.json``, or known from its layout (VOC, CamVid). Guesses are class numbers in that
    order; where the truth is described by colours, colours will do.

    Args:
        guesses: folder of guessed label maps.
        truth: folder of true label maps, or a data set that keeps them in one folder.
        classes: how many; where a file describes them no others. By default what is described,
            else one more than the largest value in either folder (void aside).
        stems: score these only.
        ignore: values of the truth that are void, beside 255 and what is described as void.
        values: what those of the truth mean, as ``class_files.stated`` reads it.
        advance: called after each file pair that was read.

    Raises:
        DataError: all that is wrong with the files.
        UsageError: U002 ``classes`` or ``ignore`` contradict what is described.
    """
    said = stated(values)
    matches = match(guesses, truth, stems)
    folder = label_folder(truth)
    own = described_classes(folder) or (layout_classes(folder) if classes is None else None)
    class_map = said.applied(own) if own else said.class_map
    if class_map is None:
        void = {VOID, *ignore}
        names = _class_names(matches, truth, classes, void)
        reading = _Reading(names, lambda pair: _without(read_labels(pair.truth), void))
    else:
        reading = _as_described(class_map, truth, classes, ignore)
    summary = f"{guesses} cannot be scored against {truth}"
    return _evaluated(matches, reading, guesses, summary, advance)


def score_guesses(
    guesses: Path,
    dataset: DataSet,
    split: str,
    *,
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """The evaluation of foreign label maps on a split of a data set, as a model's would be.

    Guesses are named after the pictures and hold class numbers, or the colours of the data set's
    classes; further files in their folder do not count.

    Args:
        guesses: folder of guessed label maps.
        dataset: the truth.
        split: which pictures.
        advance: called after each file pair that was read.

    Raises:
        DataError: all that is wrong with the files (D035 with ``problems``), or with the split.
    """
    problems: list[DataError] = []
    guessed, items = _maps(guesses, problems), {i.name: i for i in dataset.items(split)}
    gaps = [n for n in items if n not in guessed]
    problems += [DataError("D031", f"{n}: no guess in {guesses}", _ADD_GUESS) for n in gaps]
    summary = f"{guesses} cannot be compared on split {split} of {dataset.root}"
    raise_all(guesses, problems, summary=summary, hint=NOTHING)
    head = dataset.heads[0]
    matches = [Match(n, guessed[n], i.labels[head].files[0]) for n, i in items.items()]

    def truth(pair: Match) -> Labels:
        return items[pair.name].labels[head].read(dataset.class_map)

    reading = _Reading(dataset.classes, truth, guess_reader(dataset))
    evaluation = _evaluated(matches, reading, guesses, summary, advance)
    return replace(evaluation, trained_on=None)


def guess_files(folder: Path) -> dict[str, Path]:
    """The label maps in a folder, by the names of their pictures.

    Raises:
        DataError: D010 no such folder; two files of one name (D035 with ``problems``).
    """
    problems: list[DataError] = []
    files = _maps(folder, problems)
    raise_all(folder, problems)
    return files


def guess_reader(dataset: DataSet) -> Callable[[Path], Labels]:
    """Reads a guessed label map: class numbers, or the colours of the data set's classes."""
    red, green, blue = voc_palette()[VOID].tolist()  # what borders are painted with in VOC
    colours = {colour: i for i, colour in enumerate(dataset.palette)}
    in_colour = replace(dataset.class_map, colours={(red, green, blue): VOID, **colours})
    return partial(_by_number_or_colour, in_colour)


def _as_described(
    class_map: ClassMap, truth: Path, classes: int | None, ignore: Sequence[int]
) -> _Reading:
    """What is described decides; options may repeat it, not change it."""
    names = class_map.classes
    if classes not in (None, len(names)):
        what = f"{classes} classes were asked for, but {truth} is described with {len(names)}"
        raise UsageError("U002", what, f"leave --classes away, or correct what {truth} says")
    if ignore and class_map.colours:
        what = f"value {ignore[0]} is to be ignored, but {truth} is described by colours"
        raise UsageError("U002", what, "list the colour in classes.json, under `ignore`")
    if class_map.colours:
        in_colour = partial(_by_number_or_colour, class_map)
        return _Reading(names, lambda pair: class_map.read(pair.truth), in_colour)
    mapped = replace(class_map, values={**class_map.values, **dict.fromkeys(ignore, VOID)})
    return _Reading(names, lambda pair: mapped.read(pair.truth))


def _by_number_or_colour(class_map: ClassMap, path: Path) -> Labels:
    try:
        return read_labels(path)
    except DataError as error:
        if error.code != "D016":
            raise
        return class_map.read(path)


def _class_names(
    matches: Sequence[Match], truth: Path, classes: int | None, void: Set[int]
) -> tuple[str, ...]:
    """Numbers, as many as were asked for, or up to the largest value that occurs."""
    if classes is not None:
        return tuple(str(i) for i in range(classes))
    largest = _largest(matches, void)
    if not largest:
        message = f"{truth}: no class but 0 occurs beside void (255), so the score would be 1"
        hint = "map masks of 0 and 255 to 0 and 1 first, or say --classes 1 if that is meant"
        raise DataError("D012", message, hint)
    if largest >= MOST:
        message = f"{truth}: the largest value is {largest:,}, expected a class below {MOST:,}"
        raise DataError("D012", message, f"--ignore {largest} if it is void, else --classes N")
    return tuple(str(i) for i in range(largest + 1))


def _maps(folder: Path, problems: list[DataError]) -> dict[str, Path]:
    if not folder.is_dir():
        what = f"{folder}: no such folder (expected a folder of label maps)"
        raise DataError("D010", what, "check the path")
    files = pictures(folder)
    if is_predictions(folder) or is_predictions(folder.parent):  # or of a further head
        files = [path for path in files if not path.name.endswith(OVERLAY)]
    return by_stem(files, problems)


def _evaluated(
    matches: Sequence[Match],
    reading: _Reading,
    guesses: Path,
    summary: str,
    advance: Callable[[], object],
) -> Evaluation:
    """All pairs counted, or all problems of all files: what cannot be counted is still read."""
    problems: list[DataError] = []

    def pairs() -> Iterator[Pair]:
        for pair in matches:
            try:
                guess, truth = reading.guess(pair.guess), reading.truth(pair)
                _check(pair, guess, truth, len(reading.classes))
            except DataError as error:
                problems.append(error)
            else:
                yield Pair(pair.name, truth, guess)
            advance()

    try:
        evaluation = evaluate(pairs(), reading.classes)
    except UsageError:  # no pair was left to count
        assert problems
    raise_all(guesses, problems, summary=summary, hint=NOTHING)
    return evaluation


def _check(pair: Match, guess: Labels, truth: Labels, num_classes: int) -> None:
    if guess.shape != truth.shape:
        sizes = f"is {hxw(guess.shape)}, but {pair.truth} is {hxw(truth.shape)} (HxW)"
        what = f"{pair.guess} {sizes}; expected one size"
        raise DataError("D013", what, "export both at the size of the picture")
    roles = (
        (pair.truth, truth, "or 255 for void"),
        (pair.guess, guess, "void is no class to predict"),
    )
    for path, values, note in roles:
        if listed := strange_values(values[truth != VOID], num_classes):
            expected = f"expected 0..{num_classes - 1}; {note}"
            message = f"{path}: values that name no class: {listed} ({expected})"
            raise DataError("D012", message, RIGHT_CLASSES)


def _without(truth: Labels, void: Set[int]) -> Labels:
    """The truth with every void value as 255."""
    return np.where(np.isin(truth, list(void)), truth.dtype.type(VOID), truth)


def _largest(matches: Sequence[Match], void: Set[int]) -> int:
    """The largest class index in any file; unreadable files are told of later, all at once."""
    largest = 0
    for path in (path for pair in matches for path in (pair.truth, pair.guess)):
        try:
            values = read_labels(path)
        except DataError:
            continue
        largest = max(largest, int(values[~np.isin(values, list(void))].max(initial=0)))
    return largest


def read_names(path: Path) -> tuple[str, ...]:
    """Names from a text file, one a line, without folder; ``match`` leaves suffixes aside.

    Raises:
        DataError: D034 it cannot be read.
    """
    problems: list[DataError] = []
    lines = read_list(path, problems)
    raise_all(path, problems)
    return tuple(Path(line).name for line in lines)
