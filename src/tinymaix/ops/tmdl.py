"""Facts of the .tmdl format, version 1, that operators, reader and writer share: structs, number formats, layers.

A file is a header of 64 bytes and then the layers, each a header of 48 bytes with a body, padded to a multiple of 8.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.fixed_point import quantized_range

MAGIC = b"MAIX"
HEAD_SIZE = 64
LAYER_HEAD_SIZE = 48
ALIGNMENT = 8
RESERVED = 28
"""Zero bytes at the end of the header."""
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)

Dims = tuple[int, int, int, int]
"""Rank, then height, width, channels; without the batch, and a lower rank is filled with leading 1s."""


class Head(NamedTuple):
    """The file's header."""

    magic: bytes
    mdl_type: int
    out_deq: int
    input_cnt: int
    output_cnt: int
    layer_cnt: int
    buf_size: int
    sub_size: int
    in_dims: Dims
    out_dims: Dims


class LayerHead(NamedTuple):
    """The header of every layer."""

    type: int
    is_out: int
    size: int
    in_oft: int
    out_oft: int
    in_dims: Dims
    out_dims: Dims
    in_s: float
    in_zp: float
    out_s: float
    out_zp: float


@dataclass(frozen=True)
class Struct:
    """A record's layout in the notation of the struct module; Z is a zero point, which is a float in float models."""

    layout: str
    quads: tuple[int, ...] = ()  # positions of the fields that hold four numbers

    def size(self) -> int:
        return struct.calcsize("<" + self.layout.replace("Z", "i"))

    def pack(self, record: tuple[Any, ...], model: ModelType, order: str) -> bytes:
        flat = [v for value in record for v in (value if isinstance(value, tuple) else (value,))]
        return struct.pack(order + self.layout.replace("Z", model.zero_point), *flat)

    def unpack(self, data: bytes, offset: int, model: ModelType, order: str) -> list[Any]:
        values = list(struct.unpack_from(order + self.layout.replace("Z", model.zero_point), data, offset))
        for position in self.quads:
            values[position : position + 4] = [tuple(values[position : position + 4])]
        return values


HEAD = Struct(f"4sBBHHHII4H4H{RESERVED}x", (8, 9))
LAYER_HEAD = Struct("HHIII4H4HfZfZ", (5, 6))


class Float8(NamedTuple):
    """Sign, exponent and mantissa in one byte: 2^(e - bias) * (1 + m / 2^mantissa). There are no subnormals: only the
    code 0 and its negative are zero."""

    exponent: int
    mantissa: int
    bias: int

    def encode(self, values: Array) -> Array:
        """uint8 codes, rounded to the nearest mantissa with halves up. As in the original converter an exponent out of
        range becomes the nearest in range and leaves the mantissa as it is."""
        bits = np.asarray(values, np.float32).view(np.uint32).astype(np.int64)
        rounded = ((bits & 0x7FFFFF) >> (22 - self.mantissa)) + 1 >> 1
        carry = rounded >> self.mantissa
        e = np.clip((bits >> 23 & 0xFF) - 127 + self.bias + carry, 0, (1 << self.exponent) - 1)
        return np.asarray(bits >> 31 << 7 | e << self.mantissa | rounded * (1 - carry)).astype(np.uint8)

    def decode(self, codes: Array) -> Array:
        """float32 values of uint8 codes."""
        codes = codes.astype(np.int32)
        fraction = 1 + (codes & (1 << self.mantissa) - 1) / (1 << self.mantissa)
        magnitude = np.where(
            codes & 0x7F, np.ldexp(fraction, (codes >> self.mantissa & (1 << self.exponent) - 1) - self.bias), 0
        )
        return np.where(codes & 0x80, -magnitude, magnitude).astype(np.float32)


@dataclass(frozen=True)
class ModelType:
    """A number format of a model: bytes of an activation, numpy types of weights and biases as they are stored."""

    code: int
    name: str
    unit: int
    weight: str
    bias: str
    float8: Float8 | None = None

    @property
    def is_integer(self) -> bool:
        return self.bias == "i4"

    @property
    def zero_point(self) -> str:
        return "i" if self.is_integer else "f"

    def store(self, values: Array, stored: str, order: str) -> bytes:
        """The values as ``stored`` (`weight` or `bias`) has them, padded with zeros to a multiple of 8 bytes."""
        coded = self.float8.encode(values) if self.float8 else values
        data = coded.astype(np.dtype(order + stored)).tobytes()
        return data + bytes(align8(len(data)) - len(data))

    def load(self, data: bytes, offset: int, count: int, stored: str, order: str) -> Array:
        """``count`` values: integers as they are stored, any float as float32."""
        raw = np.frombuffer(data, np.dtype(order + stored), count, offset)
        if self.float8:
            return self.float8.decode(raw)
        return raw.astype(stored if self.is_integer else np.float32)


