"""Requantization of small sums in 32 bits: equal to the reference wherever the proof says so."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.cores.exact_linear import prove_linear
from tinymaix.ops.fixed_point import quantize_multiplier, requantize

INT8 = np.arange(-128, 128)


@given(st.integers(1, 256))
def test_a_mean_rounded_half_away_from_zero(count: int) -> None:
    sums = np.arange(-128 * count, 127 * count + 1)
    wanted = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    fast = prove_linear(wanted, (-128, 127), [sums], [1 / count], 16, (20, 16, 14))
    assert fast is not None
    assert not fast.clamp
    assert (fast.apply(sums) == wanted).all()


@given(st.integers(1, 256), st.floats(0.6, 3), st.integers(-128, 127), st.integers(-60, 60))
def test_a_mean_rounded_twice(count: int, ratio: float, zero_x: int, zero_y: int) -> None:
    multiplier, shift = quantize_multiplier(ratio)
    bits = count.bit_length() - 1
    sums = np.arange(-128 * count, 127 * count + 1)
    scaled = requantize(sums - zero_x * count, (multiplier << bits) // count, shift - bits)
    wanted = np.clip(scaled + zero_y, -128, 127)
    zeros = [zero_x * count]
    fast = prove_linear(wanted, (-128, 127), [sums], [ratio / count], 16, (20, 16, 14, 12), zeros)
    assert fast is not None
    assert (fast.apply(sums) == wanted).all()


@given(st.floats(0.01, 3), st.floats(-3, 3), st.integers(-128, 127), st.sampled_from([(-128, 127), (0, 127), (-9, 40)]))
def test_two_operands(gain_a: float, gain_b: float, zero: int, limits: tuple[int, int]) -> None:
    a, b = INT8[:, None], INT8[None, :]
    wanted = np.clip(np.rint(gain_a * a + gain_b * b).astype(np.int64) + zero, *limits)
    fast = prove_linear(wanted, limits, [a, b], [gain_a, gain_b], 8, (20, 22))
    if fast is not None:
        values = fast.apply(a, b)
        assert ((np.clip(values, *limits) if fast.clamp else values) == wanted).all()


def test_what_is_no_weighted_sum_is_refused() -> None:
    wanted = np.where(INT8 > 0, 1, INT8)
    assert prove_linear(wanted, (-128, 127), [INT8], [1.0], 8, (20,)) is None


def test_a_constant_output() -> None:
    fast = prove_linear(np.full(256, -128), (-128, 127), [INT8], [1e-3], 8, (20,))
    assert fast is not None
    assert (fast.apply(INT8) == -128).all()
    clamped = prove_linear(np.full(256, 3), (3, 3), [INT8], [1e-3], 8, (20,))
    assert clamped is not None
    assert clamped.clamp
