"""What the kernels of Armv7E-M share beside their sums: a clamp behind them, and one weighted value."""

from __future__ import annotations

from dataclasses import replace

from tinymaix.graph import Node
from tinymaix.ops.emit import Implementation, Kernel, LayerCode


def clamped(implementation: Implementation, node: Node, clamp: bool, limits: tuple[int, int]) -> Implementation:
    """The implementation with a pass over its output behind it where ``clamp``: for kernels that saturate to int8 only.

    Four bytes a turn take six instructions; in a kernel, compare and move would be as many for one or two outputs.
    """
    if not clamp:
        return implementation

    def emit(code: LayerCode) -> None:
        implementation.emit(code)
        low, high = limits
        code.call(CLAMP_ALL_S8, y=code.output(), n=node.output.elements, low=low, high=high)

    return replace(implementation, emit=emit, reason=f"{implementation.reason}; then clamped")


CLAMP_ALL_S8 = Kernel(
    "clamp_all_s8",
    """\
#if defined(__ARM_FEATURE_DSP)
/* The larger of each pair of bytes (SSUB8 leaves in the flags which it is) */
static inline uint32_t larger_4(uint32_t a, uint32_t b)
{
    uint32_t y;
    __asm__("ssub8 %0, %1, %2\\n\\tsel %0, %1, %2" : "=&r"(y) : "r"(a), "r"(b));
    return y;
}

/* The smaller of each pair of bytes */
static inline uint32_t smaller_4(uint32_t a, uint32_t b)
{
    uint32_t y;
    __asm__("ssub8 %0, %1, %2\\n\\tsel %0, %2, %1" : "=&r"(y) : "r"(a), "r"(b));
    return y;
}
#endif

/* Clamps to [low, high] in place. */
static __attribute__((noinline)) void clamp_all_s8(int8_t *y, int n, int low, int high)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t lows = (uint8_t)low * UINT32_C(0x01010101), highs = (uint8_t)high * UINT32_C(0x01010101);
    for (; n >= 4; n -= 4, y += 4) {
        uint32_t word;
        memcpy(&word, y, 4);
        word = smaller_4(larger_4(word, lows), highs);
        memcpy(y, &word, 4);
    }
#endif
    for (int i = 0; i < n; i++)
        y[i] = (int8_t)(y[i] < low ? low : y[i] > high ? high : y[i]);
}
""",
)

WEIGHTED = (
    Kernel(
        "weighted",
        """\
#if !defined(__ARM_FEATURE_DSP)
/* SMLAWB: sum + (x * multiplier >> 16), modulo 2^32; x has 16 bits */
static inline int32_t weighted(int32_t x, int32_t multiplier, int32_t sum)
{
    return (int32_t)((uint32_t)sum + (uint32_t)(((int64_t)x * multiplier) >> 16));
}
#endif
""",
    ),
    Kernel(
        "saturated_s8",
        """\
#if !defined(__ARM_FEATURE_DSP)
/* SSAT: value >> shift, saturated to int8 */
static inline int8_t saturated_s8(int32_t value, int shift)
{
    value >>= shift;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
#endif
""",
    ),
)
"""What the portable twins of the kernels with a `LinearRequant` call."""
