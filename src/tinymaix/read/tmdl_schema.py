"""Facts of the .tmdl format, version 1, that its reader and its writer share: structs, codes, number formats.

A file is a header of 64 bytes and then the layers, each a header of 48 bytes with a body, padded to a multiple of 8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinymaix.graph import Array, Shape

MAGIC = b"MAIX"
HEAD_SIZE = 64
LAYER_HEAD_SIZE = 48
ALIGNMENT = 8
RESERVED = 28
"""Zero bytes at the end of the header."""

CONV_2D, GAP, FULLY_CONNECTED, SOFTMAX, RESHAPE, DEPTHWISE_CONV_2D, ADD = range(7)
LAYER_NAMES = ("conv2d", "global average pool", "fully connected", "softmax", "reshape", "depthwise conv2d", "add")

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


class WindowBody(NamedTuple):
    """The body of a convolution, depthwise or not; offsets count from the start of the layer."""

    kernel_w: int
    kernel_h: int
    stride_w: int
    stride_h: int
    dilation_w: int
    dilation_h: int
    act: int
    pad: Dims  # top, bottom, left, right
    depth_mul: int
    ws_oft: int
    w_oft: int
    b_oft: int


class FullyConnectedBody(NamedTuple):
    ws_oft: int
    w_oft: int
    b_oft: int


class AddBody(NamedTuple):
    """The second operand of an addition."""

    in_oft1: int
    in_s1: float
    in_zp1: float


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
WINDOW_BODY = Struct("6BH4BI4xIII", (7,))
FULLY_CONNECTED_BODY = Struct("III4x")
ADD_BODY = Struct("IfZ4x")


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
    ModelType(1, "int16", 2, "i2", "i4"),
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
