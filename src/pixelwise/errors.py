"""Everything that can go wrong for a user, as one tree of exceptions.

    PixelwiseError                     exit 7   our own mistake, when nothing below fits
    |-- UsageError (ValueError)        exit 2   wrong usage; nothing was written
    |-- DataError (ValueError)         exit 3   images, labels, splits, layouts
    |-- ModelError (ValueError)        exit 4   model file missing, invalid, incompatible, unsafe
    |-- ResourceError (RuntimeError)   exit 5   disk, memory, lock, port, extra, device
    |-- NumericalError (ArithmeticError)  exit 6   NaN, collapse
    `-- Stopped                        exit 130 / 143   interrupted, after saving

Each error carries a code of ``CODES`` (the registry; ``docs/errors.md`` explains every entry and a
test walks it), one sentence that names place, value and expectation, and a hint that can be pasted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

CODES: dict[str, str] = {
    "U001": "a name is not known",
    "U002": "options contradict each other or are out of range",
    "U003": "an output would overwrite something that is not ours",
    "U004": "a setting differs from the run that is to be continued",
    "U005": "a request to the service is not permitted",
    "D010": "a path does not exist or cannot be read",
    "D011": "the layout of a data folder is not recognised",
    "D012": "a label value names no class",
    "D013": "image and label map differ in size",
    "D014": "an EXIF orientation is ambiguous",
    "D015": "an image mode or file format is not supported",
    "D016": "a label map holds colours instead of class indices",
    "D017": "a label map was stored with lossy compression",
    "D018": "the number of channels is not the expected one",
    "D019": "depth in a unit that cannot be meant, or missing everywhere",
    "D020": "a file cannot be read as an image",
    "D022": "an image has more pixels than the limit",
    "D023": "a picture is too small for the net",
    "D025": "a file holds several pictures",
    "D026": "a MATLAB or HDF5 file is damaged or lacks what is read from it",
    "D030": "two files share one stem",
    "D031": "an image or a label map has no partner",
    "D032": "a split is empty or missing",
    "D033": "the same picture is in two splits",
    "D034": "a list or description file of a data set is malformed",
    "D035": "several problems were found in a data set",
    "D040": "an archive is damaged or unsafe",
    "M001": "a model file is missing",
    "M002": "a model file is damaged or not of the format it claims",
    "M010": "a file could run code when loaded and is refused",
    "M011": "a file is in a format that is recognised but not read",
    "M020": "weights are not finite",
    "M030": "a file was written by a newer version",
    "M040": "weights, net or classes do not fit each other",
    "R001": "no space left on the device",
    "R002": "a place cannot be written",
    "R003": "not enough memory",
    "R007": "another process holds the folder",
    "R008": "an optional package is not installed",
    "R009": "a device is not available",
    "R010": "another process of the run has ended",
    "R011": "a download failed",
    "R012": "a port cannot be listened on",
    "R013": "the service does not take a request on, or not in time",
    "N001": "the loss or a gradient is not finite",
    "N002": "the net has collapsed to one class",
    "N003": "scores are not finite",
    "B001": "an error inside pixelwise",
    "S001": "interrupted; the state was saved",
}


NOTED = 20  # problems of one error that its traceback shows: about a screen
GLANCE = 600  # characters of a hint that lists names; more are not read


class PixelwiseError(Exception):
    """The root; ``str(error)`` is one sentence without a final period.

    A traceback also shows the hint, and the problems where there are several.

    Args:
        code: key of ``CODES``.
        message: place, value, expectation.
        hint: what to do, pasteable where possible.
    """

    exit_code: int = 7

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        assert code in CODES, f"unregistered error code {code}"
        super().__init__(message)
        self.code = code
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, to and from another process: its maker takes other arguments than it keeps."""
        return _as_it_was, (type(self), self.args), vars(self)

    def as_dict(self) -> dict[str, str]:
        """The error as plain data, for ``--json`` and ``failures.jsonl``."""
        return {"code": self.code, "error": str(self), "hint": self.hint}


