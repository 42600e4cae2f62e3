"""The named numbers of a FlexBuffer: what custom operators of a .tflite keep their options in.

A FlexBuffer is read from its end: the last byte is the width of the root, the one before its type. A map stands as its
values behind the offset of its keys. Every offset and size is checked before it is followed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tinymaix.graph import ModelError

INT, UINT, FLOAT, BOOL, MAP = 1, 2, 3, 26, 9
INDIRECT = {6: INT, 7: UINT, 8: FLOAT}
"""Types whose value stands elsewhere, at an offset."""
CODES = {
    (INT, 1): "b", (INT, 2): "h", (INT, 4): "i", (INT, 8): "q",
    (UINT, 1): "B", (UINT, 2): "H", (UINT, 4): "I", (UINT, 8): "Q",
    (FLOAT, 4): "f", (FLOAT, 8): "d",
}  # fmt: skip
MAX_ENTRIES = 1000


class NamedNumbers:
    """The numbers of a FlexBuffer that is a map; its values of other types are left out.

    Raises:
        ModelError: the bytes are damaged, or no map; one sentence.
    """

    def __init__(self, data: bytes) -> None:
        self.values: Mapping[str, int | float] = _Reader(data).numbers() if data else {}

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.real(name, default)
        if value != int(value):
            raise ModelError(f"its option '{name}' must be whole, not {value}")
        return int(value)

    def real(self, name: str, default: float | None = None) -> float:
        value = self.values.get(name, default)
        if value is None:
            raise ModelError(f"its option '{name}' is missing; it has {', '.join(sorted(self.values)) or 'none'}")
        if not abs(value) < float("inf"):
            raise ModelError(f"its option '{name}' must be a number, not {value}")
        return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def numbers(self) -> dict[str, int | float]:
        width, kind = (int(self._number(len(self.data) - back, UINT, 1)) for back in (1, 2))
        root = len(self.data) - 2 - width
        if kind >> 2 != MAP:
            raise ModelError("damaged file: its options are no map of names and values")
        start, width = self._follow(root, width), 1 << (kind & 3)
        keys, key_width = self._follow(start - 3 * width, width), self._count(start - 2 * width, width)
        size = self._count(start - width, width)
        if size != self._count(keys - key_width, key_width):
            raise ModelError("damaged file: its options have more names than values, or fewer")
        found: dict[str, int | float] = {}
        for i in range(size):
            packed = int(self._number(start + size * width + i, UINT, 1))
            value = self._value(start + i * width, packed >> 2, packed & 3, width)
            if value is not None:
                found[self._text(self._follow(keys + i * key_width, key_width))] = value
        return found

    def _value(self, position: int, kind: int, log_width: int, width: int) -> int | float | None:
        if kind in INDIRECT:
            return self._number(self._follow(position, width), INDIRECT[kind], 1 << log_width)
        if kind in (INT, UINT, FLOAT, BOOL):
            return self._number(position, UINT if kind == BOOL else kind, width)
        return None

    def _number(self, position: int, kind: int, width: int) -> int | float:
        code = CODES.get((kind, width))
        if code is None or not 0 <= position <= len(self.data) - width:
            raise ModelError("damaged file: its options lie outside their bytes")
        value: int | float = struct.unpack_from("<" + code, self.data, position)[0]
        return value

    def _follow(self, position: int, width: int) -> int:
        """The place that an offset, which counts backwards from itself, leads to."""
        return position - int(self._number(position, UINT, width))

    def _count(self, position: int, width: int) -> int:
        count = int(self._number(position, UINT, width))
        if count > MAX_ENTRIES:
            raise ModelError(f"damaged file: its options claim {count} entries")
        return count

    def _text(self, position: int) -> str:
        end = self.data.find(b"\0", max(position, 0))
        if position < 0 or end < 0:
            raise ModelError("damaged file: the name of an option lies outside its bytes")
        return self.data[position:end].decode("utf-8", "replace")
