"""A reader of the protobuf wire format that trusts nothing: every length is checked before it is followed.

A message is a sequence of (field number and wire type, value), see https://protobuf.dev/programming-guides/encoding.
Nothing is copied but what is asked for, and only the messages that a caller asks for are looked into.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tinymaix.graph import Array, ModelError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1 << 20
"""The most fields of one message: a network of more nodes or weights than that does not fit any microcontroller."""

Value = int | memoryview


class Message:
    """One message; fields are asked for by their number in the schema. ``what`` names it in errors."""

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self.what = what
        self.fields: dict[int, list[Value]] = {}
        for count, (number, value) in enumerate(_fields(memoryview(data), what)):
            if count >= MAX_FIELDS:
                raise ModelError(f"{what} has more than {MAX_FIELDS} fields, too many for any microcontroller")
            self.fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self.fields

    def integer(self, number: int, default: int = 0) -> int:
        """A signed integer; the last one where there are several."""
        value = self.fields.get(number, [default])[-1]
        if not isinstance(value, int):
            raise self._wrong(number, "an integer")
        return value - (1 << 64) if value >= 1 << 63 else value

    def real(self, number: int, default: float = 0.0) -> float:
        """A float32."""
        if number not in self:
            return default
        return float(struct.unpack("<f", self._raw(self.fields[number][-1], number, 4))[0])

    def raw(self, number: int) -> memoryview:
        """The bytes of a field, none where it is absent."""
        return self._raw(self.fields[number][-1], number) if number in self else memoryview(b"")

    def text(self, number: int) -> str:
        return _decode(self.raw(number))

    def texts(self, number: int) -> list[str]:
        return [_decode(self._raw(value, number)) for value in self.fields.get(number, [])]

    def message(self, number: int, what: str) -> Message:
        """A message in this one; empty where it is absent."""
        return Message(self.raw(number), what)

    def messages(self, number: int, what: str) -> list[Message]:
        values = self.fields.get(number, [])
        return [Message(self._raw(value, number), f"{what} {i}") for i, value in enumerate(values)]

    def integers(self, number: int) -> Array:
        """Repeated integers, packed or not, as int64."""
        parts = []
        for value in self.fields.get(number, []):
            parts.append(np.array([value], np.uint64) if isinstance(value, int) else _varints(value, self.what))
        return np.concatenate(parts).view(np.int64) if parts else np.zeros(0, np.int64)

    def numbers(self, number: int, dtype: str) -> Array:
        """Repeated floating-point numbers of a little-endian dtype, packed or not."""
        parts = [self._raw(value, number) for value in self.fields.get(number, [])]
        size = np.dtype(dtype).itemsize
        if any(len(part) % size for part in parts):
            raise self._wrong(number, f"numbers of {size} bytes")
        return np.frombuffer(b"".join(parts), dtype)

    def _raw(self, value: Value, number: int, size: int | None = None) -> memoryview:
        if isinstance(value, int) or (size is not None and len(value) != size):
            raise self._wrong(number, "bytes" if size is None else f"{size} bytes")
        return value

    def _wrong(self, number: int, expected: str) -> ModelError:
        return ModelError(f"damaged file: field {number} of {self.what} does not hold {expected}")


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field: an integer for a varint, else its bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at, what)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(data, at, what)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(data, at, what)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ModelError(f"damaged file: {what} has a field of wire type {wire}, which does not exist")
        if size > len(data) - at:
            raise ModelError(f"damaged file: a field of {what} claims {size} bytes where {len(data) - at} are left")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int, what: str) -> tuple[int, int]:
    """(unsigned value, position behind it) of the number at ``at``, 7 bits a byte, low bits first."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ModelError(f"damaged file: {what} ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ModelError(f"damaged file: a number of {what} is longer than 10 bytes")


def _varints(data: memoryview, what: str) -> Array:
    """Packed varints as uint64, all at once: weights may be stored so."""
    octets = np.frombuffer(data, np.uint8)
    last = octets < 0x80
    ends = np.flatnonzero(last)
    if octets.size and not last[-1]:
        raise ModelError(f"damaged file: {what} ends within a number")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: ends.size]
    lengths = ends - starts + 1
    if lengths.max(initial=0) > 10:
        raise ModelError(f"damaged file: a number of {what} is longer than 10 bytes")
    places = np.arange(octets.size) - np.repeat(starts, lengths)
    bits = (octets & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.add.reduceat(bits, starts) if ends.size else np.zeros(0, np.uint64)


def _decode(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")