def _as_it_was(kind: type[PixelwiseError], args: tuple[object, ...]) -> PixelwiseError:
    return kind.__new__(kind, *args)


class UsageError(PixelwiseError, ValueError):
    """Wrong usage; nothing was written."""

    exit_code = 2


class DataError(PixelwiseError, ValueError):
    """Bad or missing data; ``problems`` holds every finding when there are several."""

    exit_code = 3

    def __init__(
        self, code: str, message: str, hint: str = "", problems: Sequence[DataError] = ()
    ) -> None:
        super().__init__(code, message, hint)
        self.problems = tuple(problems)
        for problem in self.problems[:NOTED]:
            self.add_note(f"{problem.code}: {problem}")
        if len(self.problems) > NOTED:
            self.add_note(f"... and {len(self.problems) - NOTED} more in .problems")


class ModelError(PixelwiseError, ValueError):
    """A model file is missing, invalid, incompatible or unsafe."""

    exit_code = 4


class ResourceError(PixelwiseError, RuntimeError):
    """Disk, memory, lock, port, missing extra or device."""

    exit_code = 5


class NumericalError(PixelwiseError, ArithmeticError):
    """NaN, infinity or a collapsed net."""

    exit_code = 6


class Stopped(PixelwiseError):
    """A signal ended the work after everything was saved; exit 128 + signal number."""

    def __init__(self, signal_number: int, message: str, hint: str = "") -> None:
        super().__init__("S001", message, hint)
        self.exit_code = 128 + signal_number  # as shells count: 130 for SIGINT, 143 for SIGTERM


def raise_all(
    place: object, problems: Sequence[DataError], *, summary: str = "", hint: str = ""
) -> None:
    """Nothing if there is no problem; one as it is; several as one D035 that holds them all."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        message = f"{summary or place}: {len(problems)} problems"
        raise DataError("D035", message, hint, sorted(problems, key=str))


def hxw(shape: Sequence[int]) -> str:
    """A size as all messages, tables and options have it: 375x500 is 375 high and 500 wide."""
    return f"{shape[0]}x{shape[1]}"


def first_few(texts: Sequence[str], limit: int = 5, separator: str = ", ") -> str:
    """The first of many, and how many more there are.

    >>> first_few(["a", "b", "c", "d"], 2)
    'a, b, and 2 more'
    """
    more = [f"and {len(texts) - limit} more"] if len(texts) > limit else []
    return separator.join([*texts[:limit], *more])


def visible(text: str, keep: str = "") -> str:
    """Control characters and lone surrogates as escapes: names in files may hold anything.

    Args:
        text: out of a file, or the name of one.
        keep: unprintable characters that may stand, such as the line break.
    """
    if text.isprintable():  # pictures as data URLs are long
        return text
    whole = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in whole)


def unknown_name(kind: str, name: str, known: Sequence[str], hint: str = "") -> UsageError:
    """A ``UsageError`` that lists the known names, the most similar first."""
    from difflib import get_close_matches

    if name in known:  # with a point in it, as `--set` takes it and YAML does not
        outer, _, inner = name.partition(".")
        what = f"{kind} `{name}` in one word, expected `{outer}: {{{inner}: ...}}`"
        return UsageError("U001", what, hint or "--set takes it in one word")
    words = name.rpartition(".")[2].split("_")
    short = "".join(word[:1] for word in words) if len(words) > 1 else name
    ending = [k for k in known if k.rpartition(".")[2] in (name, short)]  # lr, learning_rate
    close = ending or get_close_matches(name, known, n=3, cutoff=0.5)
    meant = f"; did you mean {', '.join(f'`{c}`' for c in close)}?" if close else ""
    names = sorted(known)
    legible = 1 + sum(end < GLANCE for end in accumulate(len(k) + 2 for k in names))
    listed = f"known: {first_few(names, legible)}"
    return UsageError("U001", f"no {kind} is called `{name}`{meant}", hint or listed)
