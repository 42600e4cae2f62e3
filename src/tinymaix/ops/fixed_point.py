"""Requantization by a Q31 multiplier and a shift, as TFLM's reference kernels do it: in numpy and in C.

Two roundings, as gemmlowp does them: the doubled high half of the 64-bit product is rounded half up, the right shift
half away from zero. LiteRT's int8 fully connected rounds once instead; TFLM is what runs on chips.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinymaix.graph import Array, Quantization, Tensor
from tinymaix.ops.emit import Kernel

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
FLOAT32_MAX = float(np.finfo(np.float32).max)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(Q31 multiplier, shift): real ~ multiplier * 2**(shift - 31), multiplier in [2**30, 2**31); shift > 0 is left."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * 2.0**31)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return INT32_MAX, 30
    return multiplier, shift


def quantize_multipliers(reals: Array) -> tuple[Array, Array]:
    """`quantize_multiplier` for each: int32 multipliers and int8 shifts."""
    pairs = [quantize_multiplier(float(real)) for real in np.asarray(reals, np.float64).reshape(-1)]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)


def round_half_away(value: float) -> int:
    """std::round."""
    fraction, whole = math.modf(abs(value))
    return (int(whole) + (fraction >= 0.5)) * (1 if value >= 0 else -1)


def requantize(x: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """MultiplyByQuantizedMultiplier of TFLM: int32 values in int64 arrays; multiplier and shift broadcast."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_shift(mul_high(wrap32(np.asarray(x, np.int64) << left), multiplier), right)


def mul_high(x: Array, multiplier: Array | int) -> Array:
    """SaturatingRoundingDoublingHighMul for multipliers that are not negative: (2 * x * multiplier) >> 32, half up."""
    return np.asarray((np.asarray(x, np.int64) * np.asarray(multiplier, np.int64) + (1 << 30)) >> 31)


def rounding_shift(x: Array, right: Array | int) -> Array:
    """RoundingDivideByPOT: x / 2**right, half rounded away from zero."""
    right = np.asarray(right, np.int64)
    half = np.left_shift(np.int64(1), right) >> 1
    return np.asarray((x + half - ((x < 0) & (right > 0))) >> right)


def wrap32(x: Array) -> Array:
    """The value as int32 arithmetic leaves it."""
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def saturate(x: Array, dtype: np.dtype[Any], low: int | None = None, high: int | None = None) -> Array:
    """Clamp to the type's range, or to [low, high], and convert."""
    info = np.iinfo(dtype)
    return np.clip(x, info.min if low is None else low, info.max if high is None else high).astype(dtype)


ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6")
"""Fused activations in the order of TFLite's and TinyMaix's codes 0 to 3."""

_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu_n1_to_1": (-1.0, 1.0),
    "relu6": (0.0, 6.0),
}


def float_range(activation: str) -> tuple[float, float]:
    """Clamp of a fused activation in a float model."""
    low, high = _BOUNDS[activation]
    return (-FLOAT32_MAX if low is None else low), (FLOAT32_MAX if high is None else high)


def quantized_range(activation: str, output: Tensor) -> tuple[int, int]:
    """Clamp of a fused activation in raw values of ``output`` (CalculateActivationRangeQuantized; float32 division)."""
    info = np.iinfo(output.dtype)
    low, high = _BOUNDS[activation]
    return (
        info.min if low is None else max(int(info.min), raw(low, output.q)),
        info.max if high is None else min(int(info.max), raw(high, output.q)),
    )


def integer_range(activation: str) -> tuple[int, int]:
    """Clamp of a fused activation in an int32 tensor without quantization."""
    low, high = _BOUNDS[activation]
    return (INT32_MIN if low is None else int(low)), (INT32_MAX if high is None else int(high))


def raw(real: float, quantization: Quantization) -> int:
    """The raw value of a real number, not saturated."""
    return quantization.z + round_half_away(float(np.float32(real) / quantization.scale[0]))


MUL_HIGH = Kernel(
    "mul_high",
    """\
/* (2 * x * multiplier) >> 32, half rounded up */
static inline int32_t mul_high(int32_t x, int32_t multiplier)
{
    return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 30)) >> 31);
}
""",
)

ROUNDING_SHIFT = Kernel(
    "rounding_shift",
    """\
/* x / 2^right, half rounded away from zero */
static inline int32_t rounding_shift(int32_t x, int right)
{
    int32_t mask = (int32_t)((UINT32_C(1) << right) - 1);
    int32_t half = (int32_t)((uint32_t)mask >> 1) + (x < 0);
    return (x >> right) + ((x & mask) > half);
}
""",
)

REQUANTIZE = Kernel(
    "requantize",
    """\
/* x * multiplier * 2^(shift - 31), rounded twice as TFLM's reference kernels do */
static inline int32_t requantize(int32_t x, int32_t multiplier, int shift)
{
    if (shift > 0)
        return mul_high((int32_t)((uint32_t)x << shift), multiplier);
    return rounding_shift(mul_high(x, multiplier), -shift);
}
""",
    (MUL_HIGH, ROUNDING_SHIFT),
)

CLAMP = Kernel(
    "clamp",
    """\
static inline int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}
""",
)

CLAMP_F32 = Kernel(
    "clamp_f32",
    """\
static inline float clamp_f32(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}
""",
)
