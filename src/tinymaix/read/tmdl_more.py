"""Layers of a .tmdl of version 2 -> nodes: the types from 16 on. docs/tmdl.md describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.fixed_point import ACTIVATIONS
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.minimum import Minimum
from tinymaix.ops.mul import Mul
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.relu_n1_to_1 import ReluN1To1
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.ops.strided_slice import StridedSlice
from tinymaix.ops.sub import Sub
from tinymaix.ops.tanh import Tanh
from tinymaix.ops.tmdl import LAYER_HEAD_SIZE, StoredLayer
from tinymaix.ops.transpose import Transpose
from tinymaix.ops.window import Padding

Find = Callable[[int, int], Tensor]
"""The tensor that lies at an offset of the main buffer and has that many values."""
WORDS = 4
TENSOR = 16
NAMES = {
    16: "tensor", 17: "max pool", 18: "average pool", 19: "concat", 20: "pad", 21: "slice", 22: "transpose",
    23: "resize", 24: "unary", 25: "add", 26: "sub", 27: "mul", 28: "minimum", 29: "maximum",
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """What stands behind a layer's header: an activation, words, and values stored as activations."""

    activation: str
    words: list[int]
    values: Array | None

    def take(self, start: int, count: int) -> list[int]:
        """``count`` words from ``start`` on."""
        if start + count > len(self.words):
            raise ModelError(f"it has {len(self.words)} words of parameters, which are too few")
        return self.words[start : start + count]


def words_of(layer: StoredLayer) -> Words:
    """The words of a layer, within its bytes."""
    room = (len(layer.data) - LAYER_HEAD_SIZE) // 4
    words = [int(w) for w in np.frombuffer(layer.data, layer.order + "u4", room, LAYER_HEAD_SIZE)]
    if len(words) < WORDS or not WORDS <= words[0] <= room:
        raise ModelError(f"it states {words[0] if words else 0} words of parameters, but has room for {room}")
    count, at, size, activation = words[:WORDS]
    if activation >= len(ACTIVATIONS):
        raise ModelError(f"activation code {activation} is not supported")
    values = None
    if size:
        stored = {"int8": "i1", "int16": "i2", "fp32": "f4", "fp16": "f2"}.get(layer.model.name, "u1")
        values = layer.array("values", at, size, stored)
    return Words(ACTIVATIONS[activation], words[WORDS:count], values)


def read_more(layer: StoredLayer, x: Tensor, y: Tensor, find: Find) -> Node:
    """The node of a layer that reads x, among others, and writes y.

    Raises:
        ModelError: a sentence that says what is damaged.
    """
    words = words_of(layer)
    kind = layer.head.type
    if kind in BINARY:
        return _binary(layer, words, x, y, find)
    if kind == 19:
        return _concat(layer, words, y, find)
    op = READERS[kind](words, x, y)
    node = Node(op, [x], [y], layer.name)
    if kind == 24 and words.values is not None:
        every = np.arange(256, dtype=np.uint8).view(np.int8)
        if y.quantization is None or not np.array_equal(op.reference(node, [every])[0], words.values):
            raise ModelError(f"its table is not that of {op.kind}")
    return node


def _rank(tensor: Tensor, values: list[int], missing: int = 0) -> tuple[int, ...]:
    """One value for each axis but the batch, from three for height, width, channels."""
    own = len(tensor.shape) - 1
    if any(value != missing for value in values[: 3 - own]):
        raise ModelError(f"{values} do not suit '{tensor.name}' {list(tensor.shape)}")
    return tuple(values[3 - own :])


def _pool(words: Words, x: Tensor, y: Tensor) -> Operator:
    kh, kw, sh, sw, top, left = words.take(0, 6)
    if len(x.shape) != 4 or len(y.shape) != 4 or min(kh, kw, sh, sw) < 1:
        raise ModelError("its window is damaged")
    bottom, right = (
        max(0, (y.shape[axis] - 1) * stride + kernel - x.shape[axis] - before)
        for axis, stride, kernel, before in ((1, sh, kh, top), (2, sw, kw, left))
    )
    padding: Padding = (top, bottom, left, right)
    if max(top, bottom) >= kh or max(left, right) >= kw:
        raise ModelError(f"padding {padding} leaves windows of {kh}x{kw} without any input")
    return MaxPool2D((kh, kw), (sh, sw), padding, words.activation)


