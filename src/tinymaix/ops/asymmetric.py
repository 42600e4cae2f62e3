"""Convolutions and fully connected layers whose int8 weights have a zero point: what uint8 models become when read.

A .tflite of int8 activations has no such weights, so this operator has no spelling there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.accumulate import multipliers
from tinymaix.ops.base import Operator, array
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, INT32_MAX, REQUANTIZE, quantized_range
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.window import Window

Layer = Conv2D | DepthwiseConv2D | FullyConnected


@dataclass(frozen=True)
class Asymmetric(Operator):
    """``layer`` with int8 activations and int8 weights of one zero point."""

    layer: Layer

    kind: ClassVar[str] = "ASYMMETRIC_LAYER"
    types: ClassVar[tuple[str, ...]] = ("int8",)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return self.layer.infer(inputs)

    def problems(self, node: Node) -> list[str]:
        weights, bias = node.input(1), node.optional(2)
        if weights.quantization is None or weights.q.per_channel or weights.data is None or weights.dtype != np.int8:
            return [f"weights '{weights.name}' must be constant and have one scale and zero point"]
        if found := super().problems(node) or self.layer.problems(self._symmetric(node)):
            return found
        largest = 255 * np.abs(self._centered(node)).reshape(self._taps(node).shape[0], -1).sum(axis=1)
        if bias is not None and bias.data is not None:
            largest = largest + np.abs(bias.data.astype(np.int64))
        if largest.max(initial=0) > INT32_MAX:
            return [f"sums with '{weights.name}' can exceed 32 bits; quantize the model again"]
        return []

    def macs(self, node: Node) -> int:
        return self.layer.macs(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        weights = (array(inputs[1]).astype(np.int64) - node.input(1).q.z).astype(np.int16)
        return self.layer.reference(node, [inputs[0], weights, *inputs[2:]])

    def emit(self, node: Node, code: LayerCode) -> None:
        x, y, bias = node.input(0), node.output, node.optional(2)
        taps, window = self._taps(node), self._window(node)
        out_c, kernel_h, kernel_w, group_c = taps.shape
        if isinstance(self.layer, FullyConnected):
            n, in_h, in_w, in_c, out_h, out_w = x.elements // group_c, 1, 1, group_c, 1, 1
        else:
            (n, in_h, in_w, in_c), (_, out_h, out_w, _) = x.shape, y.shape
        (multiplier,), (shift,) = multipliers(node)
        low, high = quantized_range(self.layer.activation, y)
        code.call(
            ASYMMETRIC_S8,
            x=code.input(0),
            y=code.output(),
            weights=code.constant("weights", taps),
            bias=code.constant("bias", np.zeros(out_c) if bias is None else np.asarray(bias.data), "int32"),
            zero_x=x.q.z, zero_w=node.input(1).q.z, zero_y=y.q.z, multiplier=int(multiplier), shift=int(shift),
            low=low, high=high, batches=n, in_h=in_h, in_w=in_w, in_c=in_c, out_h=out_h, out_w=out_w, out_c=out_c,
            group_c=group_c, group_out_c=out_c * group_c // in_c, kernel_h=kernel_h, kernel_w=kernel_w,
            stride_h=window.stride[0], stride_w=window.stride[1], dilation_h=window.dilation[0],
            dilation_w=window.dilation[1], pad_top=window.padding[0], pad_left=window.padding[2],
        )  # fmt: skip

    def _symmetric(self, node: Node) -> Node:
        """The node as one of ``layer``, its weights without their zero point."""
        weights = replace(node.input(1), quantization=Quantization.of(node.input(1).q.scale))
        return replace(node, op=self.layer, inputs=[node.input(0), weights, *node.inputs[2:]])

    def _centered(self, node: Node) -> Array:
        return self._taps(node).astype(np.int64) - node.input(1).q.z

    def _taps(self, node: Node) -> Array:
        """Raw weights as (out_c, kernel_h, kernel_w, group_c)."""
        weights = np.asarray(node.input(1).data)
        if isinstance(self.layer, FullyConnected):
            return weights[:, None, None, :]
        return np.moveaxis(weights, 3, 0)[:, 0, ..., None] if isinstance(self.layer, DepthwiseConv2D) else weights

    def _window(self, node: Node) -> Window:
        if isinstance(self.layer, FullyConnected):
            return Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
        return self.layer.window(node)


def asymmetric(node: Node) -> Node:
    """The node with weights that have a zero point as one of this operator.

    Raises:
        ModelError: it is of another kind of layer.
    """
    if not isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected):
        raise ModelError(f"{node.op.kind} with weights that have a zero point is not supported")
    return replace(node, op=Asymmetric(node.op))


ASYMMETRIC_S8 = Kernel(
    "asymmetric_s8",
    """\
/* Convolution, int8 NHWC, of weights [out_c][kernel_h][kernel_w][group_c] with a zero point. */
static void asymmetric_s8(const int8_t *x, int8_t *y, const int8_t *weights, const int32_t *bias,
                          int32_t zero_x, int32_t zero_w, int32_t zero_y, int32_t multiplier, int shift,
                          int32_t low, int32_t high,
                          int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                          int group_c, int group_out_c, int kernel_h, int kernel_w, int stride_h, int stride_w,
                          int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++) {
                const int8_t *w = weights;
                for (int oc = 0; oc < out_c; oc++) {
                    const int8_t *group = x + oc / group_out_c * group_c;
                    int32_t sum = FLASH_I32(bias + oc);
                    for (int ky = 0; ky < kernel_h; ky++) {
                        int iy = oy * stride_h - pad_top + ky * dilation_h;
                        for (int kx = 0; kx < kernel_w; kx++, w += group_c) {
                            int ix = ox * stride_w - pad_left + kx * dilation_w;
                            if (iy < 0 || iy >= in_h || ix < 0 || ix >= in_w)
                                continue;
                            const int8_t *pixel = group + (iy * in_w + ix) * in_c;
                            for (int c = 0; c < group_c; c++)
                                sum += (pixel[c] - zero_x) * (FLASH_I8(w + c) - zero_w);
                        }
                    }
                    *y++ = (int8_t)clamp(requantize(sum, multiplier, shift) + zero_y, low, high);
                }
            }
}
""",
    (REQUANTIZE, CLAMP),
)
