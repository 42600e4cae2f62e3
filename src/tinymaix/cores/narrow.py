"""Functions for cores that cannot multiply 32 by 32 bits into 64: same prototypes and bits as the portable ones."""

from __future__ import annotations

from tinymaix.ops.emit import Kernel

MUL_HIGH = Kernel(
    "mul_high",
    """\
/* (2 * x * multiplier) >> 32, half rounded up, for a multiplier >= 0: four products of 16 by 16 bits on |x|.
 * floor((-p + 2^30) / 2^31) = -floor((p + 2^30 - 1) / 2^31) takes the sign back. */
static int32_t mul_high(int32_t x, int32_t multiplier)
{
    uint32_t size = x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
    uint16_t x0 = (uint16_t)size, x1 = (uint16_t)(size >> 16);
    uint16_t m0 = (uint16_t)multiplier, m1 = (uint16_t)((uint32_t)multiplier >> 16);
    uint32_t low = (uint32_t)x0 * m0;
    uint32_t middle = (uint32_t)x1 * m0 + (uint32_t)x0 * m1; /* below 2^32: x1 <= 2^15 and m1 < 2^15 */
    uint32_t high = (uint32_t)x1 * m1 + (middle >> 16);
    uint32_t half = (UINT32_C(1) << 30) - (x < 0);
    uint32_t sum = low + (middle << 16);
    high += sum < low;
    sum += half;
    high += sum < half;
    high = (high << 1) | (sum >> 31);
    return x < 0 ? (int32_t)(0u - high) : (int32_t)high;
}
""",
)
