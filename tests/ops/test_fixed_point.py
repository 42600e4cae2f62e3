"""Requantization: numpy against definitions in exact integers and fractions, over the whole range."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.ops.make import int8
from tinymaix.ops.fixed_point import (
    mul_high,
    quantize_multiplier,
    quantized_range,
    requantize,
    round_half_away,
    rounding_shift,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
MULTIPLIERS = st.integers(2**30, 2**31 - 1)


def half_away(value: Fraction) -> int:
    return floor(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)


@given(INT32, MULTIPLIERS)
@example(-(2**31), 2**31 - 1)
@example(-1, 2**30)
def test_mul_high_rounds_half_up(x: int, multiplier: int) -> None:
    assert int(mul_high(np.array(x), multiplier)) == floor(Fraction(x * multiplier, 2**31) + Fraction(1, 2))


@given(INT32, st.integers(0, 31))
@example(-1, 0)
@example(-3, 1)
def test_rounding_shift_rounds_half_away_from_zero(x: int, right: int) -> None:
    assert int(rounding_shift(np.array(x), right)) == half_away(Fraction(x, 2**right))


@given(INT32, MULTIPLIERS, st.integers(-31, 8))
def test_requantize_rounds_twice(x: int, multiplier: int, shift: int) -> None:
    shifted = (x * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
    first = floor(Fraction(shifted * multiplier, 2**31) + Fraction(1, 2))
    assert int(requantize(np.array(x), multiplier, shift)) == half_away(Fraction(first, 2 ** max(-shift, 0)))


@given(st.floats(2.0**-30, 2.0**20))
@example(1.0 - 2.0**-40)
@example(1.0)
def test_multiplier_is_normal_and_near(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) / Fraction(real) - 1) <= Fraction(1, 2**31)


def test_multipliers_out_of_range() -> None:
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(2.0**-40) == (0, 0)
    assert quantize_multiplier(2.0**40) == (2**31 - 1, 30)


@given(st.floats(-1e6, 1e6))
@example(0.49999999999999994)
@example(-2.5)
def test_round_half_away(value: float) -> None:
    assert round_half_away(value) == half_away(Fraction(value))


def test_quantized_range_of_fused_activations() -> None:
    y = int8("y", (1,), 0.05, 10)
    assert quantized_range("none", y) == (-128, 127)
    assert quantized_range("relu", y) == (10, 127)
    assert quantized_range("relu_n1_to_1", y) == (-10, 30)
    assert quantized_range("relu6", y) == (10, 127)
    assert quantized_range("relu6", int8("y", (1,), 0.1, -128)) == (-128, -68)
