"""DEPTH_TO_SPACE, SPACE_TO_DEPTH, MIRROR_PAD, TILE, BROADCAST_TO and REVERSE_V2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, constant_ints, int_tensor, positive_axis
from tinymaix.ops.move import input_shape
from tinymaix.ops.pad import pads_of
from tinymaix.ops.strides import broadcast_steps, row_steps
from tinymaix.ops.tables import OneInputMove, limited, pairs_tensor, plain_tables
from tinymaix.ops.window import nhwc


@dataclass(frozen=True)
class DepthToSpace(OneInputMove):
    """Channels in blocks of ``block`` x ``block`` become pixels; NHWC."""

    block: int

    kind: ClassVar[str] = "DEPTH_TO_SPACE"
    tflite: ClassVar[tuple[int, int]] = (5, 94)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> DepthToSpace:
        return cls(options.i32(0))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.block)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        n, h, w, c = nhwc(input_shape(inputs), "the input")
        if self.block < 1 or c % (self.block**2):
            raise ModelError(f"{c} channels are not blocks of {self.block} x {self.block}")
        return [(n, h * self.block, w * self.block, c // self.block**2)]

    def tables(self, node: Node) -> list[Array]:
        batch, row, column, _ = row_steps(node.input(0).shape)
        n, h, w, c = node.output.shape
        y, x = np.arange(h), np.arange(w)
        return [
            np.arange(n) * batch,
            y // self.block * row + y % self.block * self.block * c,
            x // self.block * column + x % self.block * c,
            np.arange(c),
        ]


@dataclass(frozen=True)
class SpaceToDepth(OneInputMove):
    """Pixels in blocks of ``block`` x ``block`` become channels; NHWC."""

    block: int

    kind: ClassVar[str] = "SPACE_TO_DEPTH"
    tflite: ClassVar[tuple[int, int]] = (26, 19)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> SpaceToDepth:
        return cls(options.i32(0))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.block)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        n, h, w, c = nhwc(input_shape(inputs), "the input")
        if self.block < 1 or h % self.block or w % self.block:
            raise ModelError(f"{h}x{w} pixels are not blocks of {self.block} x {self.block}")
        return [(n, h // self.block, w // self.block, c * self.block**2)]

    def tables(self, node: Node) -> list[Array]:
        batch, row, column, _ = row_steps(node.input(0).shape)
        (n, h, w, _), c, block = node.output.shape, node.input(0).shape[3], np.arange(self.block)
        channels = block[:, None, None] * row + block[:, None] * column + np.arange(c)
        return [
            np.arange(n) * batch,
            np.arange(h) * self.block * row,
            np.arange(w) * self.block * column,
            channels.reshape(-1),
        ]


@dataclass(frozen=True)
class MirrorPad(OneInputMove):
    """Pads with the elements that a mirror shows: ``symmetric`` stands behind the outermost ones and repeats them."""

    pads: tuple[tuple[int, int], ...]
    symmetric: bool = False

    kind: ClassVar[str] = "MIRROR_PAD"
    tflite: ClassVar[tuple[int, int]] = (100, 77)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> MirrorPad:
        return cls(pads_of(inputs), options.i8(0) == 1)

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i8", int(self.symmetric))}, [node.input(0), pairs_tensor("pads", self.pads)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape, reach = input_shape(inputs), 0 if self.symmetric else 1
        fits = len(self.pads) == len(shape) and all(
            min(pair) >= 0 and max(pair) <= size - reach for size, pair in zip(shape, self.pads, strict=True)
        )
        if not fits:
            raise ModelError(f"{list(shape)} is too small for a mirror of {self.pads}")
        return [limited(tuple(size + sum(pair) for size, pair in zip(shape, self.pads, strict=True)))]

    def tables(self, node: Node) -> list[Array]:
        shape, mode = node.input(0).shape, "symmetric" if self.symmetric else "reflect"
        return [
            np.pad(np.arange(size), pair, mode) * step  # type: ignore[call-overload]
            for size, pair, step in zip(shape, self.pads, row_steps(shape), strict=True)
        ]


@dataclass(frozen=True)
class Tile(OneInputMove):
    """The input repeated ``repeats`` times along each axis."""

    repeats: tuple[int, ...]

    kind: ClassVar[str] = "TILE"
    tflite: ClassVar[tuple[int, int]] = (69, 51)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Tile:
        return cls(constant_ints(inputs, 1, "the repeats"))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [node.input(0), int_tensor("repeats", self.repeats)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if len(shape) != len(self.repeats) or min(self.repeats, default=1) < 0:
            raise ModelError(f"{list(shape)} cannot be repeated {list(self.repeats)} times")
        return [limited(tuple(size * times for size, times in zip(shape, self.repeats, strict=True)))]

    def tables(self, node: Node) -> list[Array]:
        pairs = zip(plain_tables(node.input(0).shape), self.repeats, strict=True)
        return [np.tile(table, times) for table, times in pairs]


@dataclass(frozen=True)
class BroadcastTo(OneInputMove):
    """The input broadcast to ``shape`` as numpy does it."""

    shape: Shape

    kind: ClassVar[str] = "BROADCAST_TO"
    tflite: ClassVar[tuple[int, int]] = (130, 104)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> BroadcastTo:
        return cls(constant_ints(inputs, 1, "the shape"))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [node.input(0), int_tensor("shape", self.shape)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if min(self.shape, default=1) < 0 or np.broadcast_shapes(shape, self.shape) != self.shape:
            raise ModelError(f"{list(shape)} does not broadcast to {list(self.shape)}")
        return [limited(self.shape)]

    def tables(self, node: Node) -> list[Array]:
        steps = broadcast_steps(node.input(0).shape, len(self.shape))
        return [np.arange(size) * step for size, step in zip(self.shape, steps, strict=True)]


@dataclass(frozen=True)
class Reverse(OneInputMove):
    """The input with its elements backwards along ``axes``."""

    axes: tuple[int, ...]

    kind: ClassVar[str] = "REVERSE_V2"
    tflite: ClassVar[tuple[int, int]] = (105, 81)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Reverse:
        return cls(constant_ints(inputs, 1, "the axes"))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [node.input(0), int_tensor("axes", self.axes)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        for axis in self.axes:
            positive_axis(axis, len(shape))
        return [shape]

    def tables(self, node: Node) -> list[Array]:
        tables = plain_tables(node.input(0).shape)
        backwards = {axis % len(tables) for axis in self.axes}
        return [table[::-1] if axis in backwards else table for axis, table in enumerate(tables)]
