"""Requantization in one multiply-accumulate and one shift with saturation, proven equal to TFLM's two roundings.

TFLM rounds twice: y = clamp(zero + round_half_away(round_half_up(sum * multiplier / 2**31) / 2**right)). Both that and

    y = saturate((sum * multiplier' + constant) >> (32 + shift))

never fall as ``sum`` grows. So they are equal over an interval of sums if they step at the same sums, and there are at
most 255 steps. For a given multiplier' each step allows an interval of constants; any constant in all of them serves.
Where both signs of ``sum`` occur, the halves that round away from zero can ask for a smaller constant below zero: then
``sign`` is subtracted for negative sums. Constant and sign are 64- and 31-bit integers, so everything here is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinymaix.graph import Array, Node
from tinymaix.ops.accumulate import multipliers
from tinymaix.ops.fixed_point import quantized_range, requantize

Ints = npt.NDArray[np.int64]
SHIFTS = tuple(range(18, -1, -1))
LARGEST_SUM = 2**29
"""Sums beyond this are not taken. So no constant is beyond 2**60 + 2**57, and no integer of the proof overflows."""
_NONE = 2**61  # stands for infinity
_FAR = 2**60 + 2**59  # what is beyond came from _NONE
_NUDGES = (0, 1, -1, 2, -2)


@dataclass(frozen=True, eq=False)
class FastRequant:
    """Per channel: saturate8((sum * multiplier + constant - (sign if sum < 0 else 0)) >> (32 + shift)).

    ``sum`` includes the bias. Where no channel needs a sign, `folded` moves the bias into the constant.
    """

    multiplier: Ints  # [0, 2**31)
    constant: Ints
    sign: Ints  # [0, 2**31); all zero where one constant suffices
    shift: int  # one for all channels, since the instruction holds it
    clamp: bool  # whether a clamp narrower than int8 can act after the saturation

    @property
    def signed(self) -> bool:
        """Whether some channel needs a constant that depends on the sign of the sum."""
        return bool(self.sign.any())

    def folded(self, bias: Array) -> Ints:
        """Constants for sums that lack ``bias``. Only where not ``signed``."""
        assert not self.signed
        return np.asarray(self.constant + bias.astype(np.int64) * self.multiplier)

    def apply(self, total: Array) -> Ints:
        """The fast form in numpy: sums with channels last -> int8 values in int64."""
        total = np.asarray(total, np.int64)
        product = total * self.multiplier + self.constant - np.where(total < 0, self.sign, 0)
        return np.asarray(np.clip(product >> (32 + self.shift), -128, 127))


def prove_node(
    node: Node, activation: str, channel_axis: int, shifts: Sequence[int] = SHIFTS, scale: int = 1
) -> tuple[Ints, FastRequant | None]:
    """(bias, fast form) of an int8 convolution or fully connected node; the bias holds -zero_x * sum(weights).

    channel_axis: the axis of the weights that numbers the output channels.
    scale: see `prove`; the bias returned is not scaled.
    """
    weights, bias = node.input(1), node.optional(2)
    assert weights.data is not None
    flat = np.moveaxis(weights.data, channel_axis, 0).reshape(weights.shape[channel_axis], -1).astype(np.int64)
    given = np.int64(0) if bias is None or bias.data is None else bias.data.reshape(-1).astype(np.int64)
    folded = np.asarray(given - node.input(0).q.z * flat.sum(axis=1))
    limits = quantized_range(activation, node.output)
    fast = prove(*multipliers(node), node.output.q.z, *limits, *sum_interval(flat, folded), shifts, scale)
    return folded, fast


def sum_interval(weights: Array, bias: Array, low: int = -128, high: int = 127) -> tuple[Ints, Ints]:
    """The least and the largest bias + sum(weights * x) of each channel, x in [low, high]; weights (channels, taps)."""
    up, down = np.maximum(weights, 0).sum(axis=1, dtype=np.int64), np.minimum(weights, 0).sum(axis=1, dtype=np.int64)
    return np.asarray(bias + up * low + down * high), np.asarray(bias + up * high + down * low)


def prove(
    multiplier: Array,
    shift: Array,
    zero: int,
    low: int,
    high: int,
    sum_low: Array,
    sum_high: Array,
    shifts: Sequence[int] = SHIFTS,
    scale: int = 1,
) -> FastRequant | None:
    """The fast form of a layer's requantization, None where none is found.

    Args:
        multiplier: Q31, one or one a channel, as `quantize_multipliers` gives them, with ``shift`` (positive is left).
        zero: the output's zero point, added before the clamp to [low, high] (inside int8).
        sum_low: with ``sum_high`` the interval of reachable sums of each channel, bias included.
        shifts: the shifts to try, in order: the first that serves without a sign, else the first that serves.
        scale: the kernel sums with weights and bias times this; so real multipliers of up to scale / 2 are in reach.
    """
    steps = Steps.of(multiplier, shift, zero, low, high, sum_low, sum_high, scale)
    if steps is None:
        return None
    found = None
    for right in shifts:
        fast = _solve(steps, right)
        if fast is not None and not fast.signed:
            return fast
        found = found or fast
    return found


@dataclass(frozen=True, eq=False)
class Steps:
    """Where TFLM's requantization steps: ``at[channel, i]`` is the smallest sum that gives at least ``values[i]``."""

    gain: Array  # float64, real multipliers
    values: Ints
    at: Ints
    sum_low: Ints  # (channels, 1)
    sum_high: Ints
    low: int
    high: int
    scale: int  # of the sums above

    @classmethod
    def of(
        cls,
        multiplier: Array,
        shift: Array,
        zero: int,
        low: int,
        high: int,
        sum_low: Array,
        sum_high: Array,
        scale: int = 1,
    ) -> Steps | None:
        arrays = np.broadcast_arrays(multiplier, shift, sum_low, sum_high)
        m, s, first, last = (a.astype(np.int64).reshape(-1, 1) for a in arrays)
        left, right = np.maximum(s, 0), np.maximum(-s, 0)
        largest = np.maximum(np.abs(first), np.abs(last))
        if (largest << left >= 2**31).any() or (m < 0).any():
            return None  # a sum may wrap: its result does not grow with it
        ends = [np.clip(requantize(end, m, s) + zero, low, high) for end in (first, last)]
        fixed = ends[0] == ends[1]
        if (~fixed & (largest * scale > LARGEST_SUM)).any():
            return None
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
        gain = np.where(fixed, 0, m * np.exp2(s - 31.0) / scale)
        return cls(gain, values, at * scale, first * scale, last * scale, low, high, scale)


