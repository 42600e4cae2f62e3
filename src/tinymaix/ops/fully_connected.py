"""FULLY_CONNECTED: weights (out_c, in_c), int8 per tensor or per output channel, or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.accumulate import DOT_S8, accumulator_constants, accumulator_problems, finish
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import ACTIVATIONS, CLAMP, CLAMP_F32, REQUANTIZE
from tinymaix.ops.int4 import FULLY_CONNECTED_S4, has_int4_weights, int4_constants
from tinymaix.ops.tmdl import LayerToWrite, ModelType, Operand, StoredLayer, Struct, activation_problems
from tinymaix.ops.tmdl_weights import read_weights, weight_blocks, weight_problems
from tinymaix.ops.wide import FULLY_CONNECTED_S16

TMDL_AXES = (0, 1)
TMDL_BODY = Struct("III4x")
"""Offsets in the layer of weight scales, weights and biases."""


@dataclass(frozen=True)
class FullyConnected(Operator):
    """Inputs: x whose elements are rows of in_c, weights, optional bias (out_c).

    The output is (rows, out_c), or x's shape with out_c as the last dimension where ``keep_num_dims``.
    """

    activation: str = "none"
    keep_num_dims: bool = False

    kind: ClassVar[str] = "FULLY_CONNECTED"
    tflite: ClassVar[tuple[int, int]] = (9, 8)
    tmdl = (2, "fully connected")
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tflite(
        cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> FullyConnected:
        if options.i8(1) != 0:
            raise ModelError("shuffled weights (weights_format 1) are not supported; convert the model without them")
        return cls(fused_activation(options.i8(0)), options.flag(2))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        fields: OptionFields = {0: ("i8", ACTIVATIONS.index(self.activation)), 2: ("flag", self.keep_num_dims)}
        return fields, list(node.present)

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        scales_at, weights_at, bias_at = layer.body(TMDL_BODY)
        constants = read_weights(layer, x, (scales_at, weights_at, bias_at), (y.shape[-1], x.elements), TMDL_AXES)
        return Node(cls(keep_num_dims=len(y.shape) > 2), [x, *constants], [y], layer.name)

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        problems = weight_problems(node, model, TMDL_AXES) + activation_problems(node, self.activation)
        rows = node.input(0).elements // node.input(1).shape[1]
        if rows != 1:
            problems.append(f"it takes {rows} rows at once; a .tmdl takes one")
        return problems

    def to_tmdl(self, layer: LayerToWrite) -> bytes:
        scales = layer.node.input(1).q.scale if layer.model.is_integer else None
        offsets, blocks = weight_blocks(layer, TMDL_BODY, scales, TMDL_AXES)
        return layer.body(TMDL_BODY, offsets) + blocks

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if len(inputs) < 2 or inputs[0] is None or inputs[1] is None:
            raise ModelError("an input or the weights are missing")
        x, weights = inputs[0], inputs[1]
        if len(weights.shape) != 2 or min(weights.shape) < 1:
            raise ModelError(f"weights '{weights.name}' must have two dimensions, not {list(weights.shape)}")
        out_c, in_c = weights.shape
        if x.elements % in_c or (self.keep_num_dims and x.shape[-1:] != (in_c,)):
            raise ModelError(
                f"'{x.name}' {list(x.shape)} does not hold rows of {in_c}, which weights '{weights.name}' take"
            )
        return [(*x.shape[:-1], out_c) if self.keep_num_dims else (x.elements // in_c, out_c)]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or accumulator_problems(node, channel_axis=0)

    def macs(self, node: Node) -> int:
        return node.input(0).elements * node.input(1).shape[0]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, weights, bias = array(inputs[0]), array(inputs[1]), inputs[2] if len(inputs) > 2 else None
        rows = x.reshape(-1, weights.shape[1])
        if x.dtype != np.float32:
            # Sums of integer products are exact in float64, whose matrix product is fast.
            product = (rows.astype(np.float64) - node.input(0).q.z) @ weights.T.astype(np.float64)
            total = product.astype(np.int64)
        else:
            total = np.zeros((rows.shape[0], weights.shape[0]), np.float32)
            for c in range(weights.shape[1]):
                total += rows[:, c, None] * weights[:, c]
        return [finish(node, total, bias, self.activation).reshape(node.output.shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        out_c, in_c = node.input(1).shape
        packed = has_int4_weights(node)
        if packed:
            constants = int4_constants(node, code, self.activation, channel_axis=0)
        else:
            constants = accumulator_constants(node, code, self.activation, sum_axes=(1,))
        constants.pop("zero_x", None)  # there is no padding: the bias holds all of it
        code.call(
            FULLY_CONNECTED_S4 if packed else KERNELS[node.output.dtype.name],
            x=code.input(0),
            y=code.output(),
            **constants,
            rows=node.input(0).elements // in_c,
            in_c=in_c,
            out_c=out_c,
        )


FULLY_CONNECTED_S8 = Kernel(
    "fully_connected_s8",
    """\
/* Fully connected, int8. Weights [out_c][in_c]. The bias already holds -zero_x * sum(weights). */
static void fully_connected_s8(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                               const int32_t *multiplier, const int8_t *shift, int channel_step,
                               int32_t zero_y, int32_t low, int32_t high, int rows, int in_c, int out_c)
{
    for (int row = 0; row < rows; row++, x += in_c) {
        const int8_t *w = weights;
        for (int oc = 0; oc < out_c; oc++, w += in_c) {
            int32_t sum = FLASH_I32(bias + oc);
            sum = dot_s8(sum, x, w, in_c);
            int q = oc * channel_step;
            sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
            *y++ = (int8_t)clamp(sum, low, high);
        }
    }
}
""",
    (DOT_S8, REQUANTIZE, CLAMP),
)

FULLY_CONNECTED_F32 = Kernel(
    "fully_connected_f32",
    """\
/* Fully connected, float. Weights [out_c][in_c]. */
static void fully_connected_f32(const float *x, float *y, const float *weights, const float *bias,
                                float low, float high, int rows, int in_c, int out_c)
{
    for (int row = 0; row < rows; row++, x += in_c) {
        const float *w = weights;
        for (int oc = 0; oc < out_c; oc++, w += in_c) {
            float sum = 0.0f;
            for (int c = 0; c < in_c; c++)
                sum += x[c] * FLASH_F32(w + c);
            *y++ = clamp_f32(sum + FLASH_F32(bias + oc), low, high);
        }
    }
}
""",
    (CLAMP_F32,),
)

KERNELS = {"int8": FULLY_CONNECTED_S8, "int16": FULLY_CONNECTED_S16, "float32": FULLY_CONNECTED_F32}
