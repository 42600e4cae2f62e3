"""BATCH_MATMUL: products of two matrices, both computed at run time, for each index of the leading axes; float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import elements, input_shape


@dataclass(frozen=True)
class BatchMatMul(Operator):
    """Inputs: a (..., m, k), b (..., k, n); leading axes broadcast. With ``adjoint_a`` a is (..., k, m), likewise b."""

    adjoint_a: bool = False
    adjoint_b: bool = False

    kind: ClassVar[str] = "BATCH_MATMUL"
    tflite: ClassVar[tuple[int, int]] = (126, 101)
    types: ClassVar[tuple[str, ...]] = ("float32",)

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

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or [
            f"constant '{t.name}' is {t.dtype}; float32 is supported" for t in node.present if t.dtype != np.float32
        ]

    def macs(self, node: Node) -> int:
        return node.output.elements * self._matrix(node.input(0).shape, self.adjoint_a)[1]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        a, b = array(inputs[0]), array(inputs[1])
        a = a.swapaxes(-1, -2) if self.adjoint_a else a
        b = b.swapaxes(-1, -2) if self.adjoint_b else b
        total = np.zeros(node.output.shape, np.float32)
        for k in range(a.shape[-1]):  # in the kernel's order, on which float32 sums depend
            total += a[..., :, k, None] * b[..., None, k, :]
        return [total]

    def emit(self, node: Node, code: LayerCode) -> None:
        a, b, y = node.input(0).shape, node.input(1).shape, node.output.shape
        (m, k), (_, n) = self._matrix(a, self.adjoint_a), self._matrix(b, self.adjoint_b)
        code.call(
            BATCH_MATMUL_F32,
            a=code.input(0),
            b=code.input(1),
            y=code.output(),
            offsets_a=code.constant("offsets_a", _offsets(a, y), "int32"),
            offsets_b=code.constant("offsets_b", _offsets(b, y), "int32"),
            batches=elements(y[:-2]),
            m=m,
            k=k,
            n=n,
            row_a=1 if self.adjoint_a else k,
            step_a=m if self.adjoint_a else 1,
            step_b=1 if self.adjoint_b else n,
            column_b=k if self.adjoint_b else 1,
        )

    @staticmethod
    def _matrix(shape: Shape, adjoint: bool) -> tuple[int, int]:
        """(rows, columns) of each matrix as it is multiplied."""
        return (shape[-1], shape[-2]) if adjoint else (shape[-2], shape[-1])


def _offsets(shape: Shape, output: Shape) -> Array:
    """The first element of the operand's matrix for each of the output's."""
    own = np.arange(elements(shape[:-2])).reshape(shape[:-2]) * elements(shape[-2:])
    return np.broadcast_to(own, output[:-2]).reshape(-1)


BATCH_MATMUL_F32 = Kernel(
    "batch_matmul_f32",
    """\
/* y = a . b for each of `batches` pairs of matrices, float; rows and steps say how far neighbours are apart. */
static void batch_matmul_f32(const float *a, const float *b, float *y, const int32_t *offsets_a,
                             const int32_t *offsets_b, int batches, int m, int k, int n,
                             int row_a, int step_a, int step_b, int column_b)
{
    for (int batch = 0; batch < batches; batch++) {
        const float *row = a + FLASH_I32(offsets_a + batch), *matrix = b + FLASH_I32(offsets_b + batch);
        for (int i = 0; i < m; i++, row += row_a) {
            const float *column = matrix;
            for (int j = 0; j < n; j++, column += column_b) {
                const float *p = row, *q = column;
                float sum = 0.0f;
                for (int c = 0; c < k; c++, p += step_a, q += step_b)
                    sum += *p * *q;
                *y++ = sum;
            }
        }
    }
}
""",
)
