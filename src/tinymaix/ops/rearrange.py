"""DEPTH_TO_SPACE, SPACE_TO_DEPTH, BATCH_TO_SPACE_ND, SPACE_TO_BATCH_ND, MIRROR_PAD, TILE, BROADCAST_TO, REVERSE_V2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, constant_ints, int_tensor, positive_axis
from tinymaix.ops.move import input_shape
from tinymaix.ops.pad import pads_of
from tinymaix.ops.strides import broadcast_steps, row_steps
from tinymaix.ops.tables import TableMove, plain_tables
from tinymaix.ops.window import nhwc

LARGEST = 1 << 28
"""The most elements that an output of these may have."""


class _OneInput(TableMove):
    """The inputs behind the first one are attributes."""

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]


@dataclass(frozen=True)
class DepthToSpace(_OneInput):
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
class SpaceToDepth(_OneInput):
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
class BatchToSpace(_OneInput):
    """x: (batches * blocks, *spatial, rest): blocks of batches become spatial elements, of which ``crops`` (before,
    after) are left out."""

    blocks: tuple[int, ...]
    crops: tuple[tuple[int, int], ...]

    kind: ClassVar[str] = "BATCH_TO_SPACE_ND"
    tflite: ClassVar[tuple[int, int]] = (37, 24)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> BatchToSpace:
        return cls(*blocks_and_pairs(inputs, "the crops"))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [node.input(0), int_tensor("blocks", self.blocks), pairs_tensor("crops", self.crops)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape, rank = input_shape(inputs), len(self.blocks)
        if len(shape) <= rank or min(self.blocks, default=0) < 1 or shape[0] % math.prod(self.blocks):
            raise ModelError(f"{list(shape)} does not hold blocks of {self.blocks} along its first axis")
        spatial = [
            size * block - before - after
            for size, block, (before, after) in zip(shape[1:], self.blocks, self.crops, strict=False)
        ]
        if min(spatial) < 0 or min(min(pair) for pair in self.crops) < 0:
            raise ModelError(f"crops {self.crops} are more than there is of {list(shape)}")
        return [(shape[0] // math.prod(self.blocks), *spatial, *shape[1 + rank :])]

    def tables(self, node: Node) -> list[Array]:
        steps, out = row_steps(node.input(0).shape), node.output.shape
        tables = [np.arange(out[0]) * steps[0]]
        each = steps[0] * out[0]  # from one place of the innermost block to the next
        inner = [math.prod(self.blocks[i + 1 :]) for i in range(len(self.blocks))]
        for i, (block, (before, _)) in enumerate(zip(self.blocks, self.crops, strict=True)):
            at = np.arange(out[1 + i]) + before
            tables.append(at % block * inner[i] * each + at // block * steps[1 + i])
        rest = range(1 + len(self.blocks), len(out))
        return tables + [np.arange(out[axis]) * steps[axis] for axis in rest]


@dataclass(frozen=True)
class SpaceToBatch(_OneInput):
    """x: (batches, *spatial, rest), padded by ``pads`` (before, after): blocks of spatial elements become batches.

    int8 is padded with the zero point, as LiteRT does it; TFLM pads with a raw 0.
    """

    blocks: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    kind: ClassVar[str] = "SPACE_TO_BATCH_ND"
    tflite: ClassVar[tuple[int, int]] = (38, 25)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> SpaceToBatch:
        return cls(*blocks_and_pairs(inputs, "the padding"))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [node.input(0), int_tensor("blocks", self.blocks), pairs_tensor("pads", self.pads)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape, rank = input_shape(inputs), len(self.blocks)
        if len(shape) <= rank or min(self.blocks, default=0) < 1 or min(min(pair) for pair in self.pads) < 0:
            raise ModelError(f"blocks {self.blocks} and padding {self.pads} do not fit {list(shape)}")
        padded = [size + sum(pair) for size, pair in zip(shape[1:], self.pads, strict=False)]
        if any(size % block for size, block in zip(padded, self.blocks, strict=True)):
            raise ModelError(f"{list(shape)} with padding {self.pads} is not blocks of {self.blocks}")
        spatial = [size // block for size, block in zip(padded, self.blocks, strict=True)]
        return [_limited((shape[0] * math.prod(self.blocks), *spatial, *shape[1 + rank :]))]

    def tables(self, node: Node) -> list[Array]:
        """Where an element is inside depends on its batch and its place together, so both are one table."""
        x, out, rank = node.input(0).shape, node.output.shape, len(self.blocks)
        steps = row_steps(x)
        places: Array = np.zeros((1,) * (2 * rank), np.int64)  # by blocks, then spatial axes
        inside: Array = np.ones((1,) * (2 * rank), bool)
        for i, (block, (before, _)) in enumerate(zip(self.blocks, self.pads, strict=True)):
            at = np.arange(block)[:, None] + np.arange(out[1 + i]) * block - before
            view = [1] * (2 * rank)
            view[i], view[rank + i] = at.shape
            at = at.reshape(view)
            places, inside = places + at * steps[1 + i], inside & (at >= 0) & (at < x[1 + i])
        places = np.where(inside, places, -1)
        batches = np.arange(x[0]).reshape(-1, *[1] * rank) * steps[0]
        blocks = places.reshape(-1, 1, *out[1 : 1 + rank])
        joined = np.where(blocks < 0, -1, blocks + batches)
        rest = range(1 + rank, len(out))
        return [joined.reshape(-1), *(np.arange(out[axis]) * steps[axis] for axis in rest)]


@dataclass(frozen=True)
class MirrorPad(_OneInput):
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
        return [_limited(tuple(size + sum(pair) for size, pair in zip(shape, self.pads, strict=True)))]

    def tables(self, node: Node) -> list[Array]:
        shape, mode = node.input(0).shape, "symmetric" if self.symmetric else "reflect"
        return [
            np.pad(np.arange(size), pair, mode) * step  # type: ignore[call-overload]
            for size, pair, step in zip(shape, self.pads, row_steps(shape), strict=True)
        ]


@dataclass(frozen=True)
class Tile(_OneInput):
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
        return [_limited(tuple(size * times for size, times in zip(shape, self.repeats, strict=True)))]

    def tables(self, node: Node) -> list[Array]:
        pairs = zip(plain_tables(node.input(0).shape), self.repeats, strict=True)
        return [np.tile(table, times) for table, times in pairs]


@dataclass(frozen=True)
class BroadcastTo(_OneInput):
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
        return [_limited(self.shape)]

    def tables(self, node: Node) -> list[Array]:
        steps = broadcast_steps(node.input(0).shape, len(self.shape))
        return [np.arange(size) * step for size, step in zip(self.shape, steps, strict=True)]


@dataclass(frozen=True)
class Reverse(_OneInput):
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


def blocks_and_pairs(inputs: Sequence[Tensor | None], what: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """The constant blocks and (before, after) pairs of a .tflite, one of each for each spatial axis."""
    blocks, flat = constant_ints(inputs, 1, "the blocks"), constant_ints(inputs, 2, what)
    if not blocks or len(flat) != 2 * len(blocks):
        raise ModelError(f"{what} must be a pair for each of the {len(blocks)} blocks")
    return blocks, tuple(zip(flat[::2], flat[1::2], strict=True))


def pairs_tensor(name: str, pairs: Sequence[tuple[int, int]]) -> Tensor:
    data = np.asarray(pairs, np.int32).reshape(-1, 2)
    return Tensor(name, data.shape, data.dtype, None, data)


def _limited(shape: Shape) -> Shape:
    if math.prod(shape) > LARGEST:
        raise ModelError(f"an output of shape {list(shape)} is larger than any chip's memory")
    return shape
