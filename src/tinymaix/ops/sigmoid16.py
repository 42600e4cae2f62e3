"""Logistic and tanh of int16 values to scale 1/32768, from one table, bit for bit as TFLM's int16 kernels.

The table holds sigmoid(i / 24) for i = 0 to 255 in 16 bits, values between are interpolated, and tanh(x) is
2 * sigmoid(2x) - 1. Inputs are multiples of 1/12288 after the multiplication by ``multiplier >> shift``.
"""

from __future__ import annotations

import math

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel, LayerCode


def _table() -> Array:
    """65536 * sigmoid(i / 24), raised by half of what a chord lies below the curve at most; the last entry is full."""
    sigmoid = 1 / (1 + np.exp(-np.arange(256) / 24))
    curvature = sigmoid * (1 - sigmoid) * (1 - 2 * sigmoid) / 24**2
    table = np.rint(65536 * (sigmoid - curvature / 16))
    table[-1] = 65535
    return table.astype(np.uint16).view(np.int16)


TABLE = _table()
"""As the int16 array that C constants of 16 bits are."""


def power_of_two(integer_bits: int) -> tuple[int, int]:
    """(multiplier, shift) for inputs of scale 2**integer_bits / 32768."""
    left = integer_bits - 3
    return (3 << left, 0) if left >= 0 else (3, -left)


def any_scale(scale: float) -> tuple[int, int]:
    """(multiplier, shift) for inputs of any scale: that of 2**-12 exactly, others to 15 bits."""
    fraction, exponent = math.frexp(scale)
    if fraction == 0.5 and exponent == -11:
        return power_of_two(3)
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return int(multiplier), shift


def logistic16(x: Array, multiplier: int, shift: int) -> Array:
    """1 / (1 + exp(-x)), scale 1/32768, as int64."""
    scaled = _scale(x, multiplier, shift)
    result = _interpolate(np.abs(scaled), 9)
    return np.where(scaled >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1) >> 10


def tanh16(x: Array, multiplier: int, shift: int) -> Array:
    """tanh(x), scale 1/32768, as int64."""
    scaled = _scale(x, multiplier, shift)
    result = _interpolate(np.abs(scaled), 8)
    up, half = 1 << 23, 1 << 7
    return np.where(scaled >= 0, result - up + half, up - result + half - 1) >> 8


def emit_table_16(node: Node, code: LayerCode, kernel: Kernel) -> None:
    """Call LOGISTIC_S16 or TANH_S16 for a node of one int16 input."""
    multiplier, shift = any_scale(node.input(0).q.s)
    code.call(
        kernel,
        x=code.input(0),
        y=code.output(),
        table=code.constant("sigmoid", TABLE),
        n=node.output.elements,
        multiplier=multiplier,
        shift=shift,
    )


def _scale(x: Array, multiplier: int, shift: int) -> Array:
    return np.asarray((x.astype(np.int64) * multiplier + ((1 << shift) >> 1)) >> shift)


def _interpolate(magnitude: Array, bits: int) -> Array:
    """sigmoid of magnitude / 2**bits / 24, with 16 + bits fractional bits."""
    table = TABLE.view(np.uint16).astype(np.int64)
    at = np.minimum(magnitude >> bits, 254)
    between = (table[at] << bits) + (magnitude & ((1 << bits) - 1)) * (table[at + 1] - table[at])
    top = 0x7FFF << 10 if bits == 9 else 0xFFFF << 8
    return np.where(magnitude >> bits >= 255, top, between)


SIGMOID_BETWEEN = Kernel(
    "sigmoid_between",
    """\
/* sigmoid of magnitude / 2^bits / 24 by interpolation in a table, with 16 + bits fractional bits */
static inline int32_t sigmoid_between(const int16_t *table, uint32_t magnitude, int bits)
{
    uint32_t at = magnitude >> bits, part = magnitude & ((UINT32_C(1) << bits) - 1);
    uint32_t low = (uint16_t)FLASH_I16(table + at), high = (uint16_t)FLASH_I16(table + at + 1);
    return (int32_t)((low << bits) + part * (high - low));
}
""",
)

LOGISTIC_16 = Kernel(
    "logistic_16",
    """\
/* 1 / (1 + exp(-x)) of an int16 value, scale 1/32768 */
static inline int32_t logistic_16(const int16_t *table, int32_t x, int32_t multiplier, int shift)
{
    int32_t scaled = (x * multiplier + ((INT32_C(1) << shift) >> 1)) >> shift;
    uint32_t magnitude = (uint32_t)(scaled < 0 ? -scaled : scaled);
    int32_t result = magnitude >> 9 >= 255 ? INT32_C(0x7FFF) << 10 : sigmoid_between(table, magnitude, 9);
    return (scaled >= 0 ? result + 512 : (INT32_C(1) << 25) - result + 511) >> 10;
}
""",
    (SIGMOID_BETWEEN,),
)

TANH_16 = Kernel(
    "tanh_16",
    """\
/* tanh of an int16 value, scale 1/32768 */
static inline int32_t tanh_16(const int16_t *table, int32_t x, int32_t multiplier, int shift)
{
    int32_t scaled = (x * multiplier + ((INT32_C(1) << shift) >> 1)) >> shift;
    uint32_t magnitude = (uint32_t)(scaled < 0 ? -scaled : scaled);
    int32_t result = magnitude >> 8 >= 255 ? INT32_C(0xFFFF) << 8 : sigmoid_between(table, magnitude, 8);
    return (scaled >= 0 ? result - (INT32_C(1) << 23) + 128 : (INT32_C(1) << 23) - result + 127) >> 8;
}
""",
    (SIGMOID_BETWEEN,),
)


def _elementwise(name: str, value: Kernel) -> Kernel:
    return Kernel(
        name,
        f"""\
static void {name}(const int16_t *x, int16_t *y, const int16_t *table, int n, int32_t multiplier, int shift)
{{
    for (int i = 0; i < n; i++)
        y[i] = (int16_t){value.name}(table, x[i], multiplier, shift);
}}
""",
        (value,),
    )


LOGISTIC_S16 = _elementwise("logistic_s16", LOGISTIC_16)
TANH_S16 = _elementwise("tanh_s16", TANH_16)
