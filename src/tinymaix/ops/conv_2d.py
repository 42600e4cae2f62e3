"""CONV_2D: weights (out_c, kernel_h, kernel_w, in_c / groups), int8 per tensor or per output channel, or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.accumulate import (
    DOT_S8,
    SUM_S8,
    accumulator_constants,
    accumulator_problems,
    finish,
    inputs_with_bias,
)
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import ACTIVATIONS, CLAMP, CLAMP_F32, REQUANTIZE
from tinymaix.ops.int4 import emit_convolution, has_int4_weights, unpacked_bytes
from tinymaix.ops.tmdl import LayerToWrite, ModelType, Operand, StoredLayer
from tinymaix.ops.tmdl_weights import read_window, window_body, window_problems
from tinymaix.ops.wide import CONV_2D_S16
from tinymaix.ops.window import FIRST_TAP, LAST_TAP, Padding, Pair, Window, nhwc, padding_code, padding_of

TMDL_AXES = (0, 3, 1, 2)


@dataclass(frozen=True)
class Conv2D(Operator):
    """Inputs: x NHWC, weights, optional bias (out_c). Groups follow from the weights' input channels."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: str = "none"

    kind: ClassVar[str] = "CONV_2D"
    tflite: ClassVar[tuple[int, int]] = (3, 1)
    tmdl = (0, "conv2d")
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Conv2D:
        x, weights = window_shapes(inputs)
        stride = options.i32(2), options.i32(1)
        dilation = options.i32(5, 1), options.i32(4, 1)
        padding = padding_of(options.i8(0), x, (weights[1], weights[2]), stride, dilation)
        return cls(stride, dilation, padding, fused_activation(options.i8(3)))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        code = padding_code(self.window(node), node.input(0).shape)
        return {
            0: ("i8", code),
            1: ("i32", self.stride[1]),
            2: ("i32", self.stride[0]),
            3: ("i8", ACTIVATIONS.index(self.activation)),
            4: ("i32", self.dilation[1]),
            5: ("i32", self.dilation[0]),
        }, inputs_with_bias(node)

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        window, activation, constants = read_window(layer, x, y, TMDL_AXES, depthwise=False)
        op = cls(window.stride, window.dilation, window.padding, activation)
        return Node(op, [x, *constants], [y], layer.name)

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        problems = window_problems(node, model, self.window(node), TMDL_AXES)
        if node.input(1).shape[3] != node.input(0).shape[3]:
            problems.append("it is a grouped convolution, which a .tmdl does not have")
        return problems

    def to_tmdl(self, layer: LayerToWrite) -> bytes:
        return window_body(layer, self.window(layer.node), self.activation, TMDL_AXES)

    def window(self, node: Node) -> Window:
        weights = node.input(1).shape
        return Window((weights[1], weights[2]), self.stride, self.dilation, self.padding)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, weights = window_shapes(inputs)
        if weights[3] < 1 or x[3] % weights[3] or weights[0] % (x[3] // weights[3]):
            raise ModelError(f"weights {list(weights)} do not divide {x[3]} input channels into groups")
        window = Window((weights[1], weights[2]), self.stride, self.dilation, self.padding)
        return [(x[0], *window.output(x[1], x[2]), weights[0])]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or accumulator_problems(node, channel_axis=0)

    def macs(self, node: Node) -> int:
        return node.output.elements * int(np.prod(node.input(1).shape[1:]))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, weights, bias = array(inputs[0]), array(inputs[1]), inputs[2] if len(inputs) > 2 else None
        groups = x.shape[3] // weights.shape[3]
        fill = node.input(0).q.z if x.dtype == np.int8 else 0.0
        windows = self.window(node).views(x, fill)
        parts = [
            _correlate(part, w, fill)
            for part, w in zip(np.split(windows, groups, axis=3), np.split(weights, groups, axis=0), strict=True)
        ]
        return [finish(node, np.concatenate(parts, axis=-1), bias, self.activation)]

    def scratch(self, node: Node) -> int:
        return unpacked_bytes(node, 0)

    def emit(self, node: Node, code: LayerCode) -> None:
        (n, in_h, in_w, in_c), (out_c, kernel_h, kernel_w, group_c) = node.input(0).shape, node.input(1).shape
        _, out_h, out_w, _ = node.output.shape
        geometry = {
            "batches": n, "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w,
            "out_c": out_c, "group_c": group_c, "group_out_c": out_c * group_c // in_c,
            "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": self.stride[0], "stride_w": self.stride[1],
            "dilation_h": self.dilation[0], "dilation_w": self.dilation[1],
            "pad_top": self.padding[0], "pad_left": self.padding[2],
        }  # fmt: skip
        if has_int4_weights(node):
            emit_convolution(node, code, self.activation, 0, geometry)
            return
        constants = accumulator_constants(node, code, self.activation, sum_axes=(1, 2, 3))
        code.call(KERNELS[node.output.dtype.name], x=code.input(0), y=code.output(), **constants, **geometry)


def fused_activation(code: int) -> str:
    """The fused activation of TFLite's ActivationFunctionType code.

    Raises:
        ModelError: TFLM defines no integer meaning for it (tanh and sign bit).
    """
    if not 0 <= code < len(ACTIVATIONS):
        raise ModelError(f"fused activation {code} is not supported; supported are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[code]


def window_shapes(inputs: Sequence[Tensor | None]) -> tuple[Shape, Shape]:
    """Shapes of x and of the weights, both of four dimensions. Raises ModelError where they are not."""
    if len(inputs) < 2 or inputs[0] is None or inputs[1] is None:
        raise ModelError("an input or the weights are missing")
    return nhwc(inputs[0].shape, f"'{inputs[0].name}'"), nhwc(inputs[1].shape, f"weights '{inputs[1].name}'")


def _correlate(windows: Array, weights: Array, zero: int | float) -> Array:
    """Sum over each window of (x - zero) * w: exact in float64 for integers, in the kernel's order for float32."""
    out_c = weights.shape[0]
    if windows.dtype != np.float32:
        columns = windows.transpose(0, 1, 2, 4, 5, 3).astype(np.float64) - zero
        flat = columns.reshape(-1, int(np.prod(weights.shape[1:]))) @ weights.reshape(out_c, -1).T.astype(np.float64)
        return flat.astype(np.int64).reshape(*windows.shape[:3], out_c)
    total = np.zeros((*windows.shape[:3], out_c), np.float32)
    for ky, kx, c in np.ndindex(weights.shape[1:]):
        total += windows[..., c, ky, kx, None] * weights[:, ky, kx, c]
    return total


CONV_2D_S8 = Kernel(
    "conv_2d_s8",
    """\
/* Convolution, int8 NHWC. Weights [out_c][kernel_h][kernel_w][group_c]. The bias already holds -zero_x * sum(weights),
 * so taps inside the image multiply raw values and taps in the padding multiply zero_x. The taps of a kernel row that
 * lie inside are one dot product where they are neighbours in memory. */
static void conv_2d_s8(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                       const int32_t *multiplier, const int8_t *shift, int channel_step,
                       int32_t zero_x, int32_t zero_y, int32_t low, int32_t high,
                       int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                       int group_c, int group_out_c, int kernel_h, int kernel_w, int stride_h, int stride_w,
                       int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int together = dilation_w == 1 && group_c == in_c;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++) {
                int top = oy * stride_h - pad_top, left = ox * stride_w - pad_left;
                int first = first_tap(left, dilation_w), last = last_tap(left, dilation_w, kernel_w, in_w);
                int dots = together ? 1 : last - first;
                int length = together ? (last - first) * group_c : group_c;
                const int8_t *w = weights;
                for (int oc = 0, group = 0, of_group = 0; oc < out_c; oc++) {
                    int32_t sum = FLASH_I32(bias + oc);
                    for (int ky = 0, iy = top; ky < kernel_h; ky++, iy += dilation_h) {
                        if (iy < 0 || iy >= in_h || first >= last) {
                            sum += zero_x * sum_s8(w, kernel_w * group_c);
                            w += kernel_w * group_c;
                            continue;
                        }
                        if (first > 0)
                            sum += zero_x * sum_s8(w, first * group_c);
                        w += first * group_c;
                        int at = (iy * in_w + left + first * dilation_w) * in_c + group;
                        for (int i = 0; i < dots; i++, at += dilation_w * in_c, w += length)
                            sum = dot_s8(sum, x + at, w, length);
                        if (last < kernel_w)
                            sum += zero_x * sum_s8(w, (kernel_w - last) * group_c);
                        w += (kernel_w - last) * group_c;
                    }
                    int q = oc * channel_step;
                    sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
                    *y++ = (int8_t)clamp(sum, low, high);
                    if (++of_group == group_out_c) {
                        of_group = 0;
                        group += group_c;
                    }
                }
            }
}
""",
    (DOT_S8, SUM_S8, FIRST_TAP, LAST_TAP, REQUANTIZE, CLAMP),
)

CONV_2D_F32 = Kernel(
    "conv_2d_f32",
    """\
/* Convolution, float NHWC. Weights [out_c][kernel_h][kernel_w][group_c]. */
static void conv_2d_f32(const float *x, float *y, const float *weights, const float *bias, float low, float high,
                        int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                        int group_c, int group_out_c, int kernel_h, int kernel_w, int stride_h, int stride_w,
                        int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++) {
                const float *w = weights;
                for (int oc = 0; oc < out_c; oc++) {
                    const float *group = x + oc / group_out_c * group_c;
                    float sum = 0.0f;
                    for (int ky = 0; ky < kernel_h; ky++) {
                        int iy = oy * stride_h - pad_top + ky * dilation_h;
                        for (int kx = 0; kx < kernel_w; kx++, w += group_c) {
                            int ix = ox * stride_w - pad_left + kx * dilation_w;
                            if (iy < 0 || iy >= in_h || ix < 0 || ix >= in_w)
                                continue;
                            const float *pixel = group + (iy * in_w + ix) * in_c;
                            for (int c = 0; c < group_c; c++)
                                sum += pixel[c] * FLASH_F32(w + c);
                        }
                    }
                    *y++ = clamp_f32(sum + FLASH_F32(bias + oc), low, high);
                }
            }
}
""",
    (CLAMP_F32,),
)

KERNELS = {"int8": CONV_2D_S8, "int16": CONV_2D_S16, "float32": CONV_2D_F32}
