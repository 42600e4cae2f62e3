"""Multipliers from float scales: what TFLite computes in double, with integers only."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device.runtime import Library


def expected(a: float, b: float, d: float) -> tuple[int, int]:
    """TFLite's QuantizeMultiplier of the double a * b / d (a * b is exact)."""
    fraction, shift = math.frexp(float(np.float32(a)) * float(np.float32(b)) / float(np.float32(d)))
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (multiplier, min(shift, 31))


def mantissa(m: int, exponent: int) -> float:
    return math.ldexp(m, exponent - 23)


MANTISSA = st.integers(2**23, 2**24 - 1)


@given(MANTISSA, MANTISSA, MANTISSA, st.integers(-30, 30), st.integers(-30, 30), st.integers(-30, 30))
def test_random(library: Library, a: int, b: int, d: int, ea: int, eb: int, ed: int) -> None:
    scales = mantissa(a, ea), mantissa(b, eb), mantissa(d, ed)
    assert library.scale(*scales) == expected(*scales)


def test_many(library: Library) -> None:
    rng = np.random.default_rng(1)
    for scales in np.exp(rng.uniform(-12, 2, (20000, 3))).astype(np.float32):
        a, b, d = map(float, scales)
        assert library.scale(a, b, d) == expected(a, b, d)


@pytest.mark.parametrize("distance", [-3, -1, 1, 3, 5, 7])
def test_double_rounding(library: Library, distance: int) -> None:
    """Where a double is rounded twice. The quotient a / d lies distance / (2 d) below a half of its 31st bit: up to
    d / 2^22, that is 1 to 3, the double rounds up to the half and is then rounded up again, unlike exact arithmetic.
    """
    hits = 0
    for d in range(2**23 + 1, 2**24, 10472):
        a = -distance * pow(2**32, -1, d) % d  # a * 2^32 = (2 * multiplier + 1) * d - distance
        if a < 2**23:
            continue
        hits += 1
        scales = mantissa(a, 0), 1.0, mantissa(d, 0)
        multiplier = expected(*scales)[0]
        assert library.scale(*scales)[0] == multiplier
        assert multiplier == (a * 2**31 // d) + (distance <= d >> 22)
    assert hits > 200


@pytest.mark.parametrize("scales", [(1.0, 0.0, 1.0), (1e-3, 1e-30, 1.0), (1e-38, 1e-40, 1.0), (1.0, 1e-45, 1.0)])
def test_vanishing(library: Library, scales: tuple[float, float, float]) -> None:
    assert library.scale(*scales) == (0, 0)


def test_huge_saturates(library: Library) -> None:
    assert library.scale(1e30, 1e8, 1e-30)[1] == 31


@pytest.mark.parametrize(
    ("x", "rounded"),
    [
        *[(0.5, 1), (-0.5, -1), (0.49999997, 0), (-0.49999997, 0), (1.5, 2), (2.5, 3), (-2.5, -3), (254.49998, 254)],
        *[
            (1e9, 2**22),
            (-1e9, -(2**22)),
            (math.inf, 2**22),
            (2.0**22, 2**22),
            (2.0**22 - 0.5, 2**22),
            (2.0**22 - 0.75, 2**22 - 1),
        ],
    ],
)
def test_round(library: Library, x: float, rounded: int) -> None:
    assert library.c.tm_round(x) == rounded
