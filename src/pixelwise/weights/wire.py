"""A bounded reader of the protobuf wire format: every length is checked against the bytes left.

Nothing is trusted and nothing is allocated on a file's word: values are read in place, arrays are
copied out piece by piece. There is no recursion; a caller descends only where it knows the message.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ModelError, visible

Buffer = bytes | mmap.mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
MAX_FIELDS = 300_000  # GoogLeNet has 2,500, ResNet-152 30,000; a million take seconds to walk
MAX_TEXT = 4096
_PIECE = 1 << 22  # elements copied at a time, so that a mapped file never doubles in memory


class Field(NamedTuple):
    """One field, or a run of equal fixed-size fields (what unpacked floats are)."""

    number: int
    kind: int
    value: int
    """Of a varint; 0 otherwise."""
    at: int
    """Offset of the tag."""
    start: int
    """Offset of the payload; of the first one in a run."""
    end: int
    times: int = 1


class WireReader:
    """Walks messages in ``data``, the whole file; ``source`` names it in errors."""

    def __init__(self, data: Buffer, source: str) -> None:
        self.data = data
        self.source = source
        self.bytes_walked = 0
        """The file's size, once every message has been walked to its end and none twice."""
        self._fields_left = MAX_FIELDS  # so that empty fields cannot stall us

    def fail(self, at: int, what: str) -> ModelError:
        """The error for something wrong at byte ``at``."""
        return ModelError(
            "M002",
            f"{self.source}: damaged at byte {at:,} of {len(self.data):,}: {what}",
            "fetch the file again and compare its checksum with the publisher's",
        )

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message in ``[start, end)``, in file order."""
        at = start
        while at < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise self.fail(at, "more fields than any net has")
            field = self._field(at, end)
            self.bytes_walked += field.end - at
            yield field
            at = field.end

    def enter(self, field: Field) -> Iterator[Field]:
        """The fields of the message that ``field`` holds."""
        self.expect(field, BYTES)
        self.bytes_walked -= field.end - field.start  # walked again, one level down
        return self.fields(field.start, field.end)

    def expect(self, field: Field, *kinds: int) -> None:
        """Refuse a known field that is stored as another kind than its type allows."""
        if field.kind not in kinds:
            raise self.fail(field.at, f"field {field.number} has wire type {field.kind}")

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """The unsigned number at ``at`` and the offset behind it; at most 64 bits."""
        value = 0
        for i in range(10):
            if at + i >= end:
                raise self.fail(at, "a number is cut off")
            byte = self.data[at + i]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80 and not value >> 64:
                return value, at + i + 1
        raise self.fail(at, "a number of more than 64 bits")

    def _field(self, at: int, end: int) -> Field:
        tag, payload = self.varint(at, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise self.fail(at, f"field number {number}")
        if kind == VARINT:
            value, behind = self.varint(payload, end)
            return Field(number, kind, value, at, payload, behind)
        if kind == BYTES:
            length, payload = self.varint(payload, end)
        elif kind in _WIDTH:
            length = _WIDTH[kind]
        else:
            raise self.fail(at, f"wire type {kind}, a group or none, which Caffe never writes")
        if length > end - payload:
            left = f"{end - payload:,} are left"
            raise self.fail(at, f"field {number} claims {length:,} bytes where {left}")
        if kind == BYTES or payload - at != 1:
            return Field(number, kind, 0, at, payload, payload + length)
        count = self._run(at, 1 + length, end)
        return Field(number, kind, 0, at, payload, at + count * (1 + length), count)

    def _run(self, at: int, step: int, end: int) -> int:
        """How often the one-byte tag at ``at`` is repeated every ``step`` bytes."""
        count, window = 1, 16
        while room := min(window, (end - at) // step - count):
            begin = at + count * step
            tags = np.frombuffer(self.data, np.uint8, room * step, begin)[::step]
            other = np.flatnonzero(tags != self.data[at])
            if other.size:
                return count + int(other[0])
            count += room
            window *= 2  # few fields are runs, and a run of floats may be a million long
        return count

    def text(self, field: Field) -> str:
        """A string; bytes that cannot be shown are kept visible as backslash escapes."""
        self.expect(field, BYTES)
        if field.end - field.start > MAX_TEXT:
            raise self.fail(field.at, f"a name of more than {MAX_TEXT} bytes")
        text = bytes(self.data[field.start : field.end]).decode("utf-8", "backslashreplace")
        return visible(text)

    def integers(self, field: Field) -> Iterator[int]:
        """Signed integers, packed or single, one by one: the caller knows how many may be."""
        self.expect(field, VARINT, BYTES)
        if field.kind == VARINT:
            yield signed(field.value)
            return
        at = field.start
        while at < field.end:
            value, at = self.varint(at, field.end)
            yield signed(value)

    def array(self, fields: Sequence[Field], kind: int) -> npt.NDArray[np.floating]:
        """All floats (FIXED32) or doubles (FIXED64) of ``fields``, packed or not, in file order."""
        views = [self._view(field, kind) for field in fields]
        out = np.empty(sum(view.size for view in views), f"<f{_WIDTH[kind]}")
        filled = 0
        for view in views:
            for i in range(0, view.size, _PIECE):
                piece = view[i : i + _PIECE]
                out[filled : filled + piece.size] = piece
                filled += piece.size
                large = piece.nbytes > 1 << 20 and hasattr(mmap, "MADV_DONTNEED")  # on Linux
                if large and isinstance(self.data, mmap.mmap):
                    self.data.madvise(mmap.MADV_DONTNEED)
        return out

    def _view(self, field: Field, kind: int) -> npt.NDArray[np.floating]:
        """The numbers of one field where they stand in the file."""
        self.expect(field, kind, BYTES)
        width, length = _WIDTH[kind], field.end - field.start
        count, step = field.times, width + 1  # in a run a tag byte stands before each number
        if field.kind == BYTES:
            count, step = length // width, width
            if length % width:
                raise self.fail(field.at, f"{length} bytes are not whole {width}-byte numbers")
        return np.ndarray(count, f"<f{width}", self.data, field.start, (step,))


def signed(value: int) -> int:
    """An int32 or int64 from its unsigned wire form (two's complement of 64 bits)."""
    return value - (1 << 64) if value >> 63 else value
