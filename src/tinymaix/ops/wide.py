"""int16 activations with int8 weights (16x8): 64-bit sums and their requantization, as TFLM's reference kernels do it.

The multiplier is rounded to 16 bits and the result once. Activations have no zero point. No product is above 2**22, so
256 of them make a sum of 32 bits.
"""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import CLAMP


def requantize_wide(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """MultiplyByQuantizedMultiplier of TFLM for int64 values below 2**47; multiplier and shift broadcast."""
    reduced = np.minimum((np.asarray(multiplier, np.int64) + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - np.asarray(shift, np.int64)
    return np.asarray((np.asarray(x, np.int64) * reduced + (np.int64(1) << (total - 1))) >> total)


def wide_problems(node: Node) -> list[str]:
    """A sentence for each int16 tensor with a zero point, and for a bias that is not int64."""
    problems = [
        f"'{t.name}' is int16 with zero point {t.q.z}; 16x8 quantization has none"
        for t in (*node.activations, *node.outputs)
        if t.dtype == np.int16 and t.quantization is not None and t.q.z
    ]
    bias = node.optional(2)
    if bias is None or bias.dtype != np.int64:
        problems.append("a layer of int16 activations needs an int64 bias; convert the model with 16x8 quantization")
    elif bias.data is not None and np.abs(bias.data).max(initial=0) >= 1 << 46:
        problems.append(f"bias '{bias.name}' is larger than 46 bits; quantize the model again")
    return problems


REQUANTIZE_WIDE = Kernel(
    "requantize_wide",
    """\
/* x * multiplier * 2^(shift - 31) with a multiplier of 16 bits, rounded once */
static inline int32_t requantize_wide(int64_t x, int32_t multiplier, int shift)
{
    int32_t reduced = multiplier < INT32_C(0x7FFF0000) ? (multiplier + INT32_C(0x8000)) >> 16 : 0x7FFF;
    return (int32_t)((x * reduced + (INT64_C(1) << (14 - shift))) >> (15 - shift));
}
""",
)

DOT_S16 = Kernel(
    "dot_s16",
    """\
/* x . w, of up to 256 products */
static inline int32_t dot_s16(const int16_t *x, const int8_t *w, int count)
{
    int32_t sum = 0;
    for (; count >= 4; count -= 4, x += 4, w += 4) {
        sum += (int32_t)x[0] * FLASH_I8(w);
        sum += (int32_t)x[1] * FLASH_I8(w + 1);
        sum += (int32_t)x[2] * FLASH_I8(w + 2);
        sum += (int32_t)x[3] * FLASH_I8(w + 3);
    }
    for (; count > 0; count--)
        sum += (int32_t)*x++ * FLASH_I8(w++);
    return sum;
}
""",
)

ADD_DOT_S16 = Kernel(
    "add_dot_s16",
    """\
/* sum + x . w */
static inline int64_t add_dot_s16(int64_t sum, const int16_t *x, const int8_t *w, int count)
{
    for (; count > 256; count -= 256, x += 256, w += 256)
        sum += dot_s16(x, w, 256);
    return sum + dot_s16(x, w, count);
}
""",
    (DOT_S16,),
)

CONV_2D_S16 = Kernel(
    "conv_2d_s16",
    """\
/* Convolution, int16 NHWC. Weights [out_c][kernel_h][kernel_w][group_c]. */
static void conv_2d_s16(const int16_t *x, int16_t *y, const int8_t *weights, const int64_t *bias,
                        const int32_t *multiplier, const int8_t *shift, int channel_step, int32_t low, int32_t high,
                        int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                        int group_c, int group_out_c, int kernel_h, int kernel_w, int stride_h, int stride_w,
                        int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++) {
                const int8_t *w = weights;
                for (int oc = 0; oc < out_c; oc++) {
                    const int16_t *group = x + oc / group_out_c * group_c;
                    int64_t sum = FLASH_I64(bias + oc);
                    for (int ky = 0; ky < kernel_h; ky++) {
                        int iy = oy * stride_h - pad_top + ky * dilation_h;
                        for (int kx = 0; kx < kernel_w; kx++, w += group_c) {
                            int ix = ox * stride_w - pad_left + kx * dilation_w;
                            if (iy < 0 || iy >= in_h || ix < 0 || ix >= in_w)
                                continue;
                            sum = add_dot_s16(sum, group + (iy * in_w + ix) * in_c, w, group_c);
                        }
                    }
                    int q = oc * channel_step;
                    int32_t value = requantize_wide(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q));
                    *y++ = (int16_t)clamp(value, low, high);
                }
            }
}
""",
    (REQUANTIZE_WIDE, CLAMP, ADD_DOT_S16),
)

DEPTHWISE_CONV_2D_S16 = Kernel(
    "depthwise_conv_2d_s16",
    """\
/* Depthwise convolution, int16 NHWC. Weights [kernel_h][kernel_w][out_c]. */
static void depthwise_conv_2d_s16(const int16_t *x, int16_t *y, const int8_t *weights, const int64_t *bias,
                                  const int32_t *multiplier, const int8_t *shift, int channel_step,
                                  int32_t low, int32_t high,
                                  int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int depth_multiplier,
                                  int kernel_h, int kernel_w, int stride_h, int stride_w,
                                  int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int out_c = in_c * depth_multiplier;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy++)
            for (int ox = 0; ox < out_w; ox++)
                for (int oc = 0; oc < out_c; oc++) {
                    const int16_t *channel = x + oc / depth_multiplier;
                    const int8_t *w = weights + oc;
                    int64_t sum = FLASH_I64(bias + oc);
                    for (int ky = 0; ky < kernel_h; ky++) {
                        int iy = oy * stride_h - pad_top + ky * dilation_h;
                        int32_t part = 0;
                        for (int kx = 0; kx < kernel_w; kx++, w += out_c) {
                            int ix = ox * stride_w - pad_left + kx * dilation_w;
                            if (iy >= 0 && iy < in_h && ix >= 0 && ix < in_w)
                                part += (int32_t)channel[(iy * in_w + ix) * in_c] * FLASH_I8(w);
                            if (kx % 256 == 255)
                                sum += part, part = 0;
                        }
                        sum += part;
                    }
                    int q = oc * channel_step;
                    int32_t value = requantize_wide(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q));
                    *y++ = (int16_t)clamp(value, low, high);
                }
}
""",
    (REQUANTIZE_WIDE, CLAMP),
)

FULLY_CONNECTED_S16 = Kernel(
    "fully_connected_s16",
    """\
/* Fully connected, int16. Weights [out_c][in_c]. */
static void fully_connected_s16(const int16_t *x, int16_t *y, const int8_t *weights, const int64_t *bias,
                                const int32_t *multiplier, const int8_t *shift, int channel_step,
                                int32_t low, int32_t high, int rows, int in_c, int out_c)
{
    for (int row = 0; row < rows; row++, x += in_c) {
        const int8_t *w = weights;
        for (int oc = 0; oc < out_c; oc++) {
            int64_t sum = add_dot_s16(FLASH_I64(bias + oc), x, w, in_c);
            w += in_c;
            int q = oc * channel_step;
            sum = requantize_wide(sum, FLASH_I32(multiplier + q), FLASH_I8(shift + q));
            *y++ = (int16_t)clamp((int32_t)sum, low, high);
        }
    }
}
""",
    (REQUANTIZE_WIDE, CLAMP, ADD_DOT_S16),
)
