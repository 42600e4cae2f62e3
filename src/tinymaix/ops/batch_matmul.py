"""BATCH_MATMUL: matrix products over the last two axes, both operands at run time or constant; int8 or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize, saturate
from tinymaix.ops.move import elements, input_shape
from tinymaix.ops.strides import ROW_OFFSET, broadcast_steps

DEEPEST = 1 << 15
"""The most products in a sum of int8, which stays in 32 bits."""


@dataclass(frozen=True)
class BatchMatMul(Operator):
    """a (..., m, k) times b (..., k, n), whose axes before these broadcast.

    ``adjoint_a`` and ``adjoint_b``: the last two axes stand swapped.
    """

    adjoint_a: bool = False
    adjoint_b: bool = False

    kind: ClassVar[str] = "BATCH_MATMUL"
    tflite: ClassVar[tuple[int, int]] = (126, 101)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> BatchMatMul:
        return cls(options.flag(0), options.flag(1))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("flag", self.adjoint_a), 1: ("flag", self.adjoint_b)}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        a, b = input_shape(inputs), input_shape(inputs, 1)
        if min(len(a), len(b)) < 2:
            raise ModelError(f"matrices must have two axes or more, not {list(a)} and {list(b)}")
        (m, k), (rows, n) = self._matrix(a, self.adjoint_a), self._matrix(b, self.adjoint_b)
        if k != rows:
            raise ModelError(f"{list(a)} and {list(b)} do not multiply: {k} columns meet {rows} rows")
        try:
            return [(*np.broadcast_shapes(a[:-2], b[:-2]), m, n)]
        except ValueError:
            raise ModelError(f"the leading axes of {list(a)} and {list(b)} do not broadcast") from None

    @staticmethod
    def _matrix(shape: Shape, adjoint: bool) -> Shape:
        return shape[:-3:-1] if adjoint else shape[-2:]

    def problems(self, node: Node) -> list[str]:
        a, b = node.input(0), node.input(1)
        if found := super().problems(node):
            return found
        if a.dtype != b.dtype or a.dtype != node.output.dtype:
            return [f"'{a.name}' is {a.dtype} and '{b.name}' {b.dtype}; both must be int8 or float32"]
        if a.dtype == np.float32:
            return []
        wrong = [t.name for t in (a, b) if t.quantization is None or t.q.per_channel]
        if wrong:
            return [f"'{wrong[0]}' needs one scale and zero point; quantize the model again"]
        if self._matrix(a.shape, self.adjoint_a)[1] > DEEPEST:
            return [f"'{a.name}' has rows of more than {DEEPEST} values, whose products can exceed 32 bits"]
        return []

    def macs(self, node: Node) -> int:
        return node.output.elements * self._matrix(node.input(0).shape, self.adjoint_a)[1]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        a, b = array(inputs[0]), array(inputs[1])
        a = a.swapaxes(-1, -2) if self.adjoint_a else a
        b = b.swapaxes(-1, -2) if self.adjoint_b else b
        if a.dtype == np.float32:
            total = np.zeros(node.output.shape, np.float32)
            for k in range(a.shape[-1]):  # in the kernel's order, on which float32 sums depend
                total += a[..., :, k, None] * b[..., None, k, :]
            return [total]
        product = np.matmul(a.astype(np.int64) - node.input(0).q.z, b.astype(np.int64) - node.input(1).q.z)
        return [saturate(requantize(product, *self._scale(node)) + node.output.q.z, node.output.dtype)]

    def _scale(self, node: Node) -> tuple[int, int]:
        return quantize_multiplier(node.input(0).q.s * node.input(1).q.s / node.output.q.s)

    def emit(self, node: Node, code: LayerCode) -> None:
        a, b, y = node.input(0), node.input(1), node.output
        (m, k), n = self._matrix(a.shape, self.adjoint_a), y.shape[-1]
        batches = y.shape[:-2]
        arguments: dict[str, Argument] = {"sizes": "NULL", "steps_a": "NULL", "steps_b": "NULL"}
        if batches:
            arguments["sizes"] = code.constant("sizes", batches, "int32")
            for name, t in (("steps_a", a), ("steps_b", b)):
                steps = broadcast_steps(t.shape[:-2], len(batches))
                matrix = elements(t.shape[-2:])
                arguments[name] = code.constant(name, [step * matrix for step in steps], "int32")
        if y.dtype == np.int8:
            multiplier, shift = self._scale(node)
            arguments |= {
                "zero_a": a.q.z, "zero_b": b.q.z, "zero_y": y.q.z, "multiplier": multiplier, "shift": shift,
            }  # fmt: skip
        code.call(
            BATCH_MATMUL_S8 if y.dtype == np.int8 else BATCH_MATMUL_F32,
            a=code.input(0),
            b=code.input(1),
            y=code.output(),
            **arguments,
            rank=len(batches),
            batches=elements(batches),
            m=m,
            k=k,
            n=n,
            row_a=1 if self.adjoint_a else k,
            step_a=m if self.adjoint_a else 1,
            column_b=k if self.adjoint_b else 1,
            step_b=1 if self.adjoint_b else n,
        )


def _kernel(name: str, c_type: str, parameters: str, sum_type: str, product: str, value: str, *needs: Kernel) -> Kernel:
    return Kernel(
        name,
        f"""\
/* y = a b for each of `batches` matrices a[m][k] and b[k][n], which may lie transposed */
static void {name}(const {c_type} *a, const {c_type} *b, {c_type} *y, const int32_t *sizes, const int32_t *steps_a,
    const int32_t *steps_b{parameters}, int rank, int batches, int m, int k, int n, int row_a, int step_a,
    int column_b, int step_b)
{{
    for (int batch = 0; batch < batches; batch++) {{
        const {c_type} *row = a + row_offset(sizes, steps_a, rank, batch);
        const {c_type} *columns = b + row_offset(sizes, steps_b, rank, batch);
        for (int i = 0; i < m; i++, row += row_a)
            for (int j = 0; j < n; j++) {{
                const {c_type} *p = row, *q = columns + j * column_b;
                {sum_type} sum = 0;
                for (int c = 0; c < k; c++, p += step_a, q += step_b)
                    sum += {product};
                *y++ = {value};
            }}
    }}
}}
""",
        (ROW_OFFSET, *needs),
    )


BATCH_MATMUL_S8 = _kernel(
    "batch_matmul_s8",
    "int8_t",
    ", int32_t zero_a, int32_t zero_b, int32_t zero_y, int32_t multiplier, int shift",
    "int32_t",
    "(*p - zero_a) * (*q - zero_b)",
    "(int8_t)clamp(requantize(sum, multiplier, shift) + zero_y, -128, 127)",
    REQUANTIZE,
    CLAMP,
)

BATCH_MATMUL_F32 = _kernel("batch_matmul_f32", "float", "", "float", "*p * *q", "sum")
