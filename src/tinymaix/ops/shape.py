"""SHAPE: the input's shape as integers. Shapes are known, so its output is a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape

_TENSOR_TYPES = {"int32": 2, "int64": 4}


@dataclass(frozen=True)
class ShapeOf(Operator):
    """Input of any type; output int32, or int64 where it is folded away."""

    kind: ClassVar[str] = "SHAPE"
    tflite: ClassVar[tuple[int, int]] = (77, 55)

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i8", _TENSOR_TYPES.get(node.output.dtype.name, 2))}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [(len(input_shape(inputs)),)]

    def problems(self, node: Node) -> list[str]:
        output = node.output
        return [] if output.dtype == np.int32 else [f"output '{output.name}' is {output.dtype}; int32 is supported"]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.array(node.input(0).shape, node.output.dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        shape = node.input(0).shape
        if shape:
            code.call(COPY_FLASH_I32, y=code.output(), values=code.constant("shape", shape, "int32"), n=len(shape))


COPY_FLASH_I32 = Kernel(
    "copy_flash_i32",
    """\
static void copy_flash_i32(int32_t *y, const int32_t *values, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = FLASH_I32(values + i);
}
""",
)
