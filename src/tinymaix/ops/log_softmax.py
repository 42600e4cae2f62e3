"""LOG_SOFTMAX and L2_NORMALIZATION of floats over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.float_functions import LOG_F32, SQRT_F32
from tinymaix.ops.float_math import EXP_F32
from tinymaix.ops.move import input_shape

SMALLEST_NORM = 1e-6


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
    """Each row divided by its Euclidean length, which counts as 1e-6 where it is less."""

    kind: ClassVar[str] = "L2_NORMALIZATION"
    tflite: ClassVar[tuple[int, int]] = (11, 12)
    row_kernel: ClassVar[Kernel] = L2_NORMALIZATION_F32

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
        norm = np.sqrt(np.square(x).sum(axis=-1, keepdims=True, dtype=np.float32))
        return [x / np.maximum(norm, np.float32(SMALLEST_NORM))]
