"""CONCATENATION along one axis, for every type; int8 inputs must share the output's scale and zero point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, positive_axis, same_quantization
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.move import COPY_ROWS, Move, elements


@dataclass(frozen=True)
class Concatenation(Move):
    """Inputs: one or more tensors whose shapes differ only along ``axis``, which may count from the end."""

    axis: int = 0

    kind: ClassVar[str] = "CONCATENATION"
    tflite: ClassVar[tuple[int, int]] = (2, 10)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Concatenation:
        activation = fused_activation(options.i8(1))
        if activation != "none":
            raise ModelError(f"TFLM has no CONCATENATION with a fused {activation}; make it a node of its own")
        return cls(options.i32(0))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.axis)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shapes = [tensor.shape for tensor in inputs if tensor is not None]
        if not shapes or len(shapes) < len(inputs):
            raise ModelError("an input of CONCATENATION is missing")
        axis = positive_axis(self.axis, len(shapes[0]))
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if len(rest) > 1 or any(len(shape) != len(shapes[0]) for shape in shapes):
            names = ", ".join(repr(tensor) for tensor in inputs)
            raise ModelError(f"{names} differ in more than axis {axis} and cannot be concatenated")
        return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.concatenate([array(x) for x in inputs], axis=self.axis)]

    def emit(self, node: Node, code: LayerCode) -> None:
        y = node.output
        axis = positive_axis(self.axis, len(y.shape))
        row = elements(y.shape[axis:]) * y.dtype.itemsize
        start = 0
        for i, x in enumerate(node.present):
            size = elements(x.shape[axis:]) * x.dtype.itemsize
            code.call(
                COPY_ROWS,
                x=code.input(i),
                y=code.output(),
                rows=elements(y.shape[:axis]),
                bytes=size,
                x_start=0,
                x_step=size,
                y_start=start,
                y_step=row,
            )
            start += size
