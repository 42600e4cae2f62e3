"""BATCH_TO_SPACE_ND and SPACE_TO_BATCH_ND: blocks of spatial elements to batches and back, as exporters of dilated
convolutions use them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, constant_ints, int_tensor
from tinymaix.ops.move import input_shape
from tinymaix.ops.strides import row_steps
from tinymaix.ops.tables import OneInputMove, limited, pairs_tensor


@dataclass(frozen=True)
class BatchToSpace(OneInputMove):
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
class SpaceToBatch(OneInputMove):
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
        return [limited((shape[0] * math.prod(self.blocks), *spatial, *shape[1 + rank :]))]

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


def blocks_and_pairs(inputs: Sequence[Tensor | None], what: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """The constant blocks and (before, after) pairs of a .tflite, one of each for each spatial axis."""
    blocks, flat = constant_ints(inputs, 1, "the blocks"), constant_ints(inputs, 2, what)
    if not blocks or len(flat) != 2 * len(blocks):
        raise ModelError(f"{what} must be a pair for each of the {len(blocks)} blocks")
    return blocks, tuple(zip(flat[::2], flat[1::2], strict=True))
