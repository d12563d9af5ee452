"""What is known of a published data set: one record, for its page and for its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pixelwise.data.classes import ClassMap
from pixelwise.errors import DataError


@dataclass(frozen=True)
class Download:
    """A file that the authors publish; it is put into SRC as it is, or unpacked."""

    file: str
    holds: str
    url: str
    """Its own address, or that of the page which leads to it."""
    needed: str = "yes"
    """Or for what."""


@dataclass(frozen=True)
class Published:
    """A data set as its authors publish it."""

    name: str
    """Of the command ``data prepare NAME``, and of its page in docs/datasets/."""
    title: str
    class_maps: Mapping[str, ClassMap]
    """By head: the classes and colours of what is written, 255 void."""
    preprocess: tuple[str, ...]
    """Names in ``preprocess.PUBLISHED`` whose mean pixel the released nets subtract, for its page.
    """
    citation: str
    terms: str
    files: tuple[Download, ...]
    archives: tuple[str, ...] = ()
    """Patterns of the names that its archives go by, in lower case."""

    def missing(self, place: str, what: str, file: str) -> DataError:
        """Of ``what`` is not in SRC, ``place``: get which of ``files``, put it where."""
        source = next(f for f in self.files if f.file == file)
        message = f"{place}: there is no {what}, expected {file} or what is in it ({source.holds})"
        hint = f"get {file} from {source.url} and put it into {place}, as it is or unpacked"
        return DataError("D010", message, hint)
