"""UNPACK: the slices along an axis, one an output, without that axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, positive_axis
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.move import Move, input_shape, split_rows


@dataclass(frozen=True)
class Unpack(Move):
    """``count`` outputs, which must be the size of ``axis``."""

    count: int
    axis: int = 0

    kind: ClassVar[str] = "UNPACK"
    tflite: ClassVar[tuple[int, int]] = (88, 64)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Unpack:
        return cls(options.i32(0), options.i32(1))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.count), 1: ("i32", self.axis)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        axis = positive_axis(self.axis, len(shape))
        if shape[axis] != self.count:
            raise ModelError(f"axis {axis} of {list(shape)} cannot be unpacked into {self.count} outputs")
        return [shape[:axis] + shape[axis + 1 :]] * self.count

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return list(np.moveaxis(array(inputs[0]), self.axis, 0))

    def emit(self, node: Node, code: LayerCode) -> None:
        split_rows(node, code, positive_axis(self.axis, len(node.input(0).shape)), [1] * self.count)
