"""1 / sqrt of a whole number as a Q31 multiplier and a shift: Newton-Raphson in Q3.28, as TFLM's reference kernels do
it (GetInvSqrtQuantizedMultiplierExp)."""

from __future__ import annotations

from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import INT32_MAX, INT32_MIN, MUL_HIGH

_ONE_AND_A_HALF = 3 << 27  # Q3.28
_HALF_ROOT_OF_TWO = 1518500250  # Q0.31
STEPS = 5


def inverse_root(value: int) -> tuple[int, int]:
    """(multiplier, shift) with multiplier * 2**(shift - 31) ~ 1 / sqrt(value); ``value`` from 0 on, 0 counts as 1."""
    if value <= 1:
        return INT32_MAX, 0
    shift = 11
    while value >= 1 << 29:
        value, shift = value // 4, shift + 1
    pairs = (31 - value.bit_length()) // 2 - 1
    value, shift = value << 2 * pairs, shift - pairs
    half = ((value >> 1) + 1) >> 1
    x = 1 << 28
    for _ in range(STEPS):
        cube = _left(_high(_high(x, x), x), 6)
        x = _left(_high(_ONE_AND_A_HALF, x) - _high(half, cube), 3)
    x = _high(x, _HALF_ROOT_OF_TWO)
    return (x << -shift, 0) if shift < 0 else (x, -shift)


def _high(a: int, b: int) -> int:
    return (a * b + (1 << 30)) >> 31


def _left(x: int, bits: int) -> int:
    return min(max(x << bits, INT32_MIN), INT32_MAX)


INVERSE_ROOT = Kernel(
    "inverse_root",
    """\
/* multiplier * 2^(shift - 31) ~ 1 / sqrt(value), by Newton-Raphson in Q3.28 */
static int32_t inverse_root(int32_t value, int *shift)
{
    *shift = 0;
    if (value <= 1)
        return INT32_MAX;
    int right = 11;
    for (; value >= INT32_C(1) << 29; value /= 4)
        right++;
    for (; value < INT32_C(1) << 27; value *= 4)
        right--;
    int32_t half = ((value >> 1) + 1) >> 1, x = INT32_C(1) << 28;
    for (int i = 0; i < 5; i++) {
        int32_t cube = mul_high(mul_high(x, x), x);
        cube = cube > INT32_MAX >> 6 ? INT32_MAX : (int32_t)((uint32_t)cube << 6);
        int32_t next = mul_high(INT32_C(402653184), x) - mul_high(half, cube);
        x = next > INT32_MAX >> 3 ? INT32_MAX : next < -(INT32_MAX >> 3) ? -INT32_MAX : next * 8;
    }
    x = mul_high(x, INT32_C(1518500250));
    *shift = right < 0 ? 0 : -right;
    return right < 0 ? (int32_t)((uint32_t)x << -right) : x;
}
""",
    (MUL_HIGH,),
)