MODEL_TYPES = (
    ModelType(0, "int8", 1, "i1", "i4"),
    ModelType(1, "int16", 2, "i1", "i4"),
    ModelType(2, "fp32", 4, "f4", "f4"),
    ModelType(3, "fp16", 2, "f2", "f2"),
    ModelType(4, "fp8_143", 1, "u1", "u1", Float8(4, 3, 9)),
    ModelType(5, "fp8_152", 1, "u1", "u1", Float8(5, 2, 15)),
)


def align8(size: int) -> int:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def dims_of(shape: Shape) -> Dims:
    """The dims of a shape that begins with a batch and has one to three more dimensions."""
    height, width, channels = (1, 1, 1, *shape[1:])[-3:]
    return len(shape) - 1, height, width, channels


@dataclass(frozen=True)
class LayerToWrite:
    """A node and what its bytes depend on: the tensor computed just before it, the byte order "<" or ">", and where an
    activation lies in the main buffer."""

    node: Node
    previous: Tensor
    model: ModelType
    order: str
    offset: Callable[[Tensor], int]

    def body(self, layout: Struct, record: tuple[Any, ...]) -> bytes:
        return layout.pack(record, self.model, self.order)

    def quantization(self, tensor: Tensor) -> tuple[float, float]:
        """Scale and zero point, which in float models are 1 and 0."""
        return (tensor.q.s, tensor.q.z) if self.model.is_integer else (1.0, 0)

    @property
    def other(self) -> Tensor:
        """The second operand, which is the kept one."""
        return next(t for t in self.node.activations if t is not self.previous)


@dataclass(frozen=True)
class StoredLayer:
    """A layer as it lies in the file, header included; ``name`` is for its tensors."""

    name: str
    head: LayerHead
    data: bytes
    model: ModelType
    order: str

    def body(self, layout: Struct) -> list[Any]:
        if len(self.data) < LAYER_HEAD_SIZE + layout.size():
            raise ModelError(f"its {len(self.data)} bytes are too few for its parameters")
        return layout.unpack(self.data, LAYER_HEAD_SIZE, self.model, self.order)

    def array(self, what: str, offset: int, count: int, stored: str | None = None) -> Array:
        """``count`` values at ``offset`` of the layer; weight scales where ``stored`` is None."""
        size = count * np.dtype(stored or "f4").itemsize
        if offset % 4 or offset < LAYER_HEAD_SIZE or offset + size > len(self.data):
            raise ModelError(f"its {size} bytes of {what} at offset {offset} do not lie in its {len(self.data)} bytes")
        if stored is None:
            return np.frombuffer(self.data, self.order + "f4", count, offset).astype(np.float32)
        return self.model.load(self.data, offset, count, stored, self.order)

    def quantization(self, scale: float, zero_point: float) -> Quantization | None:
        """What two fields of an integer model mean; None in a float model, where they mean nothing."""
        if not self.model.is_integer:
            return None
        low, high = (0, 0) if self.model.name == "int16" else (-128, 127)
        if not SMALLEST_SCALE <= scale < np.inf or not low <= zero_point <= high:
            raise ModelError(f"scale {scale:g} with zero point {zero_point} is not a quantization of {self.model.name}")
        return Quantization.of(scale, int(zero_point))


Operand = Callable[[int], Tensor]
"""The tensor that lies at an offset of the main buffer with the shape of the layer's input."""


def has_quantization(tensor: Tensor, stated: Quantization | None) -> bool:
    """Whether a layer states the quantization that its operand has, which in float models is none."""
    own = tensor.quantization
    return own is stated is None or (own is not None and stated is not None and (own.s, own.z) == (stated.s, stated.z))


def activation_problems(node: Node, activation: str) -> list[str]:
    """For layers without a field for it: a fused activation is fine only where the output's range does all of it."""
    y = node.output
    if activation == "none":
        return []
    if y.dtype.kind == "i" and quantized_range(activation, y) == (np.iinfo(y.dtype).min, np.iinfo(y.dtype).max):
        return []
    return [f"it fuses {activation}, for which its .tmdl layer has no field; leave the activation out of this layer"]
