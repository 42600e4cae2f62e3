"""The steps of TFLM's requantization against the requantization itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.cores.exact_requantize import Steps, sum_interval
from tinymaix.ops.fixed_point import quantize_multiplier, requantize

ranges = st.sampled_from([(-128, 127), (-128, 100), (-5, 127), (-5, 60), (3, 3)])


@given(st.floats(1e-7, 3.0), st.integers(-128, 127), ranges, st.integers(-5000, 5000), st.integers(0, 9000))
def test_every_sum_of_a_small_interval(real: float, zero: int, limits: tuple[int, int], first: int, size: int) -> None:
    multiplier, shift = quantize_multiplier(real)
    one = np.ones(1, np.int64)
    steps = Steps.of(one * multiplier, one * shift, zero, *limits, one * first, one * (first + size))
    assert steps is not None
    total = np.arange(first, first + size + 1)
    expected = np.clip(requantize(total, multiplier, shift) + zero, *limits)
    if steps.gain[0, 0] == 0:
        assert (expected == limits[0] + (steps.at[0] <= 0).sum()).all()
    else:
        assert (limits[0] + (total[:, None] >= steps.at[0]).sum(axis=1) == expected).all()


def test_sums_that_may_wrap_are_refused() -> None:
    one = np.ones(1, np.int64)
    assert Steps.of(one * 2**30, one * 2, 0, -128, 127, one * -(2**29), one * 2**29) is None


def test_sum_interval() -> None:
    low, high = sum_interval(np.array([[1, -2], [0, 0]]), np.array([10, 5]))
    assert (low.tolist(), high.tolist()) == ([10 - 128 - 254, 5], [10 + 127 + 256, 5])
