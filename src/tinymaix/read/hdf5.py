"""The part of HDF5 that h5py writes by default and that model files use, read without trusting a byte.

Groups are symbol tables, attributes are texts, datasets are floats that stand in one piece. A damaged file can make the
HDF5 library hang, so it is not used. Layout: HDF5 File Format Specification 3.0, sections II.A, III, IV.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from tinymaix.graph import Array, ModelError

MAGIC = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 2**64 - 1
MAX_RANK = 32
MAX_NAME = 512
IEEE = {2: (5, 10), 4: (8, 23), 8: (11, 52)}
"""Bits of exponent and mantissa by bytes of a float."""

DATASPACE, DATATYPE, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 1, 3, 7, 8, 11, 12, 16, 17
"""Types of messages in an object header."""
SHARED = 2
"""The flag of a message that only says where it stands."""
FLOAT, STRING, VARIABLE_LENGTH = 1, 3, 9
"""Classes of datatypes."""


class Message(NamedTuple):
    """One message of an object header."""

    kind: int
    flags: int
    data: bytes


class Hdf5:
    """A file in memory. What is read of it beside datasets is bounded, however its parts refer to each other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = min(2 * len(data), 2**25) + 2**20
        self.heaps: dict[int, dict[int, bytes]] = {}
        if data[:8] != MAGIC:
            raise damaged("it does not begin as an HDF5 file")
        version, sizes = data[8:9], data[13:15]
        if version not in (b"\0", b"\1") or sizes != b"\x08\x08":
            raise ModelError(
                "the HDF5 file is laid out in a way that Keras does not write (superblock or sizes); save it by Keras"
            )
        self.base = self.number(24 + 4 * version[0])
        self.root = Object(self, self.number(64 + 4 * version[0]))

    def take(self, offset: int, size: int) -> bytes:
        """Bytes of the file."""
        self.charge(size)
        return self.view(offset, size).tobytes()

    def charge(self, size: int) -> None:
        """Count what is read, with the work that it takes at least."""
        self.left -= size + 64
        if self.left < 0:
            raise damaged("its parts refer to each other without end")

    def view(self, offset: int, size: int) -> memoryview:
        if not (0 <= offset <= len(self.data) and 0 <= size <= len(self.data) - offset):
            raise damaged(f"{size} bytes at offset {offset} lie outside the file")
        return memoryview(self.data)[offset : offset + size]

    def number(self, offset: int, size: int = 8) -> int:
        return int.from_bytes(self.take(offset, size), "little")

    def block(self, address: int, signature: bytes, size: int) -> bytes:
        """The head of a block, which begins with a signature."""
        head = self.take(self.base + address, size)
        if head[:4] != signature:
            raise damaged(f"there is no {signature.decode()} at address {address}")
        return head

    def heap_object(self, reference: bytes) -> bytes:
        """A text of variable length: its length, the address of a global heap and an index in it."""
        size, address, index = little(reference, 0, 4), little(reference, 4, 8), little(reference, 12, 4)
        if address not in self.heaps:
            self.heaps[address] = dict(self._heap_objects(address))
        text = self.heaps[address].get(index, b"")
        self.charge(min(size, len(text)))
        return text[:size]

    def _heap_objects(self, address: int) -> Iterator[tuple[int, bytes]]:
        size = little(self.block(address, b"GCOL", 16), 8, 8)
        collection = self.take(self.base + address, size)
        at = 16
        while at + 16 <= len(collection):
            index, length = little(collection, at, 2), little(collection, at + 8, 8)
            if not index:
                return
            yield index, collection[at + 16 : at + 16 + length]
            at += 16 + padded(length)