def _average(words: Words, x: Tensor, y: Tensor) -> Operator:
    op = _pool(words, x, y)
    assert isinstance(op, MaxPool2D)
    return AveragePool2D(op.pool, op.stride, op.padding, op.activation)


def _pad(words: Words, x: Tensor, y: Tensor) -> Operator:
    *before, fill = words.take(0, 4)
    pads = [(0, 0)]
    pads += [(n, whole - own - n) for n, own, whole in zip(_rank(x, before), x.shape[1:], y.shape[1:], strict=True)]
    if len(x.shape) != len(y.shape) or any(min(pair) < 0 for pair in pads):
        raise ModelError("its pads do not fit its output")
    value: int | float = float(np.uint32(fill).view(np.float32))
    if x.dtype.kind == "i":
        value = int(np.uint32(fill).view(np.int32))
        if y.quantization is not None and value == y.q.z:
            return Pad(tuple(pads))
    elif value == 0:
        return Pad(tuple(pads))
    return PadV2(tuple(pads), value)


def _slice(words: Words, x: Tensor, y: Tensor) -> Operator:
    begin, strides = _rank(x, words.take(0, 3)), _rank(x, words.take(3, 3), 1)
    if len(x.shape) != len(y.shape) or min(strides) < 1:
        raise ModelError("its strides are damaged")
    end = [b + (n - 1) * s + 1 for b, n, s in zip(begin, y.shape[1:], strides, strict=True)]
    return StridedSlice((0, *begin), (1, *end), (1, *strides))


def _transpose(words: Words, x: Tensor, y: Tensor) -> Operator:
    rank = len(x.shape) - 1
    return Transpose((0, *(axis - 2 + rank for axis in words.take(3 - rank, rank))))


def _resize(words: Words, x: Tensor, y: Tensor) -> Operator:
    aligned, half = words.take(0, 2)
    if len(y.shape) != 4:
        raise ModelError("it does not give an image")
    return ResizeNearestNeighbor((y.shape[1], y.shape[2]), bool(aligned), bool(half))


def _unary(words: Words, x: Tensor, y: Tensor) -> Operator:
    function, alpha = words.take(0, 2)
    real = float(np.uint32(alpha).view(np.float32))
    known: list[Operator] = [
        Relu(), ReluN1To1(), Relu6(), LeakyRelu(real), HardSwish(), Logistic(), Tanh(), Quantize()
    ]  # fmt: skip
    if function >= len(known):
        raise ModelError(f"function {function} is not known")
    return known[function]


READERS: dict[int, Callable[[Words, Tensor, Tensor], Operator]] = {
    17: _pool, 18: _average, 20: _pad, 21: _slice, 22: _transpose, 23: _resize, 24: _unary,
}  # fmt: skip


def _concat(layer: StoredLayer, words: Words, y: Tensor, find: Find) -> Node:
    axis, count = words.take(0, 2)
    own = axis - 4 + len(y.shape)
    if not 1 <= axis <= 3 or own < 1:
        raise ModelError(f"axis {axis} is not one of the output's")
    rest = y.elements // y.shape[own]
    pairs = words.take(2, 2 * count)
    inputs: list[Tensor | None] = [
        find(offset, size * rest) for offset, size in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return Node(Concatenation(own), inputs, [y], layer.name)


BINARY: dict[int, Callable[[str], Operator]] = {
    25: Add,
    26: Sub,
    27: Mul,
    28: lambda _: Minimum(),
    29: lambda _: Maximum(),
}


def _binary(layer: StoredLayer, words: Words, x: Tensor, y: Tensor, find: Find) -> Node:
    offset, scale, zero, *dims = words.take(0, 6)
    if words.values is None:
        second = find(offset, prod(dims))
    else:
        quantization = layer.quantization(float(np.uint32(scale).view(np.float32)), int(np.uint32(zero).view(np.int32)))
        if words.values.size != prod(dims):
            raise ModelError(f"its {words.values.size} values are not of shape {dims}")
        shape = (1, *dims)[4 - len(y.shape) :]
        second = Tensor(
            f"{layer.name}_constant", shape, y.dtype, quantization, np.asarray(words.values, y.dtype).reshape(shape)
        )
    return Node(BINARY[layer.head.type](words.activation), [x, second], [y], layer.name)
