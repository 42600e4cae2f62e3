"""exp, tanh, logistic and reciprocal in 32-bit fixed point, bit for bit as gemmlowp's fixedpoint.h has them, in numpy.

A Qm.n value is an int32 raw value divided by 2**n with m + n = 31. Arrays are int64 that hold int32 values.
"""

from __future__ import annotations

import math

import numpy as np

from tinymaix.graph import Array
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import INT32_MAX, INT32_MIN, MUL_HIGH, mul_high, round_half_away, rounding_shift

_EXP_OF_MINUS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""(k, exp(-2**k) in Q0.31)."""

_EXP_MINUS_EIGHTH, _THIRD = 1895147668, 715827883  # Q0.31
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540  # Q2.29: the first guess of a Newton-Raphson division


def multiplier_for(scale: float, integer_bits: int) -> tuple[int, int, int]:
    """(Q31 multiplier, shift, radius): raw inputs of ``scale`` as Q``integer_bits``, and how far they reach.

    Raw values at or beyond +-radius saturate (CalculateInputRadius).
    """
    fraction, shift = math.frexp(scale * 2.0 ** (31 - integer_bits))
    radius = math.floor((2**integer_bits - 1) * 2.0 ** (31 - integer_bits - shift))
    return round_half_away(fraction * 2.0**31), shift, radius


def exp_negative(a: Array, integer_bits: int) -> Array:
    """exp of Q``integer_bits`` values <= 0, as Q0.31."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    part = (a & (quarter - 1)) - quarter  # in [-1/4, 0)
    result = _exp_near_zero(part << integer_bits)
    rest = part - a
    for power, factor in _EXP_OF_MINUS:
        if power < integer_bits:
            result = np.where(rest & (1 << (fraction_bits + power)), mul_high(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _exp_near_zero(a: Array) -> Array:
    """exp of Q0.31 values in [-1/4, 0): Taylor series of fourth order around -1/8."""
    x = a + (1 << 28)
    x2 = mul_high(x, x)
    x3, x4 = mul_high(x2, x), mul_high(x2, x2)
    tail = rounding_shift(mul_high(rounding_shift(x4, 2) + x3, _THIRD) + x2, 1)
    return np.asarray(_EXP_MINUS_EIGHTH + mul_high(x + tail, _EXP_MINUS_EIGHTH))


def inverse_of_one_plus(a: Array) -> Array:
    """1 / (1 + a) of Q0.31 values in [0, 1), as Q0.31."""
    return _saturating_left(_two_over_one_plus(a), 1)


def _one_minus_over_one_plus(a: Array) -> Array:
    """(1 - a) / (1 + a) of Q0.31 values in [0, 1], as Q0.31."""
    return _saturating_left(_two_over_one_plus(a) - (1 << 29), 2)


def _two_over_one_plus(a: Array) -> Array:
    """2 / (1 + a) as Q2.29: three steps of Newton-Raphson on d = (1 + a) / 2."""
    d = (np.asarray(a, np.int64) + (1 << 31)) >> 1
    x = _48_OVER_17 + mul_high(d, _MINUS_32_OVER_17)
    for _ in range(3):
        x = x + _saturating_left(mul_high(x, (1 << 29) - mul_high(d, x)), 2)
    return np.asarray(x)


def logistic(a: Array, integer_bits: int) -> Array:
    """1 / (1 + exp(-a)) of Q``integer_bits`` values, as Q0.31."""
    positive = inverse_of_one_plus(exp_negative(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, INT32_MAX - positive))


def tanh(a: Array, integer_bits: int) -> Array:
    """tanh of Q``integer_bits`` values, as Q0.31. Doubling the argument is one integer bit more."""
    positive = _one_minus_over_one_plus(exp_negative(-np.abs(a), integer_bits + 1))
    return np.where(a == 0, 0, np.where(a > 0, positive, -positive))


def _saturating_left(x: Array, bits: int) -> Array:
    limit = (1 << (31 - bits)) - 1
    return np.where(x > limit, INT32_MAX, np.where(x < -limit, INT32_MIN, x << bits))


INVERSE_OF_ONE_PLUS = Kernel(
    "inverse_of_one_plus",
    """\
/* 1 / (1 + a) for a in [0, 1), Q0.31 -> Q0.31: Newton-Raphson on (1 + a) / 2 with Q2.29 intermediates */
static inline int32_t inverse_of_one_plus(int32_t a)
{
    int32_t d = (int32_t)(((uint32_t)a + UINT32_C(0x80000000)) >> 1);
    int32_t x = INT32_C(1515870810) + mul_high(d, -INT32_C(1010580540));
    for (int i = 0; i < 3; i++) {
        int32_t correction = mul_high(x, (INT32_C(1) << 29) - mul_high(d, x));
        x += (int32_t)((uint32_t)correction << 2);
    }
    return x > (INT32_C(1) << 30) - 1 ? INT32_MAX : (int32_t)((uint32_t)x << 1);
}
""",
    (MUL_HIGH,),
)
