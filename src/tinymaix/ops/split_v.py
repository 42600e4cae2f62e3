"""SPLIT_V: an axis cut into parts of given sizes, one an output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor, positive_axis
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.expand_dims import single_axis
from tinymaix.ops.move import Move, input_shape, split_rows


@dataclass(frozen=True)
class SplitV(Move):
    """One of ``sizes`` may be -1: what the others leave."""

    sizes: tuple[int, ...]
    axis: int

    kind: ClassVar[str] = "SPLIT_V"
    tflite: ClassVar[tuple[int, int]] = (102, 79)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> SplitV:
        return cls(constant_ints(inputs, 1, "the sizes"), single_axis(inputs, 2))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        sizes, axis = int_tensor("sizes", self.sizes), int_tensor("axis", self.axis)
        return {0: ("i32", len(self.sizes))}, [*node.inputs, sizes, axis]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        axis, sizes = self._parts(shape)
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        axis, sizes = self._parts(x.shape)
        return np.split(x, np.cumsum(sizes)[:-1], axis)

    def emit(self, node: Node, code: LayerCode) -> None:
        split_rows(node, code, *self._parts(node.input(0).shape))

    def _parts(self, shape: Shape) -> tuple[int, list[int]]:
        """(axis, sizes) counted from the front and without -1."""
        axis = positive_axis(self.axis, len(shape))
        left = shape[axis] - sum(size for size in self.sizes if size != -1)
        sizes = [left if size == -1 else size for size in self.sizes]
        if self.sizes.count(-1) > 1 or min(sizes, default=-1) < 0 or sum(sizes) != shape[axis]:
            raise ModelError(f"axis {axis} of {list(shape)} cannot be split into parts of {list(self.sizes)}")
        return axis, sizes
