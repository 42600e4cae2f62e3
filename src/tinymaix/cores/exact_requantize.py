"""Where TFLM's requantization steps: what a proof that another formula equals it compares.

TFLM rounds twice: clamp(zero + round_half_away(round_half_up(sum * multiplier / 2**31) / 2**right)). That never falls
as ``sum`` grows, so it is known by at most 255 sums: the first to give each value. Another formula that never falls
either is equal over an interval of sums if it steps at the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinymaix.graph import Array
from tinymaix.ops.fixed_point import requantize

Ints = npt.NDArray[np.int64]


def sum_interval(weights: Array, bias: Array, low: int = -128, high: int = 127) -> tuple[Ints, Ints]:
    """The least and the largest bias + sum(weights * x) of each channel, x in [low, high]; weights (channels, taps)."""
    up, down = np.maximum(weights, 0).sum(axis=1, dtype=np.int64), np.minimum(weights, 0).sum(axis=1, dtype=np.int64)
    return np.asarray(bias + up * low + down * high), np.asarray(bias + up * high + down * low)


@dataclass(frozen=True, eq=False)
class Steps:
    """``at[channel, i]`` is the smallest sum that gives at least ``values[i]``, one above all sums where none does."""

    gain: Array  # float64, (channels, 1), real multipliers; 0 where all sums give one value
    values: Ints
    at: Ints
    sum_low: Ints  # (channels, 1)
    sum_high: Ints
    low: int
    high: int

    @classmethod
    def of(
        cls, multiplier: Array, shift: Array, zero: int, low: int, high: int, sum_low: Array, sum_high: Array
    ) -> Steps | None:
        """The steps of a layer, None where a sum may wrap: its result does not grow with it.

        Args:
            multiplier: Q31, one or one a channel, as `quantize_multipliers` gives them, with ``shift`` (positive is
                left).
            zero: the output's zero point, added before the clamp to [low, high] (inside int8).
            sum_low: with ``sum_high`` the interval of reachable sums of each channel, bias included.
        """
        arrays = np.broadcast_arrays(multiplier, shift, sum_low, sum_high)
        m, s, first, last = (a.astype(np.int64).reshape(-1, 1) for a in arrays)
        left, right = np.maximum(s, 0), np.maximum(-s, 0)
        if (np.maximum(np.abs(first), np.abs(last)) << left >= 2**31).any() or (m < 0).any():
            return None
        ends = [np.clip(requantize(end, m, s) + zero, low, high) for end in (first, last)]
        fixed = ends[0] == ends[1]
        values = np.arange(low + 1, high + 1, dtype=np.int64)
        # y >= value means: rounded once, the product is at least `least`; of negative halves the next one is.
        wanted = values - zero
        half = np.left_shift(np.int64(1), right) >> 1
        least = np.clip((wanted << right) - half + ((wanted <= 0) & (right > 0)), -(2**31), 2**31)
        # and rounded once it is at least that where (sum << left) * m + 2**30 >= least << 31
        product = (least << 31) - (1 << 30)
        at = -(-product // np.maximum(m << left, 1))
        # What gives one value, as channels without weights do, needs no multiplier: as if the sum were always 0.
        first, last = np.where(fixed, 0, first), np.where(fixed, 0, last)
        at = np.where(fixed, values > ends[0], np.clip(at, first, last + 1))
        gain = np.where(fixed, 0, m * np.exp2(s - 31.0))
        return cls(gain, values, at, first, last, low, high)
