"""LOG_SOFTMAX of floats and L2_NORMALIZATION of floats or int8 over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, requantize, saturate
from tinymaix.ops.float_functions import LOG_F32, SQRT_F32
from tinymaix.ops.float_math import EXP_F32
from tinymaix.ops.inverse_root import INVERSE_ROOT, inverse_root
from tinymaix.ops.lookup import fixed_output_problems
from tinymaix.ops.move import input_shape

SMALLEST_NORM = 1e-6
LONGEST_ROW = 1 << 15
"""Squares of int8 that sum up in 32 bits."""


class _Rows(Operator):
    """Each row along the last axis is computed by itself."""

    types: ClassVar[tuple[str, ...]] = ("float32",)
    row_kernel: ClassVar[Kernel]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if not shape or not shape[-1]:
            raise ModelError(f"the input of {self.kind} has shape {list(shape)}; it needs rows")
        return [shape]

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit(self, node: Node, code: LayerCode) -> None:
        depth = node.output.shape[-1]
        rows = node.output.elements // depth
        code.call(self.row_kernel, x=code.input(0), y=code.output(), rows=rows, depth=depth)


LOG_SOFTMAX_F32 = Kernel(
    "log_softmax_f32",
    """\
/* x - max - log(sum(exp(x - max))) of each row, float */
static void log_softmax_f32(const float *x, float *y, int rows, int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        float max = x[0], sum = 0.0f;
        for (int c = 1; c < depth; c++)
            if (x[c] > max)
                max = x[c];
        for (int c = 0; c < depth; c++)
            sum += exp_f32(x[c] - max);
        float log = log_f32(sum);
        for (int c = 0; c < depth; c++)
            y[c] = x[c] - max - log;
    }
}
""",
    (EXP_F32, LOG_F32),
)

L2_NORMALIZATION_F32 = Kernel(
    "l2_normalization_f32",
    """\
/* Each row divided by its length, float */
static void l2_normalization_f32(const float *x, float *y, int rows, int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        float sum = 0.0f;
        for (int c = 0; c < depth; c++)
            sum += x[c] * x[c];
        float norm = sqrt_f32(sum);
        norm = norm < 1e-6f ? 1e-6f : norm;
        for (int c = 0; c < depth; c++)
            y[c] = x[c] / norm;
    }
}
""",
    (SQRT_F32,),
)


@dataclass(frozen=True)
class LogSoftmax(_Rows):
    kind: ClassVar[str] = "LOG_SOFTMAX"
    tflite: ClassVar[tuple[int, int]] = (50, 36)
    row_kernel: ClassVar[Kernel] = LOG_SOFTMAX_F32

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        below = array(inputs[0]) - array(inputs[0]).max(axis=-1, keepdims=True)
        return [below - np.log(np.exp(below).sum(axis=-1, keepdims=True, dtype=np.float32))]


@dataclass(frozen=True)
class L2Normalization(_Rows):
    """Each row divided by its Euclidean length, which counts as 1e-6 where it is less. int8 gives scale 1/128."""

    kind: ClassVar[str] = "L2_NORMALIZATION"
    tflite: ClassVar[tuple[int, int]] = (11, 12)
    row_kernel: ClassVar[Kernel] = L2_NORMALIZATION_F32
    types: ClassVar[tuple[str, ...]] = ("int8", "float32")

    @classmethod
    def from_tflite(
        cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> L2Normalization:
        if fused_activation(options.i8(0)) != "none":
            raise ModelError("a fused activation is not supported; make it a node of its own")
        return cls()

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i8", 0)}, list(node.inputs)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        if x.dtype == np.int8:
            return [self._int8(x.astype(np.int64) - node.input(0).q.z)]
        norm = np.sqrt(np.square(x).sum(axis=-1, keepdims=True, dtype=np.float32))
        return [x / np.maximum(norm, np.float32(SMALLEST_NORM))]

    def _int8(self, x: Array) -> Array:
        rows = x.reshape(-1, x.shape[-1])
        scales = [inverse_root(int(total)) for total in np.square(rows).sum(axis=-1)]
        y = [requantize(row, multiplier, shift + 7) for row, (multiplier, shift) in zip(rows, scales, strict=True)]
        return saturate(np.stack(y), np.dtype(np.int8)).reshape(x.shape)

    def problems(self, node: Node) -> list[str]:
        found = super().problems(node) or fixed_output_problems(node, 1 / 128, 0)
        if not found and node.output.dtype == np.int8 and node.output.shape[-1] > LONGEST_ROW:
            return [f"rows of {node.output.shape[-1]} values; int8 L2_NORMALIZATION takes up to {LONGEST_ROW}"]
        return found

    def emit(self, node: Node, code: LayerCode) -> None:
        if node.output.dtype == np.float32:
            super().emit(node, code)
            return
        depth = node.output.shape[-1]
        code.call(
            L2_NORMALIZATION_S8,
            x=code.input(0),
            y=code.output(),
            rows=node.output.elements // depth,
            depth=depth,
            zero_x=node.input(0).q.z,
        )


L2_NORMALIZATION_S8 = Kernel(
    "l2_normalization_s8",
    """\
/* Each row divided by its length, int8, to scale 1/128 */
static void l2_normalization_s8(const int8_t *x, int8_t *y, int rows, int depth, int32_t zero_x)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        int32_t sum = 0;
        int shift;
        for (int c = 0; c < depth; c++)
            sum += (x[c] - zero_x) * (x[c] - zero_x);
        int32_t multiplier = inverse_root(sum, &shift);
        for (int c = 0; c < depth; c++)
            y[c] = (int8_t)clamp(requantize(x[c] - zero_x, multiplier, shift + 7), -128, 127);
    }
}
""",
    (INVERSE_ROOT, REQUANTIZE, CLAMP),
)