@dataclass(frozen=True)
class Object:
    """A group or a dataset: what the object header at an address says."""

    file: Hdf5
    address: int

    @cached_property
    def messages(self) -> list[Message]:
        """Version 1 object headers: a first block, and blocks that continue it."""
        head = self.file.take(self.file.base + self.address, 16)
        if head[0] != 1:
            raise ModelError("the HDF5 file has object headers that Keras does not write; save the model by Keras")
        blocks = [(self.file.base + self.address + 16, little(head, 8, 4))]
        found: list[Message] = []
        for offset, size in blocks:  # grows on the way
            block = self.file.take(offset, size)
            at = 0
            while at + 8 <= len(block):
                kind, length, flags = little(block, at, 2), little(block, at + 2, 2), block[at + 4]
                message = Message(kind, flags, block[at + 8 : at + 8 + length])
                found.append(message)
                if kind == CONTINUATION:
                    blocks.append((self.file.base + little(message.data, 0, 8), little(message.data, 8, 8)))
                at += 8 + length
        return found

    @property
    def is_group(self) -> bool:
        return self._message(SYMBOL_TABLE) is not None

    def member(self, path: str) -> Object | None:
        """What stands at a path below this group, None where there is nothing."""
        node: Object | None = self
        for part in path.split("/"):
            node = None if node is None else node.members.get(part)
        return node

    @cached_property
    def members(self) -> dict[str, Object]:
        """The members of a group by name; soft links are left out."""
        table = self._message(SYMBOL_TABLE)
        if table is None:
            return {}
        tree, heap = little(table, 0, 8), little(table, 8, 8)
        names = self.file.base + little(self.file.block(heap, b"HEAP", 32), 24, 8)
        found: dict[str, Object] = {}
        waiting = [tree]
        while waiting:
            address = waiting.pop()
            if self.file.take(self.file.base + address, 4) == b"TREE":
                head = self.file.block(address, b"TREE", 24)
                keys = self.file.take(self.file.base + address + 24, 16 * little(head, 6, 2))
                waiting += [little(keys, at + 8, 8) for at in range(0, len(keys), 16)]
                continue
            count = little(self.file.block(address, b"SNOD", 8), 6, 2)
            entries = self.file.take(self.file.base + address + 8, 40 * count)
            for at in range(0, len(entries), 40):
                if little(entries, at + 16, 4) != 2:  # 2: a soft link
                    name = self._name(names + little(entries, at, 8))
                    found[name] = Object(self.file, little(entries, at + 8, 8))
        return found

    def _name(self, offset: int) -> str:
        room = min(MAX_NAME, max(len(self.file.data) - offset, 0))
        return self.file.take(offset, room).split(b"\0")[0].decode("utf-8", "replace")

    def texts(self, name: str) -> list[str] | None:
        """The texts of an attribute, None where it is absent or no text."""
        data = self._attributes.get(name)
        return None if data is None else [text.decode("utf-8", "replace") for text in self._attribute(data)]

    @cached_property
    def _attributes(self) -> dict[str, bytes]:
        """The messages of the attributes by name."""
        found = {}
        for message in self.messages:
            data = message.data
            if message.kind == ATTRIBUTE and data[:1] in (b"\1", b"\2", b"\3"):
                start = 9 if data[0] == 3 else 8
                name = data[start : start + little(data, 2, 2)].split(b"\0")[0]
                found[name.decode("utf-8", "replace")] = data
        return found

    def _attribute(self, data: bytes) -> list[bytes]:
        """The texts in the message of an attribute; version 1 pads its parts to 8 bytes."""
        version, flags = data[0], data[1]
        parts = [little(data, at, 2) for at in (2, 4, 6)]
        at = 9 if version == 3 else 8
        pieces = []
        for size in parts:
            pieces.append(data[at : at + size])
            at += padded(size) if version == 1 else size
        _, datatype, dataspace = pieces
        if (version > 1 and flags) or len(datatype) < 8:
            return []
        count, kind, size = math.prod(shape_of(dataspace)), datatype[0] & 15, little(datatype, 4, 4)
        values = data[at : at + count * size]
        if not size or len(values) < count * size:
            raise damaged("an attribute is shorter than it says")
        items = [values[i : i + size] for i in range(0, len(values), size)]
        if kind == STRING:
            return [item.rstrip(b"\0") for item in items]
        return [self.file.heap_object(item) for item in items] if kind == VARIABLE_LENGTH and size == 16 else []

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a dataset."""
        return shape_of(self._message(DATASPACE) or b"")

    @property
    def float_bytes(self) -> int | None:
        """Bytes of one element of a dataset of IEEE floats, None where it is something else."""
        datatype = self._message(DATATYPE) or b""
        if len(datatype) < 20 or datatype[0] & 15 != FLOAT:
            return None
        size = little(datatype, 4, 4)
        return size if IEEE.get(size) == (datatype[13], datatype[15]) else None

    def floats(self) -> Array:
        """A dataset of floats as float32; see `float_bytes`."""
        size = self.float_bytes
        layout, datatype = self._message(LAYOUT) or b"", self._message(DATATYPE)
        if size is None or datatype is None:
            raise ModelError("a dataset does not hold floats")
        if self._message(EXTERNAL) is not None:
            raise ModelError("a dataset stands in another file; only what stands in the model's own file is read")
        if layout[:1] not in (b"\3", b"\4") or layout[1:2] not in (b"\0", b"\1") or self._message(FILTERS) is not None:
            raise ModelError("a dataset is compressed or cut into chunks; save the model without compression")
        shape = self.shape
        needed = math.prod(shape) * size
        if layout[1] == 0:
            raw = memoryview(layout[4 : 4 + little(layout, 2, 2)])
        else:
            raw = self.file.view(self.file.base + little(layout, 2, 8), needed) if needed else memoryview(b"")
        if len(raw) < needed:
            raise damaged("a dataset is shorter than it says")
        order = ">" if datatype[1] & 1 else "<"
        with np.errstate(all="ignore"):
            return np.frombuffer(raw[:needed], f"{order}f{size}").astype(np.float32).reshape(shape)

    def _message(self, kind: int) -> bytes | None:
        """The data of the first message of a kind."""
        for message in self.messages:
            if message.kind == kind:
                if message.flags & SHARED:
                    raise ModelError("the HDF5 file shares types in a way that Keras does not write")
                return message.data
        return None


def shape_of(dataspace: bytes) -> tuple[int, ...]:
    """The dimensions in a dataspace message; () for a scalar, (0,) for none."""
    start = {b"\1": 8, b"\2": 4}.get(dataspace[:1])
    if start is None or len(dataspace) < start or dataspace[1] > MAX_RANK:
        raise damaged("a dataspace makes no sense")
    if dataspace[0] == 2 and dataspace[3] == 2:
        return (0,)
    return tuple(little(dataspace, start + 8 * i, 8) for i in range(dataspace[1]))


def little(data: bytes, at: int, size: int) -> int:
    """An unsigned number in little-endian order."""
    if at + size > len(data):
        raise damaged("a part of it is cut off")
    return int.from_bytes(data[at : at + size], "little")


def padded(size: int) -> int:
    return -(-size // 8) * 8


def damaged(what: str) -> ModelError:
    return ModelError(f"the HDF5 data is damaged: {what}")
