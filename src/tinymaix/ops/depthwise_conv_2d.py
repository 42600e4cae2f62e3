"""DEPTHWISE_CONV_2D: weights (1, kernel_h, kernel_w, out_c), int8 per tensor or per output channel, or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.accumulate import accumulator_constants, accumulator_problems, finish, inputs_with_bias
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.conv_2d import fused_activation, window_shapes
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import ACTIVATIONS, CLAMP, CLAMP_F32, REQUANTIZE
from tinymaix.ops.int4 import emit_convolution, has_int4_weights, unpacked_bytes
from tinymaix.ops.tmdl import LayerToWrite, ModelType, Operand, StoredLayer
from tinymaix.ops.tmdl_weights import read_window, window_body, window_problems
from tinymaix.ops.wide import DEPTHWISE_CONV_2D_S16
from tinymaix.ops.window import FIRST_TAP, LAST_TAP, Padding, Pair, Window, padding_code, padding_of

TMDL_AXES = (3, 0, 1, 2)


@dataclass(frozen=True)
class DepthwiseConv2D(Operator):
    """Inputs: x NHWC, weights, optional bias (out_c). Output channel c reads input channel c // (out_c / in_c)."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: str = "none"

    kind: ClassVar[str] = "DEPTHWISE_CONV_2D"
    tflite: ClassVar[tuple[int, int]] = (4, 2)
    tmdl = (5, "depthwise conv2d")
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tflite(
        cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> DepthwiseConv2D:
        x, weights = window_shapes(inputs)
        stride = options.i32(2), options.i32(1)
        dilation = options.i32(6, 1), options.i32(5, 1)
        padding = padding_of(options.i8(0), x, (weights[1], weights[2]), stride, dilation)
        return cls(stride, dilation, padding, fused_activation(options.i8(4)))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {
            0: ("i8", padding_code(self.window(node), node.input(0).shape)),
            1: ("i32", self.stride[1]),
            2: ("i32", self.stride[0]),
            3: ("i32", node.input(1).shape[3] // node.input(0).shape[3]),
            4: ("i8", ACTIVATIONS.index(self.activation)),
            5: ("i32", self.dilation[1]),
            6: ("i32", self.dilation[0]),
        }, inputs_with_bias(node)

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        window, activation, constants = read_window(layer, x, y, TMDL_AXES, depthwise=True)
        op = cls(window.stride, window.dilation, window.padding, activation)
        return Node(op, [x, *constants], [y], layer.name)

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        return window_problems(node, model, self.window(node), TMDL_AXES)

    def to_tmdl(self, layer: LayerToWrite) -> bytes:
        multiplier = layer.node.output.shape[3] // layer.node.input(0).shape[3]
        return window_body(layer, self.window(layer.node), self.activation, TMDL_AXES, multiplier)

    def window(self, node: Node) -> Window:
        return self._window(node.input(1).shape)

    def _window(self, weights: Shape) -> Window:
        return Window((weights[1], weights[2]), self.stride, self.dilation, self.padding)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, weights = window_shapes(inputs)
        if weights[0] != 1 or x[3] < 1 or weights[3] < 1 or weights[3] % x[3]:
            raise ModelError(
                f"depthwise weights {list(weights)} do not fit {x[3]} input channels; "
                "they must be (1, height, width, a multiple of the input channels)"
            )
        return [(x[0], *self._window(weights).output(x[1], x[2]), weights[3])]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or accumulator_problems(node, channel_axis=3)

    def macs(self, node: Node) -> int:
        _, kernel_h, kernel_w, _ = node.input(1).shape
        return node.output.elements * kernel_h * kernel_w

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, weights, bias = array(inputs[0]), array(inputs[1]), inputs[2] if len(inputs) > 2 else None
        _, kernel_h, kernel_w, out_c = weights.shape
        in_c = x.shape[3]
        integer = x.dtype != np.float32
        zero = node.input(0).q.z if integer else 0
        windows = self.window(node).views(x, zero)
        sums = np.dtype(np.int64 if integer else np.float32)
        taps = weights.astype(sums).reshape(kernel_h, kernel_w, in_c, out_c // in_c)
        total = np.zeros((*windows.shape[:4], out_c // in_c), sums)
        for ky, kx in np.ndindex(kernel_h, kernel_w):
            total += (windows[..., ky, kx, None].astype(sums) - zero) * taps[ky, kx]
        return [finish(node, total.reshape(*windows.shape[:3], out_c), bias, self.activation)]

    def scratch(self, node: Node) -> int:
        return unpacked_bytes(node, 3)

    def emit(self, node: Node, code: LayerCode) -> None:
        (n, in_h, in_w, in_c), (_, kernel_h, kernel_w, out_c) = node.input(0).shape, node.input(1).shape
        _, out_h, out_w, _ = node.output.shape
        geometry = {
            "batches": n, "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w,
            "kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": self.stride[0], "stride_w": self.stride[1],
            "dilation_h": self.dilation[0], "dilation_w": self.dilation[1],
            "pad_top": self.padding[0], "pad_left": self.padding[2],
        }  # fmt: skip
        depth_multiplier = out_c // in_c
        if has_int4_weights(node):
            groups = {"out_c": out_c, "group_c": 1, "group_out_c": depth_multiplier}
            emit_convolution(node, code, self.activation, 3, {**geometry, **groups})
            return
        constants = accumulator_constants(node, code, self.activation, sum_axes=(0, 1, 2))
        kernel = KERNELS[node.output.dtype.name]
        code.call(
            kernel, x=code.input(0), y=code.output(), **constants, **geometry, depth_multiplier=depth_multiplier
        )  # fmt: skip


DEPTHWISE_CONV_2D_S8 = Kernel(
    "depthwise_conv_2d_s8",
    """\
/* Depthwise convolution, int8 NHWC. Weights [kernel_h][kernel_w][out_c]. The bias already holds -zero_x * sum(weights),
 * so taps inside the image multiply raw values and taps in the padding multiply zero_x. */
static void depthwise_conv_2d_s8(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                                 const int32_t *multiplier, const int8_t *shift, int channel_step,
                                 int32_t zero_x, int32_t zero_y, int32_t low, int32_t high,
                                 int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int depth_multiplier,
                                 int kernel_h, int kernel_w, int stride_h, int stride_w,
                                 int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int out_c = in_c * depth_multiplier, across = dilation_w * in_c, down = dilation_h * in_w * in_c;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++) {
                int top = oy * stride_h - pad_top, left = ox * stride_w - pad_left;
                int first_y = first_tap(top, dilation_h), last_y = last_tap(top, dilation_h, kernel_h, in_h);
                int first_x = first_tap(left, dilation_w), last_x = last_tap(left, dilation_w, kernel_w, in_w);
                int whole = first_y == 0 && first_x == 0 && last_y == kernel_h && last_x == kernel_w;
                for (int oc = 0, channel = 0, of_channel = 0; oc < out_c; oc++) {
                    const int8_t *w = weights + oc;
                    int32_t sum = FLASH_I32(bias + oc);
                    int at = (top * in_w + left) * in_c + channel;
                    for (int ky = 0; ky < kernel_h; ky++, at += down)
                        for (int kx = 0, tap = at; kx < kernel_w; kx++, tap += across, w += out_c)
                            if (whole || (ky >= first_y && ky < last_y && kx >= first_x && kx < last_x))
                                sum += x[tap] * FLASH_I8(w);
                            else
                                sum += zero_x * FLASH_I8(w);
                    int q = oc * channel_step;
                    sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
                    *y++ = (int8_t)clamp(sum, low, high);
                    if (++of_channel == depth_multiplier) {
                        of_channel = 0;
                        channel++;
                    }
                }
            }
}
""",
    (FIRST_TAP, LAST_TAP, REQUANTIZE, CLAMP),
)

DEPTHWISE_CONV_2D_F32 = Kernel(
    "depthwise_conv_2d_f32",
    """\
/* Depthwise convolution, float NHWC. Weights [kernel_h][kernel_w][out_c]. */
static void depthwise_conv_2d_f32(const float *x, float *y, const float *weights, const float *bias,
                                  float low, float high,
                                  int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int depth_multiplier,
                                  int kernel_h, int kernel_w, int stride_h, int stride_w,
                                  int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int out_c = in_c * depth_multiplier;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++)
                for (int oc = 0; oc < out_c; oc++) {
                    const float *channel = x + oc / depth_multiplier;
                    const float *w = weights + oc;
                    float sum = 0.0f;
                    for (int ky = 0; ky < kernel_h; ky++) {
                        int iy = oy * stride_h - pad_top + ky * dilation_h;
                        for (int kx = 0; kx < kernel_w; kx++, w += out_c) {
                            int ix = ox * stride_w - pad_left + kx * dilation_w;
                            if (iy >= 0 && iy < in_h && ix >= 0 && ix < in_w)
                                sum += channel[(iy * in_w + ix) * in_c] * FLASH_F32(w);
                        }
                    }
                    *y++ = clamp_f32(sum + FLASH_F32(bias + oc), low, high);
                }
}
""",
    (CLAMP_F32,),
)

KERNELS = {"int8": DEPTHWISE_CONV_2D_S8, "int16": DEPTHWISE_CONV_2D_S16, "float32": DEPTHWISE_CONV_2D_F32}
