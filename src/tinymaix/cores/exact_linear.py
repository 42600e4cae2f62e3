"""Requantization of sums of a few small integers in 32 bits, proven equal to the reference on every input there is.

    y = saturate((offset + sum of (multiplier * x >> below)) >> shift)

serves additions (two int8 operands) and means (one sum). There are at most 65,536 inputs, so the proof is to compute
all of them: each asks for an interval of offsets, and any offset in all intervals serves. Multipliers a little larger
or smaller are tried where there is none: larger ones round halves away from zero on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinymaix.cores.exact_requantize import Ints

LARGEST = 2**31
_NONE = 2**40  # beyond every offset


@dataclass(frozen=True)
class LinearRequant:
    """Constants of the formula above, each within 32 bits as are all sums."""

    multipliers: tuple[int, ...]
    offset: int
    below: int  # bits that each product loses before it is added
    shift: int
    clamp: bool  # whether a clamp narrower than int8 can act after the saturation

    def apply(self, *operands: Ints) -> Ints:
        """The fast form in numpy on operands that broadcast -> int8 values in int64."""
        return np.asarray(
            np.clip((_products(operands, self.multipliers, self.below) + self.offset) >> self.shift, -128, 127)
        )


def prove_linear(
    wanted: Ints,
    limits: tuple[int, int],
    operands: Sequence[Ints],
    gains: Sequence[float],
    below: int,
    shifts: Sequence[int],
) -> LinearRequant | None:
    """The fast form that gives ``wanted`` for all ``operands``, None where none is found.

    Args:
        wanted: outputs within ``limits``, for operands that broadcast to its shape.
        limits: the lowest and highest output of the fused activation.
        operands: every value of each operand.
        gains: about how much of the output one of each operand is.
        below: see the formula.
        shifts: tried in order. Few are asked for, since each needs a kernel of its own.
    """
    for shift in shifts:
        for slope in _slopes():
            multipliers = tuple(round(gain * slope * 2.0 ** (shift + below)) for gain in gains)
            fast = _solve(wanted, limits, operands, multipliers, below, shift)
            if fast is not None:
                return fast
    return None


def _slopes() -> Iterator[float]:
    """1, then steeper and flatter, from the least difference that can count."""
    yield 1.0
    for bit in range(26, 13, -1):
        yield 1.0 + 2.0**-bit
        yield 1.0 - 2.0**-bit


def _products(operands: Sequence[Ints], multipliers: Sequence[int], below: int) -> Ints:
    total = np.zeros((), np.int64)
    for x, multiplier in zip(operands, multipliers, strict=True):
        total = total + ((x.astype(np.int64) * multiplier) >> below)
    return total


def _solve(
    wanted: Ints,
    limits: tuple[int, int],
    operands: Sequence[Ints],
    multipliers: tuple[int, ...],
    below: int,
    shift: int,
) -> LinearRequant | None:
    if max(map(abs, multipliers)) >= LARGEST:
        return None
    products = _products(operands, multipliers, below)
    least = (wanted << shift) - products
    lower = int(least.max(initial=-_NONE, where=wanted > limits[0]))
    upper = int(least.min(initial=_NONE, where=wanted < limits[1])) + (1 << shift) - 1
    if lower > upper:
        return None
    if lower == -_NONE or upper >= _NONE:  # open at one end or at both, as where the output is constant
        lower, upper = (lower, lower) if upper >= _NONE else (upper, upper)
    offset = lower + (upper - lower) // 2
    ends = int(products.min()) + offset, int(products.max()) + offset
    if max(abs(offset), *map(abs, ends)) >= LARGEST:
        return None
    clamp = max(ends[0] >> shift, -128) < limits[0] or min(ends[1] >> shift, 127) > limits[1]
    return LinearRequant(multipliers, offset, below, shift, clamp)
