"""PACK: inputs of one shape stacked along a new axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, positive_axis
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.move import COPY_ROWS, Move, elements, input_shape


@dataclass(frozen=True)
class Pack(Move):
    """``axis`` is the place of the new axis in the output; negative counts from its end."""

    axis: int = 0

    kind: ClassVar[str] = "PACK"
    tflite: ClassVar[tuple[int, int]] = (83, 59)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Pack:
        return cls(options.i32(1))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", len(node.inputs)), 1: ("i32", self.axis)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shapes = [input_shape(inputs, i) for i in range(max(1, len(inputs)))]
        if len(set(shapes)) > 1:
            raise ModelError(f"inputs of one shape can be packed, not {', '.join(str(list(s)) for s in shapes)}")
        axis = positive_axis(self.axis, len(shapes[0]) + 1)
        return [(*shapes[0][:axis], len(inputs), *shapes[0][axis:])]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.stack([array(value) for value in inputs], self.axis)]

    def emit(self, node: Node, code: LayerCode) -> None:
        shape, count = node.input(0).shape, len(node.inputs)
        axis = positive_axis(self.axis, len(shape) + 1)
        inner = elements(shape[axis:]) * node.output.dtype.itemsize
        y = code.output()
        for i in range(count):
            code.call(
                COPY_ROWS,
                x=code.input(i),
                y=y,
                rows=elements(shape[:axis]),
                bytes=inner,
                x_start=0,
                x_step=inner,
                y_start=i * inner,
                y_step=count * inner,
            )
