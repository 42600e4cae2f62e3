"""DEQUANTIZE: raw values to float32: scale * (q - zero_point). Constants of float16 too, which readers fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.move import input_shape
from tinymaix.ops.quantize import per_tensor_problems


@dataclass(frozen=True)
class Dequantize(Operator):
    kind: ClassVar[str] = "DEQUANTIZE"
    tflite: ClassVar[tuple[int, int]] = (6, 38)
    types: ClassVar[tuple[str, ...]] = ("int8", "uint8", "int16")

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def problems(self, node: Node) -> list[str]:
        x, y = node.input(0), node.output
        if x.dtype == np.float16:
            return [f"'{x.name}' is float16 and computed at run time; only constants may be float16"]
        if x.dtype.name not in self.types or y.dtype != np.float32:
            return [
                f"'{x.name}' is {x.dtype} and '{y.name}' is {y.dtype}; {', '.join(self.types)} to float32 is supported"
            ]
        return per_tensor_problems(x)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        if node.input(0).dtype == np.float16:
            return [array(inputs[0]).astype(np.float32)]
        q = node.input(0).q
        return [q.scale[0] * (array(inputs[0]).astype(np.int32) - q.z).astype(np.float32)]

    def emit(self, node: Node, code: LayerCode) -> None:
        x = node.input(0)
        kernel = dequantize_kernel(x.dtype.name)
        code.call(kernel, x=code.input(0), y=code.output(), n=x.elements, scale=x.q.s, zero_x=x.q.z)


def dequantize_kernel(x: str) -> Kernel:
    """The kernel from an integer type."""
    name = f"dequantize_{x}"
    return Kernel(
        name,
        f"""\
static void {name}(const {C_TYPES[x]} *x, float *y, int n, float scale, int32_t zero_x)
{{
    for (int i = 0; i < n; i++)
        y[i] = scale * (float)(x[i] - zero_x);
}}
""",
    )