def _solve(steps: Steps, shift: int) -> FastRequant | None:
    """The widest choice of constants for each channel over a few neighbouring multipliers."""
    ideal = np.minimum(np.rint(steps.gain * 2.0 ** (32 + shift)), 2.0**31 - 1).astype(np.int64)
    best: dict[str, Ints] = {}
    for nudge in _NUDGES:
        multiplier = np.where(ideal > 0, np.clip(ideal + nudge, 0, 2**31 - 1), 0)
        constant, sign, room = _windows(steps, multiplier, shift)
        rank = np.where(sign == 0, room, np.minimum(room, _NONE) - 2**62)  # without a sign is better
        rank = np.where(room < 0, -(2**63) + 1, rank)
        if not best:
            best = {"multiplier": multiplier[:, 0], "constant": constant, "sign": sign, "room": room, "rank": rank}
            continue
        better = rank > best["rank"]
        new = {"multiplier": multiplier[:, 0], "constant": constant, "sign": sign, "room": room, "rank": rank}
        best = {key: np.where(better, new[key], best[key]) for key in best}
    if (best["room"] < 0).any():
        return None
    fast = FastRequant(best["multiplier"], best["constant"], best["sign"], shift, clamp=False)
    ends = fast.apply(np.stack([steps.sum_low[:, 0], steps.sum_high[:, 0]]))
    clamp = bool((ends < steps.low).any() or (ends > steps.high).any())
    return FastRequant(fast.multiplier, fast.constant, fast.sign, shift, clamp)


def _windows(steps: Steps, multiplier: Ints, shift: int) -> tuple[Ints, Ints, Ints]:
    """(constant, sign, width of the choice - 1) of each channel; the width is below 0 where nothing serves."""
    target = steps.values << (32 + shift)
    before = steps.at - steps.scale
    # At its step a value must be reached, unless no sum reaches it; just before not yet, unless every sum reaches it.
    least = np.where(steps.at <= steps.sum_high, target - steps.at * multiplier, -_NONE)
    most = np.where(before >= steps.sum_low, target - before * multiplier - 1, _NONE)
    low_plus = np.where(steps.at >= 0, least, -_NONE).max(axis=1, initial=-_NONE)
    low_minus = np.where(steps.at < 0, least, -_NONE).max(axis=1, initial=-_NONE)
    high_plus = np.where(before >= 0, most, _NONE).min(axis=1, initial=_NONE)
    high_minus = np.where(before < 0, most, _NONE).min(axis=1, initial=_NONE)
    one = np.maximum(low_plus, low_minus) <= np.minimum(high_plus, high_minus)
    sign = np.where(
        one, 0, _between(np.maximum(low_plus - high_minus, 0), np.minimum(high_plus - low_minus, 2**31 - 1))
    )
    lower, upper = np.maximum(low_plus, low_minus + sign), np.minimum(high_plus, high_minus + sign)
    room = np.where((sign >= 0) & (sign < 2**31), upper - lower, -1)
    return _between(lower, upper), sign, room


def _between(lower: Ints, upper: Ints) -> Ints:
    """The middle of each interval, the finite end of a half-open one."""
    middle = lower + (upper - lower) // 2
    bounded_below, bounded_above = lower > -_FAR, upper < _FAR
    return np.select([bounded_below & bounded_above, bounded_below, bounded_above], [middle, lower, upper], 0)
