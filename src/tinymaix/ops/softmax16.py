"""SOFTMAX from int16 to int16, scale 1/32768: exp and 1 / (1 + x) from tables of 513 entries, as TFLM has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinymaix.graph import Array
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize

RANGE = 65535
REACH = 10.0
"""exp of what is further below the maximum is negligible."""
LONGEST_ROW = RANGE
"""Ones in Q0.15 that sum up in 32 bits."""


def _table(function: Callable[[Array], Array], low: float, high: float) -> Array:
    """Values of a function over [low, high] in Q0.15 at 512 steps, each moved by half of the error in the middle."""
    one, half = np.float32(1), np.float32(0.5)
    low32 = np.float32(low)
    step = (np.float32(high) - low32) / np.float32(512)
    scale = one * np.float32(32768)
    at = low32 + np.arange(512).astype(np.float32) * step
    value, middle, following = (function(x).astype(np.float32) * scale for x in (at, at + step * half, at + step))
    sample = _rounded(value)
    error = _rounded((following + sample) * half) - _rounded(middle)
    last = _rounded(function(np.array([high], np.float32)).astype(np.float32) * scale)
    table = np.concatenate([sample - _rounded(error * half), last])
    return np.asarray(np.clip(table, -32768, 32767), np.int16)


def _rounded(x: Array) -> Array:
    """Half away from zero."""
    return np.asarray(np.trunc(x + np.copysign(np.float32(0.5), x)))


EXP_TABLE = _table(np.exp, -REACH, 0.0)
RECIPROCAL_TABLE = _table(lambda x: np.asarray(np.float32(1) / (np.float32(1) + x)), 0.0, 1.0)


def difference_scale(scale: float, beta: float) -> tuple[int, int]:
    """(multiplier, shift) that bring differences of inputs to [-65535, 0] for [-10, 0]."""
    return quantize_multiplier(scale * float(np.float32(beta)) / (REACH / RANGE))


def softmax16(x: Array, multiplier: int, shift: int) -> Array:
    """Softmax of raw int16 values over the last axis, as int16."""
    difference = x.astype(np.int64) - x.max(axis=-1, keepdims=True)
    exps = _look_up(EXP_TABLE, requantize(difference, multiplier, shift) + 32767)
    total = exps.sum(axis=-1, keepdims=True)
    bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)  # 32 less the leading zeros
    shifted = ((total << (31 - bits)) + (1 << 13)) >> 14
    reciprocal = _look_up(RECIPROCAL_TABLE, shifted - ((1 << 15) + (1 << 16)))
    right = bits - 1
    scaled = (exps * reciprocal + ((np.int64(1) << right) >> 1)) >> right
    return np.asarray(np.clip(scaled, 0, 32767), np.int16)


def _look_up(table: Array, value: Array) -> Array:
    """Linear interpolation between the entries on both sides of a value, which is kept in int16."""
    value = np.clip(value, -32768, 32767)
    index, part = 256 + (value >> 7), value & 0x7F
    base = table[index].astype(np.int64)
    return np.asarray(base + (((table[index + 1] - base) * part + 64) >> 7))


LOOK_UP_16 = Kernel(
    "look_up_16",
    """\
/* Linear interpolation in a table of 513 values over int16 */
static inline int32_t look_up_16(const int16_t *table, int32_t value)
{
    value = clamp(value, -32768, 32767);
    int index = (int)(256 + (value >> 7));
    int32_t base = FLASH_I16(table + index), slope = FLASH_I16(table + index + 1) - base;
    return base + ((slope * (value & 0x7F) + 64) >> 7);
}
""",
    (CLAMP,),
)

SOFTMAX_S16 = Kernel(
    "softmax_s16",
    """\
/* Softmax of each row, int16. exp is computed twice, which needs no working memory. */
static void softmax_s16(const int16_t *x, int16_t *y, const int16_t *exps, const int16_t *reciprocals,
                        int32_t multiplier, int shift, int rows, int depth)
{
    for (int r = 0; r < rows; r++, x += depth, y += depth) {
        int32_t max = x[0], bits = 0;
        for (int c = 1; c < depth; c++)
            if (x[c] > max)
                max = x[c];
        uint32_t sum = 0;
        for (int c = 0; c < depth; c++)
            sum += (uint32_t)look_up_16(exps, requantize(x[c] - max, multiplier, shift) + 32767);
        while (bits < 31 && sum >> bits)
            bits++;
        int32_t shifted = (int32_t)(((sum << (31 - bits)) + 8192) >> 14);
        int32_t reciprocal = look_up_16(reciprocals, shifted - 98304);
        for (int c = 0; c < depth; c++) {
            int64_t e = look_up_16(exps, requantize(x[c] - max, multiplier, shift) + 32767);
            y[c] = (int16_t)clamp((int32_t)((e * reciprocal + (INT64_C(1) << (bits - 2))) >> (bits - 1)), 0, 32767);
        }
    }
}
""",
    (LOOK_UP_16, REQUANTIZE),
)
