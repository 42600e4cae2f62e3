"""A FlatBuffers reader that trusts nothing: every offset, length and vtable is checked before it is followed.

The flatbuffers package has no verifier in Python, so a file from a stranger is read through this instead.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinymaix.graph import ModelError


@dataclass
class Buffer:
    """The bytes of a file, and a budget that keeps a small file from claiming a lot of data by sharing its vectors."""

    data: bytes
    budget: int = field(init=False)

    def __post_init__(self) -> None:
        self.budget = 16 * len(self.data) + 65536

    def scalar(self, code: str, position: int, what: str) -> Any:
        """The little-endian value of `struct` code at ``position``."""
        size = struct.calcsize(code)
        if not 0 <= position <= len(self.data) - size:
            raise ModelError(f"damaged file: {what} lies at byte {position}, outside the {len(self.data)} bytes")
        return struct.unpack_from("<" + code, self.data, position)[0]

    def charge(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise ModelError("damaged file: its vectors add up to far more data than the file holds")

    def root(self, what: str) -> Table:
        return Table(self, self.scalar("I", 0, f"the root of {what}"), what)


@dataclass(frozen=True)
class Table:
    """A table at ``position``; slots are the field numbers of the schema. ``what`` names it in errors."""

    buffer: Buffer
    position: int
    what: str

    def _field(self, slot: int) -> int | None:
        """Position of a field, None where the table leaves it out."""
        vtable = self.position - self.buffer.scalar("i", self.position, self.what)
        size = self.buffer.scalar("H", vtable, f"the vtable of {self.what}")
        if 4 + 2 * slot + 2 > size:
            return None
        offset: int = self.buffer.scalar("H", vtable + 4 + 2 * slot, f"the vtable of {self.what}")
        return self.position + offset if offset else None

    def scalar(self, slot: int, code: str, default: Any) -> Any:
        position = self._field(slot)
        return default if position is None else self.buffer.scalar(code, position, self.what)

    def i8(self, slot: int, default: int = 0) -> int:
        return int(self.scalar(slot, "b", default))

    def u8(self, slot: int, default: int = 0) -> int:
        return int(self.scalar(slot, "B", default))

    def i32(self, slot: int, default: int = 0) -> int:
        return int(self.scalar(slot, "i", default))

    def u32(self, slot: int, default: int = 0) -> int:
        return int(self.scalar(slot, "I", default))

    def u64(self, slot: int, default: int = 0) -> int:
        return int(self.scalar(slot, "Q", default))

    def f32(self, slot: int, default: float = 0.0) -> float:
        return float(self.scalar(slot, "f", default))

    def flag(self, slot: int, default: bool = False) -> bool:
        return bool(self.scalar(slot, "B", default))

    def _follow(self, slot: int) -> int | None:
        position = self._field(slot)
        return None if position is None else position + self.buffer.scalar("I", position, self.what)

    def table(self, slot: int, what: str) -> Table | None:
        position = self._follow(slot)
        return None if position is None else Table(self.buffer, position, what)

    def vector(self, slot: int, dtype: str) -> npt.NDArray[Any] | None:
        """A vector of numbers as a read-only view, None where it is left out."""
        start = self._follow(slot)
        if start is None:
            return None
        kind = np.dtype(dtype).newbyteorder("<")
        count = self.buffer.scalar("I", start, f"a vector of {self.what}")
        if count * kind.itemsize > len(self.buffer.data) - start - 4:
            raise ModelError(f"damaged file: a vector of {self.what} claims {count} items, more than the file holds")
        return np.frombuffer(self.buffer.data, kind, count, start + 4)

    def ints(self, slot: int, dtype: str = "i4") -> list[int]:
        """A vector of integers as a list, empty where it is left out."""
        values = self.vector(slot, dtype)
        if values is None:
            return []
        self.buffer.charge(values.nbytes)
        return [int(value) for value in values]

    def tables(self, slot: int, what: str) -> list[Table]:
        """A vector of tables, each named "what index"."""
        start = self._follow(slot)
        offsets = self.ints(slot, "u4")
        return [
            Table(self.buffer, (start or 0) + 4 + 4 * i + offset, f"{what} {i}") for i, offset in enumerate(offsets)
        ]

    def text(self, slot: int) -> str:
        values = self.vector(slot, "u1")
        if values is None:
            return ""
        self.buffer.charge(values.nbytes)
        return values.tobytes().decode("utf-8", "replace")
