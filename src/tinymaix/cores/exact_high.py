"""Requantization by the high word of one product: multiply, then shift with saturation. Proven equal to TFLM's.

Where a kernel sums with its activations times 256 (it widens bytes to halfwords, so the factor costs nothing), the sum
has eight bits below the point, and the rounding and the zero point fit into the bias, where they cost nothing:

    y = saturate(((sum * multiplier) >> 32) >> shift)      sum = 256 * (x . w + bias) + offset

A zero point far from the outputs of a channel with a small multiplier does not fit into a sum of 32 bits. Then zero
point and rounding stand apart from it in ``center``, which is one for the layer:

    y = saturate((center + ((sum * multiplier) >> 32)) >> shift)

Where outputs of both signs occur, halves round away from zero: the sign of the sum selects one of two offsets. So that
the sum keeps its sign, ``center`` stands apart again:

    y = saturate((center + (((sum - (sum < 0 ? sign : 0)) * multiplier) >> 32)) >> shift)

Where the multipliers of a layer differ by more than about a hundred, one shift cannot serve both the largest and the
smallest. Then the product is shifted by ``right`` first, which each channel has its own of:

    y = saturate((center + (((sum - (sum < 0 ? sign : 0)) * multiplier) >> 32 >> right)) >> shift)

The proof is that of exact_requantize: both sides never fall, so they are equal if they step at the same sums. A
multiplier allows an interval of offsets; neighbouring multipliers are tried until one allows some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.cores.exact_requantize import Ints, Steps, sum_interval
from tinymaix.graph import Array, Node
from tinymaix.ops.accumulate import multipliers
from tinymaix.ops.fixed_point import quantized_range

SCALE = 256
"""Of the activations in the sums, unless a smaller one is asked for, as sums of very many taps need it."""
SHIFTS = (12, 10, 9, 8, 6, 4)
"""Tried in order. Few are asked for, since each needs a kernel of its own."""
Form = tuple[bool, bool]
PLAIN, CENTERED, SIGNED = (False, False), (False, True), (True, True)
"""The formulas above: whether the sign of the sum counts, whether zero point and rounding stand apart."""
VARIED_SHIFT = 4
"""The shift where channels have their own before it."""
_MOST = 22  # bits that both shifts take together, so that no integer of the proof overflows
_NONE = 2**61  # stands for infinity
_NUDGES = 600
_FINE = 34  # multipliers are varied by ones at first, by about one part of 2**17 at last
_APART = 200
"""Where offsets for sums of both signs are further apart than this, no other multiplier brings them together."""


@dataclass(frozen=True, eq=False)
class HighRequant:
    """Constants of the formulas above, per channel but for ``center`` and ``shift``; sums begin at ``start``.

    Weights of channels in ``fixed``, whose output never changes, must be taken as 0.
    """

    multiplier: Ints  # [0, 2**31)
    start: Ints  # int32, scale * bias + offset modulo 2**32
    sign: Ints  # [0, 2**31); all zero where not signed
    fixed: Array  # bool
    signed: bool  # whether the sign of the sum counts
    centered: bool  # whether zero point and rounding stand apart, as they always do where signed
    center: int  # 0 where not centered
    shift: int
    right: Ints  # [0, 22); all zero where not varied
    scale: int  # of the activations
    clamp: bool  # whether a clamp narrower than int8 can act after the saturation

    @property
    def varied(self) -> bool:
        """Whether channels have a shift of their own."""
        return bool(self.right.any())

    @property
    def constants(self) -> Ints:
        """(channels, 1 to 3): what finishing a sum takes: multiplier, sign where signed, right where varied."""
        columns = [self.multiplier, *([self.sign] if self.signed else []), *([self.right] if self.varied else [])]
        return np.stack(columns, axis=1)

    def apply(self, products: Array) -> Ints:
        """The fast form in numpy: x . w with channels last, without the bias -> int8 values in int64."""
        total = np.where(self.fixed, 0, products * self.scale) + self.start
        total = total.astype(np.int32).astype(np.int64)
        return self.finish(total)

    def finish(self, total: Ints) -> Ints:
        """The output of sums that are complete."""
        high = ((total - np.where(total < 0, self.sign, 0)) * self.multiplier) >> 32
        return np.asarray(np.clip((self.center + (high >> self.right)) >> self.shift, -128, 127))


def prove_high_node(
    node: Node,
    activation: str,
    channel_axis: int,
    shifts: Sequence[int] = SHIFTS,
    varied: bool = False,
    scale: int = SCALE,
    forms: Sequence[Form] = (PLAIN, SIGNED),
) -> HighRequant | None:
    """The fast form of an int8 convolution or fully connected node, None where none is found.

    channel_axis: the axis of the weights that numbers the output channels.
    varied: whether the kernel takes a shift of each channel, which is tried last.
    scale: of the activations in the kernel's sums.
    forms: the formulas that the kernel has, in the order in which they are tried.
    """
    weights, bias = node.input(1), node.optional(2)
    assert weights.data is not None
    flat = np.moveaxis(weights.data, channel_axis, 0).reshape(weights.shape[channel_axis], -1).astype(np.int64)
    given = np.zeros(len(flat), np.int64) if bias is None or bias.data is None else bias.data.reshape(-1)
    folded = given.astype(np.int64) - node.input(0).q.z * flat.sum(axis=1)
    limits = quantized_range(activation, node.output)
    accumulator = (*multipliers(node), node.output.q.z, *limits, *sum_interval(flat, folded), folded)
    return prove_high(*accumulator, shifts, varied, scale, forms)


def prove_high(
    multiplier: Array,
    shift: Array,
    zero: int,
    low: int,
    high: int,
    sum_low: Array,
    sum_high: Array,
    bias: Array,
    shifts: Sequence[int] = SHIFTS,
    varied: bool = False,
    scale: int = SCALE,
    forms: Sequence[Form] = (PLAIN, SIGNED),
) -> HighRequant | None:
    """The fast form for each channel of an accumulator, None where none is found.

    Args:
        multiplier, shift: TFLM's, of each channel; zero, low, high: the output's zero point and clamp.
        sum_low, sum_high: the accumulator's interval; ``bias`` is what it begins with.
        shifts, varied, scale, forms: as for `prove_high_node`.
    """
    steps = Steps.of(multiplier, shift, zero, low, high, sum_low, sum_high)
    if steps is None:
        return None
    none = np.zeros(len(steps.gain), np.int64)
    ways = [(common, none) for common in shifts]
    if varied:
        # The most bits that leave a multiplier below 2**31.
        bits = 31 - np.frexp(steps.gain[:, 0] * 2.0**32 / scale)[1].astype(np.int64)
        ways.append((VARIED_SHIFT, np.clip(bits, VARIED_SHIFT, _MOST) - VARIED_SHIFT))
    for common, right in ways:
        for form in forms:
            fast = _solve(steps, bias.astype(np.int64), zero, common, right, form, scale)
            if fast is not None:
                return fast
    return None


def _solve(steps: Steps, bias: Ints, zero: int, shift: int, right: Ints, form: Form, scale: int) -> HighRequant | None:
    """The constants of each channel for given shifts and formula, None where one has none."""
    signed, centered = form
    ideal = np.rint(steps.gain[:, 0] * np.exp2(32.0 + shift + right) / scale).astype(np.int64)
    if (ideal >= 2**31).any():
        return None
    center = (zero << shift) + (1 << shift >> 1) if centered else 0
    target = ((steps.values << shift) - center) << (32 + right[:, None])
    multiplier, offset, sign = ideal.copy(), np.zeros_like(ideal), np.zeros_like(ideal)
    fixed = steps.gain[:, 0] == 0
    todo = np.flatnonzero(~fixed)
    for nudge in range(_NUDGES):
        size = (nudge + 1) // 2
        step = (size + (ideal[todo] * size**2 >> _FINE)) * (1 if nudge % 2 else -1)
        tried = np.clip(ideal[todo] + step, 1, 2**31 - 1)
        lower, upper, apart = _offsets(steps, todo, tried, target[todo], signed, scale)
        multiplier[todo], offset[todo], sign[todo] = tried, lower + (upper - lower) // 2, apart
        todo = todo[lower > upper]
        if not todo.size or (lower - upper).max() > _APART:
            break
    ends = [np.where(fixed, 0, scale * end[:, 0] + offset) for end in (steps.sum_low, steps.sum_high)]
    if todo.size or max(np.abs(end).max(initial=0) for end in ends) + sign.max(initial=0) >= 2**31:
        return None
    value = np.where(steps.at <= 0, steps.values, steps.low).max(axis=1, initial=steps.low)
    right = np.where(fixed, 0, right)
    multiplier = np.where(fixed, 1 << (9 + shift), multiplier)
    start = np.where(fixed, (value - zero * centered) << 23, scale * bias + offset)
    start = start.astype(np.int32).astype(np.int64)
    fast = HighRequant(multiplier, start, sign, fixed, signed, centered, center, shift, right, scale, clamp=False)
    results = [fast.finish(np.where(fixed, start, end)) for end in ends]
    clamp = any(bool((result < steps.low).any() or (result > steps.high).any()) for result in results)
    return replace(fast, clamp=clamp)


def _offsets(
    steps: Steps, rows: Ints, multiplier: Ints, target: Ints, signed: bool, scale: int
) -> tuple[Ints, Ints, Ints]:
    """(least offset, largest offset, sign) of the channels ``rows``: no offset serves where least > largest."""
    at, first, last = steps.at[rows], steps.sum_low[rows], steps.sum_high[rows]
    need = -(-target // multiplier[:, None])  # the least sum that gives each value
    before = at - 1
    reached, unreached = at <= last, before >= first
    least = np.where(reached, need - at * scale, -_NONE)
    most = np.where(unreached, need - 1 - before * scale, _NONE)
    if not signed:
        lower, upper = least.max(axis=1, initial=-_NONE), most.min(axis=1, initial=_NONE)
        return *_bounded(lower, upper), np.zeros_like(lower)
    low_plus = np.where(at >= 0, least, -_NONE).max(axis=1, initial=-_NONE)
    low_minus = np.where(at < 0, least, -_NONE).max(axis=1, initial=-_NONE)
    high_plus = np.where(before >= 0, most, _NONE).min(axis=1, initial=_NONE)
    high_minus = np.where(before < 0, most, _NONE).min(axis=1, initial=_NONE)
    sign = np.clip((np.maximum(low_plus - high_minus, 0) + high_plus - low_minus) // 2, 0, 2 * scale)
    # With its offset a sum that counts must have the sign that it has without.
    plus = np.minimum(np.where((at >= 0) & reached, at, _NONE), np.where((before >= 0) & unreached, before, _NONE))
    minus = np.maximum(np.where((at < 0) & reached, at, -_NONE), np.where((before < 0) & unreached, before, -_NONE))
    room_below, room_above = plus.min(axis=1, initial=2**32), -minus.max(axis=1, initial=-(2**32))
    lower = np.maximum(np.maximum(low_plus, low_minus + sign), -room_below * scale)
    upper = np.minimum(np.minimum(high_plus, high_minus + sign), room_above * scale - 1)
    return *_bounded(lower, upper), sign


def _bounded(lower: Ints, upper: Ints) -> tuple[Ints, Ints]:
    """An interval that is open at one end is reduced to the other."""
    return np.where(lower < -(2**60), upper, lower), np.where(upper > 2**60, lower, upper)
