"""What convolutions and fully connected layers share: bias, requantization and clamp around a sum of products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.graph import Array, Node, Quantization, Tensor
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import (
    INT32_MAX,
    float_range,
    quantize_multipliers,
    quantized_range,
    requantize,
    saturate,
)
from tinymaix.ops.wide import requantize_wide, wide_problems

_BIAS_TYPES = {"int8": "int32", "int16": "int64", "float32": "float32"}


def accumulator_problems(node: Node, channel_axis: int) -> list[str]:
    """Sentences for weights and bias that the exact integer kernels cannot take."""
    x, weights, bias = node.input(0), node.input(1), node.optional(2)
    channels = weights.shape[channel_axis]
    problems = []
    if weights.data is None:
        problems.append(f"weights '{weights.name}' are computed at run time; only constant weights are supported")
    if bias is not None and (bias.data is None or bias.elements != channels):
        problems.append(f"bias '{bias.name}' must be a constant of {channels} values")
    if x.dtype == np.float32:
        if weights.dtype != np.float32:
            problems.append(
                f"hybrid quantization: '{x.name}' is float32 but weights '{weights.name}' are {weights.dtype}; "
                "convert the model with full integer quantization or without any"
            )
        if bias is not None and bias.dtype != np.float32:
            problems.append(f"bias '{bias.name}' is {bias.dtype}; a float model needs float32")
        return problems
    if weights.dtype != np.int8 or weights.quantization is None:
        problems.append(f"weights '{weights.name}' are {weights.dtype}; int8 with a scale is supported")
    elif weights.quantization.scale.size not in (1, channels):
        problems.append(
            f"weights '{weights.name}' have {weights.quantization.scale.size} scales for {channels} output channels"
        )
    elif weights.quantization.zero_point.any():
        problems.append(f"weights '{weights.name}' have a zero point that is not 0; use symmetric weights")
    if x.dtype == np.int16:
        return problems + wide_problems(node)
    if bias is not None and bias.dtype != np.int32:
        problems.append(f"bias '{bias.name}' is {bias.dtype}; int32 is supported")
    return problems or _overflow_problems(weights, bias, channel_axis)


def _overflow_problems(weights: Tensor, bias: Tensor | None, channel_axis: int) -> list[str]:
    """A sentence where a sum of int32 could overflow: |x - zero_x| and |x| + |zero_x| are at most 256."""
    assert weights.data is not None
    per_channel = np.moveaxis(weights.data, channel_axis, 0).reshape(weights.shape[channel_axis], -1)
    largest = 256 * np.abs(per_channel.astype(np.int64)).sum(axis=1)
    if bias is not None and bias.data is not None:
        largest += np.abs(bias.data.astype(np.int64)).reshape(-1)
    if largest.max(initial=0) <= INT32_MAX:
        return []
    name = weights.name if bias is None else bias.name
    return [f"sums with '{name}' can exceed 32 bits in channel {largest.argmax()}; quantize the model again"]


def inputs_with_bias(node: Node) -> list[Tensor | None]:
    """x, weights and bias for a .tflite: zeros where there is no bias, since LiteRT's convolutions insist on one."""
    x, weights, bias = node.input(0), node.input(1), node.optional(2)
    if bias is None:
        zeros = np.zeros(node.output.shape[-1], _BIAS_TYPES[x.dtype.name])
        scale = None if x.dtype == np.float32 else Quantization.of(np.float64(x.q.s) * weights.q.scale)
        bias = Tensor(f"{node.output.name}_bias", zeros.shape, zeros.dtype, scale, zeros)
    return [x, weights, bias]


def multipliers(node: Node) -> tuple[Array, Array]:
    """Q31 multipliers and shifts, one or one for each output channel: scale_x * scale_w / scale_y in double."""
    scales = node.input(1).q.scale.astype(np.float64)
    return quantize_multipliers(np.float64(node.input(0).q.s) * scales / np.float64(node.output.q.s))


def finish(node: Node, total: Array, bias: Array | None, activation: str) -> Array:
    """Sums of (x - zero_x) * w, int64 or float32 with channels last -> raw outputs."""
    output = node.output
    if output.dtype == np.float32:
        low, high = float_range(activation)
        biased: Array = total + (np.float32(0) if bias is None else bias)
        return np.clip(biased, np.float32(low), np.float32(high))
    if bias is not None:
        total = total + bias.astype(np.int64)
    scaled = (requantize_wide if output.dtype == np.int16 else requantize)(total, *multipliers(node))
    return saturate(scaled + output.q.z, output.dtype, *quantized_range(activation, output))


def float_clamp(activation: str) -> dict[str, Argument]:
    low, high = float_range(activation)
    return {"low": low, "high": high}


def accumulator_constants(
    node: Node, code: LayerCode, activation: str, sum_axes: Sequence[int], stored: Array | None = None
) -> dict[str, Argument]:
    """Place weights, bias and requantization in flash; the arguments of a kernel that reads them.

    ``sum_axes`` are the axes of the weights that one output sums over: -zero_x * sum(weights) goes into the bias; none
    where the kernel itself takes zero_x from the inputs.
    ``stored``: the integer weights as they stand in flash, where that is not as the tensor has them.
    """
    weights, bias = node.input(1), node.optional(2)
    assert weights.data is not None
    if node.output.dtype == np.float32:
        values = np.zeros(node.output.shape[-1]) if bias is None else bias.data
        return {
            "weights": code.constant("weights", weights.data),
            "bias": code.constant("bias", np.asarray(values), "float32"),
            **float_clamp(activation),
        }
    multiplier, shift = multipliers(node)
    low, high = quantized_range(activation, node.output)
    arguments: dict[str, Argument] = {
        "weights": code.constant("weights", weights.data if stored is None else stored),
        "multiplier": code.constant("multiplier", multiplier),
        "shift": code.constant("shift", shift),
        "channel_step": int(multiplier.size > 1),
        "low": low,
        "high": high,
    }
    if node.output.dtype == np.int16:
        assert bias is not None
        return {**arguments, "bias": code.constant("bias", np.asarray(bias.data), "int64")}
    zero_x = node.input(0).q.z
    folded = np.zeros(node.output.shape[-1], np.int64) if bias is None else np.asarray(bias.data, np.int64)
    if sum_axes:
        folded = folded - zero_x * weights.data.sum(axis=tuple(sum_axes), dtype=np.int64).reshape(-1)
    bias_name = code.constant("bias", folded, "int32")
    return {**arguments, "bias": bias_name, "zero_x": zero_x, "zero_y": node.output.q.z}


DOT_S8 = Kernel(
    "dot_s8",
    """\
/* sum + x . w; one product at a time, since two do not fit an int of 16 bits */
static inline int32_t dot_s8(int32_t sum, const int8_t *x, const int8_t *w, int count)
{
    for (; count >= 4; count -= 4, x += 4, w += 4) {
        sum += x[0] * FLASH_I8(w);
        sum += x[1] * FLASH_I8(w + 1);
        sum += x[2] * FLASH_I8(w + 2);
        sum += x[3] * FLASH_I8(w + 3);
    }
    for (; count > 0; count--)
        sum += *x++ * FLASH_I8(w++);
    return sum;
}
""",
)

SUM_S8 = Kernel(
    "sum_s8",
    """\
static inline int32_t sum_s8(const int8_t *w, int count)
{
    int32_t sum = 0;
    for (; count > 0; count--)
        sum += FLASH_I8(w++);
    return sum;
}
""",
)
