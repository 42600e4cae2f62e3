"""A writer of .onnx files for tests, so that they need no onnx package: protobuf by hand."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinymaix.graph import Array
from tinymaix.read.onnx_file import TYPES

CODES = {name: code for code, name in TYPES.items()}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    octets = []
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def number(at: int, value: int) -> bytes:
    return varint(at << 3) + varint(value)


def chunk(at: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(at << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: Array, external: Mapping[str, str] | None = None) -> bytes:
    """TensorProto; with ``external`` the data stand in another file."""
    head = b"".join(number(1, size) for size in array.shape) + number(2, CODES[array.dtype.name]) + chunk(8, name)
    if external is None:
        return head + chunk(9, array.tobytes())
    return head + b"".join(chunk(13, chunk(1, key) + chunk(2, text)) for key, text in external.items()) + number(14, 1)


def attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return chunk(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return chunk(1, name) + number(3, value) + number(20, 2)
    if isinstance(value, str):
        return chunk(1, name) + chunk(4, value) + number(20, 3)
    if isinstance(value, np.ndarray):
        return chunk(1, name) + chunk(5, tensor("", value)) + number(20, 4)
    if all(isinstance(v, int) for v in value):
        return chunk(1, name) + b"".join(number(8, v) for v in value) + number(20, 7)
    if all(isinstance(v, str) for v in value):
        return chunk(1, name) + b"".join(chunk(9, v) for v in value) + number(20, 8)
    return chunk(1, name) + chunk(7, np.asarray(value, "<f4").tobytes()) + number(20, 6)


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", label: str = "", **attributes: Any
) -> bytes:
    parts = [chunk(1, name) for name in inputs] + [chunk(2, name) for name in outputs]
    parts += [chunk(3, label or f"the {kind}"), chunk(4, kind)]
    parts += [chunk(5, attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts) + (chunk(7, domain) if domain else b"")


def value(name: str, shape: Sequence[int | str], dtype: str = "float32") -> bytes:
    """ValueInfoProto; a size may be a name."""
    sizes = [chunk(1, chunk(2, size) if isinstance(size, str) else number(1, size)) for size in shape]
    return chunk(1, name) + chunk(2, chunk(1, number(1, CODES[dtype]) + chunk(2, b"".join(sizes))))


def model(
    nodes: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    initializers: Sequence[bytes] = (),
) -> bytes:
    """ModelProto of a graph whose outputs have no stated type and shape."""
    graph = b"".join(chunk(1, part) for part in nodes) + chunk(2, "graph")
    graph += b"".join(chunk(5, tensor(name, array)) for name, array in (constants or {}).items())
    graph += b"".join(chunk(5, part) for part in initializers)
    graph += b"".join(chunk(11, part) for part in inputs)
    graph += b"".join(chunk(12, chunk(1, name)) for name in outputs)
    opsets = chunk(8, number(2, opset)) + chunk(8, chunk(1, "com.microsoft") + number(2, 1))
    opsets += chunk(8, chunk(1, "ai.onnx.ml") + number(2, 3))
    return number(1, 8) + chunk(7, graph) + opsets
