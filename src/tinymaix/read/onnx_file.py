"""What an .onnx file holds: nodes with their attributes, initializers, inputs and outputs. No meaning yet.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx, onnx/onnx.proto).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Shape
from tinymaix.read.protobuf import Message

MAX_TENSOR_BYTES = 2**29
MAX_RANK = 8
MAX_NAME = 1000

TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""TensorProto.DataType."""
BFLOAT16 = 16
"""The upper half of a float32, and read as such."""


@dataclass
class OnnxNode:
    """One operator. An optional input that is absent is ""."""

    kind: str
    domain: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class OnnxFile:
    """The graph of a file. Shapes of inputs have 1 where the file leaves a size open."""

    opset: int
    nodes: list[OnnxNode] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: list[tuple[str, Shape, str]] = field(default_factory=list)  # name, shape, type
    outputs: list[str] = field(default_factory=list)


def looks_like_onnx(data: bytes) -> bool:
    """Whether the bytes begin as every .onnx file does: ir_version (field 1), then the producer, graph or opset."""
    return len(data) > 8 and data[0] == 0x08 and 0 < data[1] < 0x80 and data[2] in (0x12, 0x1A, 0x22, 0x28, 0x3A, 0x42)


def parse_onnx(data: bytes, folder: Path | None = None) -> OnnxFile:
    """Parse a file; ``folder`` is where its external data may lie, None for nowhere.

    Raises:
        ModelError: it is damaged, or its data are outside the folder, or of a type that is not supported.
    """
    model = Message(data, "the model")
    opsets = {m.text(1): m.integer(2) for m in model.messages(8, "opset")}
    if 7 not in model or not opsets:
        raise ModelError("not an .onnx file that can be read: it has no graph or names no opset")
    graph = model.message(7, "the graph")
    if 15 in graph:
        raise ModelError("the .onnx has sparse initializers; export the model with dense ones")
    file = OnnxFile(opsets.get("", opsets.get("ai.onnx", 0)))
    for tensor in graph.messages(5, "initializer"):
        file.constants[_name(tensor.text(8))] = _tensor(tensor, folder)
    file.nodes = [_node(message, folder) for message in graph.messages(1, "node")]
    described = [_value_info(message) for message in graph.messages(11, "input")]
    file.inputs = [value for value in described if value[0] not in file.constants]
    file.outputs = [_name(message.text(1)) for message in graph.messages(12, "output")]
    return file


def _name(text: str) -> str:
    return text[:MAX_NAME]


def _node(message: Message, folder: Path | None) -> OnnxNode:
    inputs, outputs = [[_name(text) for text in message.texts(number)] for number in (1, 2)]
    kind, label = message.text(4), _name(message.text(3)) or (outputs[0] if outputs else "")
    attributes = {}
    for attribute in message.messages(5, f"an attribute of {kind} '{label}'"):
        attributes[attribute.text(1)] = _attribute(attribute, folder, f"{kind} '{label}'")
    return OnnxNode(kind, message.text(7), label, inputs, outputs, attributes)


def _attribute(message: Message, folder: Path | None, owner: str) -> Any:
    """float, int, str, array or a list of these; None for what no supported operator has (graphs)."""
    kind = message.integer(20)
    if kind == 1 or (not kind and 2 in message):
        return message.real(2)
    if kind == 2 or (not kind and 3 in message):
        return message.integer(3)
    if kind == 3 or (not kind and 4 in message):
        return message.text(4)
    if kind == 4:
        return _tensor(message.message(5, f"a tensor of {owner}"), folder)
    if kind == 6:
        return [float(v) for v in message.numbers(7, "<f4")]
    if kind == 7:
        return [int(v) for v in message.integers(8)]
    if kind == 8:
        return message.texts(9)
    return None


def _value_info(message: Message) -> tuple[str, Shape, str]:
    """(name, shape, type) of an input."""
    name = _name(message.text(1))
    tensor = message.message(2, f"the type of '{name}'").message(1, f"the type of '{name}'")
    code = tensor.integer(1)
    if code not in TYPES:
        raise ModelError(f"input '{name}' is not a tensor of numbers (type {code}); only those are supported")
    sizes = [dim.integer(1) for dim in tensor.message(2, f"the shape of '{name}'").messages(1, "dimension")]
    return name, checked_shape([max(size, 1) for size in sizes], TYPES[code], name), TYPES[code]


def checked_shape(sizes: list[int], dtype: str, name: str) -> Shape:
    """The shape of a tensor. Raises ModelError where no memory could hold it."""
    if len(sizes) > MAX_RANK:
        raise ModelError(f"'{name}' has {len(sizes)} dimensions; at most {MAX_RANK} are supported")
    if min(sizes, default=0) < 0 or math.prod(max(size, 1) for size in sizes) > MAX_TENSOR_BYTES:
        raise ModelError(f"'{name}' of shape {sizes} ({dtype}) is larger than any chip's memory")
    return tuple(sizes)


def _tensor(message: Message, folder: Path | None) -> Array:
    name, code = _name(message.text(8)) or message.what, message.integer(2)
    if code not in TYPES and code != BFLOAT16:
        raise ModelError(f"'{name}' holds elements of type {code}; supported are {', '.join(TYPES.values())}")
    dtype = np.dtype(TYPES.get(code, "uint16"))
    shape = checked_shape([int(size) for size in message.integers(1)], dtype.name, name)
    if message.integer(14) == 1:
        data = np.frombuffer(_external(message, folder, name), np.uint8)
    elif 9 in message:
        data = np.frombuffer(message.raw(9), np.uint8)
    else:
        data = _listed(message, code, dtype).view(np.uint8)
    if data.size != math.prod(shape) * dtype.itemsize:
        needed = math.prod(shape) * dtype.itemsize
        raise ModelError(f"'{name}' of shape {list(shape)} needs {needed} bytes of data, but the file has {data.size}")
    array = np.array(data.view(dtype.newbyteorder("<")).reshape(shape), dtype)
    return (array.astype(np.uint32) << 16).view(np.float32) if code == BFLOAT16 else array


def _listed(message: Message, code: int, dtype: np.dtype[Any]) -> Array:
    """Elements that stand in a typed field: float16 as bits in int32_data."""
    if code in (1, 11):
        return message.numbers(4 if code == 1 else 10, f"<f{dtype.itemsize}").astype(dtype)
    if code == 10:
        return message.integers(5).astype(np.uint16).view(dtype)
    return message.integers({7: 7, 12: 11, 13: 11}.get(code, 5)).astype(dtype)


def _external(message: Message, folder: Path | None, name: str) -> bytes:
    """The bytes of a tensor in another file, which must lie in the model's folder, links followed."""
    entries = {entry.text(1): entry.text(2) for entry in message.messages(13, f"the external data of '{name}'")}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(f"'{name}' is stored in another file ('{location}'); read the model from its folder")
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, location))
    if not location or os.path.isabs(location) or os.path.commonpath([root, path]) != root:
        raise ModelError(f"'{name}' is stored in '{location}', outside the model's folder; move it there")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
        size = os.path.getsize(path)
        length = size - offset if length < 0 else length
        if min(offset, length) < 0 or offset + length > size or length > MAX_TENSOR_BYTES:
            raise ModelError(f"'{name}' needs bytes {offset} to {offset + length} of '{location}', which has {size}")
        with open(path, "rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except ModelError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its offset or length is not a number"
        raise ModelError(f"'{name}' is stored in '{location}', which cannot be read ({reason})") from None
