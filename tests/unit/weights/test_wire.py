"""The wire format, field by field, on bytes written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from caffe_writer import chunk, number, packed, unpacked, varint

from pixelwise.errors import ModelError
from pixelwise.weights import wire
from pixelwise.weights.wire import BYTES, FIXED32, FIXED64, VARINT, Field, WireReader, signed


def reader(data: bytes) -> WireReader:
    return WireReader(data, "evil")


def fields(data: bytes) -> list[Field]:
    return list(reader(data).fields(0, len(data)))


def refused(data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        fields(data)
    return str(caught.value).partition(f" of {len(data):,}: ")[2]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\xac\x02", 300),  # the example of protobuf's own description
        (b"\xff" * 9 + b"\x01", 2**64 - 1),
        (b"\x80" * 9 + b"\x01", 2**63),
    ],
)
def test_numbers_are_seven_bits_a_byte(data: bytes, value: int) -> None:
    assert reader(data + b"!").varint(0, len(data)) == (value, len(data))
    assert reader(b"!" + data).varint(1, len(data) + 1) == (value, len(data) + 1)
    with pytest.raises(ModelError, match=r"damaged at byte 0 of .*: a number is cut off"):
        reader(data).varint(0, len(data) - 1)


@pytest.mark.parametrize("data", [b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x01"])
def test_a_number_of_more_than_64_bits_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="more than 64 bits"):
        reader(data).varint(0, len(data))


@pytest.mark.parametrize(
    ("value", "meant"), [(0, 0), (5, 5), (2**63 - 1, 2**63 - 1), (2**63, -(2**63)), (2**64 - 1, -1)]
)
def test_the_upper_half_is_negative(value: int, meant: int) -> None:
    assert signed(value) == meant


def test_each_field_says_where_it_stands() -> None:
    data = number(3, 300) + chunk(20, b"abc") + unpacked(2, [1.0], "d") + packed(5, [2.0])
    assert fields(data) == [
        Field(3, VARINT, 300, 0, 1, 3),
        Field(20, BYTES, 0, 3, 6, 9),  # a tag of two bytes and a length of one
        Field(2, FIXED64, 0, 9, 10, 18),
        Field(5, BYTES, 0, 18, 20, 24),
    ]


def test_a_run_of_equal_numbers_is_one_field() -> None:
    """Also beyond the windows of 16 and 32 in which it is looked for."""
    for count in (1, 2, 15, 16, 17, 48, 49, 200):
        data = unpacked(5, range(count)) + number(3, 1)
        run, other = fields(data)
        assert run == Field(5, FIXED32, 0, 0, 1, 5 * count, count)
        assert other.number == 3
        made = reader(data)
        assert made.array([run], FIXED32).tolist() == list(range(count))
    # A tag of two bytes is no run.
    assert [f.times for f in fields(unpacked(16, [1.0, 2.0]))] == [1, 1]
    # Doubles take eight bytes, and a run ends where the message does.
    data = unpacked(5, [1.5, 2.5, 3.5], "d")
    assert [f.times for f in fields(data)] == [3]
    assert [f.times for f in reader(data).fields(0, 18)] == [2]
    assert reader(data).array(fields(data), FIXED64).tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (chunk(7, b"abcde")[:-2], "field 7 claims 5 bytes where 3 are left"),
        (b"\x3a\x05", "field 7 claims 5 bytes where 0 are left"),
        (unpacked(7, [1.0])[:-1], "field 7 claims 4 bytes where 3 are left"),
        (unpacked(7, [1.0], "d")[:-1], "field 7 claims 8 bytes where 7 are left"),
        (varint(7 << 3 | 3), "wire type 3, a group or none, which Caffe never writes"),
        (varint(7 << 3 | 7), "wire type 7, a group or none, which Caffe never writes"),
        (varint(1 << 32) + b"\x00", f"field number {1 << 29}"),
        (b"\x00\x00", "field number 0"),
    ],
)
def test_what_is_wrong_is_told_in_numbers(data: bytes, said: str) -> None:
    assert refused(data) == said


def test_the_largest_field_number_is_read() -> None:
    (field,) = fields(varint((1 << 32) - 8) + b"\x05")
    assert (field.number, field.value) == ((1 << 29) - 1, 5)


def test_only_so_many_fields_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 3)
    assert len(fields(number(1, 1) * 3)) == 3
    assert refused(number(1, 1) * 4) == "more fields than any net has"


def test_bytes_are_walked_once_on_each_level() -> None:
    inner = number(1, 5)
    data = chunk(2, inner) + number(3, 1)
    made = reader(data)
    outer = made.fields(0, len(data))
    field = next(outer)
    assert [f.number for f in made.enter(field)] == [1]
    assert [f.number for f in outer] == [3]
    assert made.bytes_walked == len(data)


def test_texts_have_their_length_and_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    data = chunk(1, b"caf\xc3\xa9\xff") + number(1, 5)
    text, other = fields(data)
    assert reader(data).text(text) == "caf\u00e9\\xff"
    with pytest.raises(ModelError, match="field 1 has wire type 0"):
        reader(data).text(other)
    monkeypatch.setattr(wire, "MAX_TEXT", 6)
    assert len(reader(data).text(text)) == 8
    monkeypatch.setattr(wire, "MAX_TEXT", 5)
    with pytest.raises(ModelError, match="a name of more than 5 bytes"):
        reader(data).text(text)


def test_integers_may_be_packed_or_single() -> None:
    data = chunk(1, varint(3) + varint(-2) + varint(300)) + number(1, 7) + unpacked(1, [1.0])
    many, one, real = fields(data)
    assert list(reader(data).integers(many)) == [3, -2, 300]
    assert list(reader(data).integers(one)) == [7]
    with pytest.raises(ModelError, match="field 1 has wire type 5"):
        list(reader(data).integers(real))


def test_arrays_are_put_together_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_PIECE", 2)
    data = packed(5, [1, 2, 3, 4, 5]) + unpacked(5, [6, 7, 8]) + packed(5, [])
    out = reader(data).array(fields(data), FIXED32)
    assert (out.tolist(), out.dtype) == ([1, 2, 3, 4, 5, 6, 7, 8], np.dtype("<f4"))
    odd = chunk(5, b"1234567")
    with pytest.raises(ModelError, match="7 bytes are not whole 4-byte numbers"):
        reader(odd).array(fields(odd), FIXED32)
    assert reader(data).array([], FIXED64).dtype == np.dtype("<f8")
