"""SPLIT: an axis cut into equal parts, one an output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, int_tensor, positive_axis
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.expand_dims import single_axis
from tinymaix.ops.move import Move, input_shape, split_rows


@dataclass(frozen=True)
class Split(Move):
    count: int
    axis: int

    kind: ClassVar[str] = "SPLIT"
    tflite: ClassVar[tuple[int, int]] = (49, 35)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Split:
        return cls(options.i32(0), single_axis(inputs, 0))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[1:]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.count)}, [int_tensor("axis", self.axis), *node.inputs]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        axis = positive_axis(self.axis, len(shape))
        if self.count < 1 or shape[axis] % self.count:
            raise ModelError(f"axis {axis} of {list(shape)} cannot be split into {self.count} equal parts")
        return [(*shape[:axis], shape[axis] // self.count, *shape[axis + 1 :])] * self.count

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return np.split(array(inputs[0]), self.count, self.axis)

    def emit(self, node: Node, code: LayerCode) -> None:
        shape = node.input(0).shape
        axis = positive_axis(self.axis, len(shape))
        split_rows(node, code, axis, [shape[axis] // self.count] * self.count)
