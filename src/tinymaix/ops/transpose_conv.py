"""TRANSPOSE_CONV: each input pixel spreads over a window of the output, weights (out_c, kernel_h, kernel_w, in_c).

Computed from the output: an output pixel sums the input pixels whose windows reach it, which needs no working memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.accumulate import accumulator_constants, accumulator_problems, finish, inputs_with_bias
from tinymaix.ops.base import Operator, OptionFields, Options, array, constant_ints, int_tensor
from tinymaix.ops.conv_2d import fused_activation, window_shapes
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.fixed_point import ACTIVATIONS, CLAMP, CLAMP_F32, REQUANTIZE
from tinymaix.ops.wide import REQUANTIZE_WIDE
from tinymaix.ops.window import Padding, Pair, same_padding


@dataclass(frozen=True)
class TransposeConv(Operator):
    """Inputs: x NHWC, weights, optional bias (out_c).

    ``size`` is the output's (height, width), ``padding`` what the convolution that it transposes adds to such an image.
    """

    size: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: str = "none"

    kind: ClassVar[str] = "TRANSPOSE_CONV"
    tflite: ClassVar[tuple[int, int]] = (67, 49)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> TransposeConv:
        # Where the shape comes from outside, the one that the file states is the only one that fits its tensors.
        outside = bool(inputs) and inputs[0] is not None and inputs[0].data is None
        shape = outputs[0].shape if outside else constant_ints(inputs, 0, "the output shape")
        _, weights = window_shapes(_in_order(inputs))
        if len(shape) != 4 or min(shape) < 1:
            raise ModelError(f"the output shape {list(shape)} must be four sizes")
        size, stride = (shape[1], shape[2]), (options.i32(2), options.i32(1))
        same = options.i8(0) == 0
        padding = same_padding(*size, (weights[1], weights[2]), stride) if same else (0, 0, 0, 0)
        return cls(size, stride, padding, fused_activation(options.i8(3)))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return _in_order(inputs)

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        x, weights, bias = inputs_with_bias(node)
        assert weights is not None
        kernel = weights.shape[1], weights.shape[2]
        if any(self.padding) and self.padding != same_padding(*self.size, kernel, self.stride):
            raise ModelError(f"padding {self.padding} is neither SAME nor VALID, which is all that a .tflite can say")
        return {
            0: ("i8", 0 if any(self.padding) else 1),
            1: ("i32", self.stride[1]),
            2: ("i32", self.stride[0]),
            3: ("i8", ACTIVATIONS.index(self.activation)),
        }, [int_tensor(f"{node.output.name}_shape", node.output.shape), weights, x, bias]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, weights = window_shapes(inputs)
        if min(*self.stride, *self.size, *weights) < 1 or min(self.padding) < 0 or weights[3] != x[3]:
            raise ModelError(f"stride {self.stride}, weights {list(weights)} and input {list(x)} do not fit each other")
        for axis, (pads, kernel) in enumerate(((self.padding[:2], weights[1]), (self.padding[2:], weights[2]))):
            # The forward convolution over the output must give the input's size.
            if (self.size[axis] + sum(pads) - kernel) // self.stride[axis] + 1 != x[1 + axis]:
                raise ModelError(f"an input {list(x)} is not what a convolution makes of an image of {self.size}")
        return [(x[0], *self.size, weights[0])]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or accumulator_problems(node, channel_axis=0)

    def macs(self, node: Node) -> int:
        return node.input(0).elements * int(np.prod(node.input(1).shape[:3]))

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, weights, bias = array(inputs[0]), array(inputs[1]), inputs[2] if len(inputs) > 2 else None
        is_float = x.dtype == np.float32
        sums = np.dtype(np.float32 if is_float else np.float64)  # exact for products of integers
        real = x.astype(sums) - (0 if is_float else node.input(0).q.z)
        (n, in_h, in_w, _), (out_c, kernel_h, kernel_w, _) = x.shape, weights.shape
        (stride_h, stride_w), (top, bottom, left, right) = self.stride, self.padding
        total = np.zeros((n, self.size[0] + top + bottom, self.size[1] + left + right, out_c), sums)
        for ky, kx in np.ndindex(kernel_h, kernel_w):
            spread = real @ weights[:, ky, kx].T.astype(sums)
            rows = slice(ky, ky + (in_h - 1) * stride_h + 1, stride_h)
            columns = slice(kx, kx + (in_w - 1) * stride_w + 1, stride_w)
            total[:, rows, columns] += spread
        cut = total[:, top : top + self.size[0], left : left + self.size[1]]
        return [finish(node, cut if is_float else cut.astype(np.int64), bias, self.activation)]

    def emit(self, node: Node, code: LayerCode) -> None:
        (n, in_h, in_w, in_c), (out_c, kernel_h, kernel_w, _) = node.input(0).shape, node.input(1).shape
        # How many taps reach a pixel differs, so the zero point cannot go into the bias.
        constants = accumulator_constants(node, code, self.activation, sum_axes=())
        code.call(
            KERNELS[node.output.dtype.name],
            x=code.input(0), y=code.output(), **constants, batches=n, in_h=in_h, in_w=in_w, in_c=in_c,
            out_h=self.size[0], out_w=self.size[1], out_c=out_c, kernel_h=kernel_h, kernel_w=kernel_w,
            stride_h=self.stride[0], stride_w=self.stride[1], pad_top=self.padding[0], pad_left=self.padding[2],
        )  # fmt: skip


def _in_order(inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """A .tflite's (output shape, weights, x, bias) as x, weights, bias."""
    if len(inputs) < 3:
        raise ModelError("it needs an output shape, weights and an input")
    return [inputs[2], inputs[1], *inputs[3:4]]


