"""Unary elementwise operators: int8 is one table of 256 results made at compile time, float32 a small kernel each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.move import input_shape


class Unary(Operator):
    """One input, one output of its shape. A subclass says what it does to raw int8 values and to floats."""

    float_kernel: ClassVar[Kernel]
    """C function (x, y, n, and what `float_arguments` gives) for float32."""

    def raw(self, node: Node, q: Array) -> Array:
        """Raw outputs, saturated, for raw integer inputs ``q`` (int64)."""
        raise NotImplementedError

    def real(self, x: Array) -> Array:
        """float32 outputs for float32 inputs."""
        raise NotImplementedError

    def float_arguments(self) -> dict[str, Argument]:
        """Arguments of `float_kernel` beside x, y and n."""
        return {}

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        if x.dtype == np.float32:
            return [self.real(x).astype(np.float32)]
        if x.dtype == np.int16:
            return [self.raw(node, x.astype(np.int64)).astype(np.int16)]
        return [self.table(node)[x.view(np.uint8)]]

    def table(self, node: Node) -> Array:
        """Outputs of all inputs of one byte, indexed by that byte: in int8 0 to 127, then -128 to -1."""
        q = np.arange(256, dtype=np.uint8).view(node.input(0).dtype).astype(np.int64)
        return self.raw(node, q).astype(node.output.dtype)

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit_int16(self, node: Node, code: LayerCode) -> None:
        """`emit` for int16, where there is such a type: a table would be too large."""
        raise NotImplementedError(f"{self.kind} has no int16 kernel")

    def emit(self, node: Node, code: LayerCode) -> None:
        if node.output.dtype == np.int16:
            self.emit_int16(node, code)
            return
        x, y, n = code.input(0), code.output(), node.output.elements
        if node.output.dtype == np.float32:
            code.call(self.float_kernel, x=x, y=y, n=n, **self.float_arguments())
        else:
            table = code.constant("table", self.table(node).view(np.int8))
            if node.output.dtype == np.uint8:
                x, y = f"(const int8_t *){x}", f"(int8_t *){y}"
            code.call(LOOKUP_S8, x=x, y=y, table=table, n=n)


def fixed_output_problems(node: Node, scale: float, zero_point: int) -> list[str]:
    """A sentence where the output has another quantization than the one that the integer kernel always gives: this one
    in int8, scale 1/32768 and no zero points in int16."""
    output = node.output
    if output.dtype == np.int16:
        scale, zero_point = 2.0**-15, node.input(0).q.z and -1
    if output.dtype in (np.float32, np.uint8) or (output.q.s, output.q.z) == (scale, zero_point):
        return []
    return [
        f"output '{output.name}' has scale {output.q.s:.7g} and zero point {output.q.z}; {output.dtype} "
        f"{node.op.kind} always gives scale 1/{round(1 / scale)} and zero point {zero_point}; quantize again so"
    ]


LOOKUP_S8 = Kernel(
    "lookup_s8",
    """\
/* y = table[x]: the table stands in the order of the input's byte, 0 to 127 and then -128 to -1 */
static void lookup_s8(const int8_t *x, int8_t *y, const int8_t *table, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = FLASH_I8(table + (uint8_t)x[i]);
}
""",
)

CLAMP_ALL_F32 = Kernel(
    "clamp_all_f32",
    """\
static void clamp_all_f32(const float *x, float *y, int n, float low, float high)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] > high ? high : x[i] < low ? low : x[i];
}
""",
)

RELU_F32 = Kernel(
    "relu_f32",
    """\
static void relu_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}
""",
)
