"""Requantization of sums of a few small integers in 32 bits, proven equal to the reference on every input there is.

    y = saturate((offset + sum of (multiplier * x >> below)) >> shift)

serves additions (two int8 operands) and means (one sum). There are at most 65,536 inputs, so the proof is to compute
all of them: each asks for an interval of offsets, and any offset in all intervals serves. Multipliers a little larger
or smaller are tried where there is none: larger ones round halves away from zero on both sides. Where sums of both
signs are rounded twice, a constant that depends on the sign serves:

    y = saturate((center + total - (total < 0 ? sign : 0)) >> shift)      total = offset + sum of ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tinymaix.cores.exact_requantize import Ints

Mask = npt.NDArray[np.bool_]
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
    signed: bool = False  # which of the two formulas
    sign: int = 0  # 0 where not signed
    center: int = 0  # 0 where not signed

    def apply(self, *operands: Ints) -> Ints:
        """The fast form in numpy on operands that broadcast -> int8 values in int64."""
        return np.asarray(np.clip(self.finish(_products(operands, self.multipliers, self.below)), -128, 127))

    def finish(self, products: Ints) -> Ints:
        """Outputs before the saturation."""
        total = products + self.offset
        return np.asarray((self.center + total - np.where(total < 0, self.sign, 0)) >> self.shift)


def prove_linear(
    wanted: Ints,
    limits: tuple[int, int],
    operands: Sequence[Ints],
    gains: Sequence[float],
    below: int,
    shifts: Sequence[int],
    zeros: Sequence[int] | None = None,
) -> LinearRequant | None:
    """The fast form that gives ``wanted`` for all ``operands``, None where none is found.

    Args:
        wanted: outputs within ``limits``, for operands that broadcast to its shape.
        limits: the lowest and highest output of the fused activation.
        operands: every value of each operand.
        gains: about how much of the output one of each operand is.
        below: see the formula.
        shifts: tried in order. Few are asked for, since each needs a kernel of its own.
        zeros: the operands' values of which the reference sees a sum without sign, where the kernel takes signs.
    """
    for origin in (None, zeros) if zeros else (None,):
        for shift in shifts:
            for slope in _slopes():
                multipliers = tuple(round(gain * slope * 2.0 ** (shift + below)) for gain in gains)
                if max(map(abs, multipliers)) >= LARGEST:
                    continue
                fast = _solve(wanted, limits, operands, multipliers, below, shift, origin)
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
    origin: Sequence[int] | None,
) -> LinearRequant | None:
    products = _products(operands, multipliers, below)
    if origin is None:
        offset = _offset(wanted, limits, products, shift, np.full_like(wanted, True, bool))
        fast = None if offset is None else LinearRequant(multipliers, offset, below, shift, clamp=False)
    else:
        offset = -int(_products([np.array(zero) for zero in origin], multipliers, below))
        total = products + offset
        center, lower = (_offset(wanted, limits, total, shift, part) for part in (total >= 0, total < 0))
        if center is None or lower is None:
            return None
        fast = LinearRequant(multipliers, offset, below, shift, False, True, center - lower, center)
    if fast is None:
        return None
    ends = np.array([products.min(), products.max()])
    largest = np.abs(ends + fast.offset).max() + abs(fast.center) + abs(fast.sign)
    if max(largest, abs(fast.offset)) >= LARGEST:
        return None
    first, last = np.clip(fast.finish(ends), -128, 127)
    return replace(fast, clamp=bool(first < limits[0] or last > limits[1]))


def _offset(wanted: Ints, limits: tuple[int, int], products: Ints, shift: int, where: Mask) -> int | None:
    """What must be added to the products ``where`` it counts, so that a shift gives what is wanted; None: nothing."""
    least = (wanted << shift) - products
    lower = int(least.max(initial=-_NONE, where=where & (wanted > limits[0])))
    upper = int(least.min(initial=_NONE, where=where & (wanted < limits[1]))) + (1 << shift) - 1
    if lower > upper:
        return None
    if lower == -_NONE or upper >= _NONE:  # open at an end
        return upper if upper < _NONE else lower if lower > -_NONE else 0
    return lower + (upper - lower) // 2