def _kernel(dtype: str, suffix: str, sum_type: str, parameters: str, load: str, product: str, finish: str) -> Kernel:
    name, kind = f"transpose_conv_{suffix}", C_TYPES[dtype]
    weight, bias = ("float", "float") if dtype == "float32" else ("int8_t", sum_type)
    needs = (CLAMP_F32,) if dtype == "float32" else (CLAMP, REQUANTIZE_WIDE if dtype == "int16" else REQUANTIZE)
    flash = {"float": "F32", "int8_t": "I8"}[weight]
    return Kernel(
        name,
        f"""\
/* Transposed convolution, {dtype} NHWC. Weights [out_c][kernel_h][kernel_w][in_c]. An output pixel sums the taps that
 * lead to input pixels. */
static void {name}(const {kind} *x, {kind} *y, const {weight} *weights, const {bias} *bias{parameters},
    int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int pad_top, int pad_left)
{{
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = pad_top; oy < out_h + pad_top; oy++)
            for (int ox = pad_left; ox < out_w + pad_left; ox++)
                for (int oc = 0; oc < out_c; oc++) {{
                    {sum_type} sum = {load}(bias + oc);
                    for (int ky = oy % stride_h; ky < kernel_h && ky <= oy; ky += stride_h)
                        for (int kx = ox % stride_w; kx < kernel_w && kx <= ox; kx += stride_w) {{
                            int iy = (oy - ky) / stride_h, ix = (ox - kx) / stride_w;
                            if (iy >= in_h || ix >= in_w)
                                continue;
                            const {kind} *pixel = x + (iy * in_w + ix) * in_c;
                            const {weight} *w = weights + ((oc * kernel_h + ky) * kernel_w + kx) * in_c;
                            for (int c = 0; c < in_c; c++)
                                sum += {product} * FLASH_{flash}(w + c);
                        }}
{finish}\
                }}
}}
""",
        needs,
    )


_SCALES = """, const int32_t *multiplier, const int8_t *shift,
    int channel_step, int32_t low, int32_t high"""

KERNELS = {
    "int8": _kernel(
        "int8",
        "s8",
        "int32_t",
        f"{_SCALES}, int32_t zero_x, int32_t zero_y",
        "FLASH_I32",
        "(pixel[c] - zero_x)",
        """\
                    int q = oc * channel_step;
                    sum = requantize(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q)) + zero_y;
                    *y++ = (int8_t)clamp(sum, low, high);
""",
    ),
    "int16": _kernel(
        "int16",
        "s16",
        "int64_t",
        _SCALES,
        "FLASH_I64",
        "(int32_t)pixel[c]",
        """\
                    int q = oc * channel_step;
                    int32_t value = requantize_wide(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q));
                    *y++ = (int16_t)clamp(value, low, high);
""",
    ),
    "float32": _kernel(
        "float32",
        "f32",
        "float",
        ", float low, float high",
        "FLASH_F32",
        "pixel[c]",
        """\
                    *y++ = clamp_f32(sum, low, high);
""",
    ),
}
