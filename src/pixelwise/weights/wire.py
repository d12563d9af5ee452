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

from pixelwise.errors import ModelError

Buffer = bytes | mmap.mmap

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5
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
    """Walks messages in ``data``; ``source`` names the file in errors.

    Args:
        data: the whole file, in memory or mapped.
        source: what to call it.
        max_fields: a file with more fields is refused, so that empty fields cannot stall us.
    """

    def __init__(self, data: Buffer, source: str, max_fields: int = MAX_FIELDS) -> None:
        self.data = data
        self.source = source
        self.structure_bytes = 0
        self.payload_bytes = 0
        self._fields_left = max_fields

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
            tag, payload = self.varint(at, end)
            number, kind = tag >> 3, tag & 7
            if not 0 < number < 1 << 29:
                raise self.fail(at, f"field number {number}")
            field = self._field(number, kind, at, payload, end)
            self.structure_bytes += field.start - at + (field.times - 1)
            self.payload_bytes += field.end - field.start - (field.times - 1)
            yield field
            at = field.end

    def enter(self, field: Field) -> Iterator[Field]:
        """The fields of the message that ``field`` holds."""
        self.expect(field, BYTES)
        self.payload_bytes -= field.end - field.start  # counted again, one level down
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
            if byte < 0x80:
                if value >> 64:
                    break
                return value, at + i + 1
        raise self.fail(at, "a number of more than 64 bits")

    def _field(self, number: int, kind: int, at: int, payload: int, end: int) -> Field:
        if kind == VARINT:
            value, behind = self.varint(payload, end)
            return Field(number, kind, value, at, payload, behind)
        if kind == BYTES:
            length, payload = self.varint(payload, end)
        elif kind in _WIDTH:
            length = _WIDTH[kind]
        else:
            what = "a group, which Caffe never writes" if kind in (GROUP, END_GROUP) else "no field"
            raise self.fail(at, f"wire type {kind} is {what}")
        if length > end - payload:
            raise self.fail(
                at, f"field {number} claims {length:,} bytes where {end - payload:,} are left"
            )
        behind = payload + length
        if kind == BYTES or payload - at != 1:
            return Field(number, kind, 0, at, payload, behind)
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
            window *= 2
        return count

    def text(self, field: Field) -> str:
        """A string; bytes that cannot be shown are kept visible as backslash escapes."""
        self.expect(field, BYTES)
        if field.end - field.start > MAX_TEXT:
            raise self.fail(field.at, f"a name of more than {MAX_TEXT} bytes")
        text = bytes(self.data[field.start : field.end]).decode("utf-8", "backslashreplace")
        return text if text.isprintable() else text.encode("unicode_escape").decode()

    def integers(self, field: Field, limit: int) -> list[int]:
        """Signed integers, packed or single; more than ``limit`` are refused."""
        self.expect(field, VARINT, BYTES)
        if field.kind == VARINT:
            return [signed(field.value)]
        values, at = [], field.start
        while at < field.end:
            value, at = self.varint(at, field.end)
            values.append(signed(value))
            if len(values) > limit:
                raise self.fail(field.at, f"more than {limit} numbers in field {field.number}")
        return values

    def array(self, fields: Sequence[Field], kind: int) -> npt.NDArray[np.floating]:
        """All floats (FIXED32) or doubles (FIXED64) of ``fields``, packed or not, in file order."""
        width = _WIDTH[kind]
        dtype = np.dtype(f"<f{width}")
        for field in fields:
            self.expect(field, kind, BYTES)
            if field.kind == BYTES and (field.end - field.start) % width:
                length = field.end - field.start
                raise self.fail(field.at, f"{length} bytes are not whole {width}-byte numbers")
        sizes = [f.times if f.kind == kind else (f.end - f.start) // width for f in fields]
        out = np.empty(sum(sizes), dtype)
        filled = 0
        for field, size in zip(fields, sizes, strict=True):
            step = width + (field.kind == kind)  # in a run a tag byte stands before each number
            self._copy(out[filled : filled + size], field.start, step)
            filled += size
        return out

    def _copy(self, out: npt.NDArray[np.floating], start: int, step: int) -> None:
        width = out.itemsize
        for i in range(0, out.size, _PIECE):
            part = out[i : i + _PIECE]
            begin = start + i * step
            raw = np.frombuffer(self.data, np.uint8, (part.size - 1) * step + width, begin)
            shape, strides = (part.size, width), (step, 1)
            part.view(np.uint8).reshape(shape)[:] = np.lib.stride_tricks.as_strided(
                raw, shape, strides
            )
            if part.nbytes > 1 << 20 and isinstance(self.data, mmap.mmap):
                _forget(self.data)


def _forget(data: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows and macOS
        data.madvise(mmap.MADV_DONTNEED)


def signed(value: int) -> int:
    """An int32 or int64 from its unsigned wire form (two's complement of 64 bits)."""
    return value - (1 << 64) if value >> 63 else value
