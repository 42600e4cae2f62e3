"""What kernels of several families do with finished sums: to int8, and a clamp behind those that only saturate."""

from __future__ import annotations

from dataclasses import replace

from tinymaix.graph import Node
from tinymaix.ops.emit import Implementation, Kernel, LayerCode

HIGH_PRODUCT = Kernel(
    "high_product",
    """\
#if defined(__ARM_ARCH_6M__)
/* The high word of a product where there is none of 64 bits: of halfwords, b is not negative */
static inline int32_t high_product(int32_t a, int32_t b)
{
    int32_t high = a >> 16, upper = b >> 16;
    uint32_t low = (uint16_t)a, lower = (uint16_t)b;
    int32_t middle = (int32_t)((uint32_t)high * lower + (low * lower >> 16));
    return high * upper + (middle >> 16) + (int32_t)((low * (uint32_t)upper + (uint16_t)middle) >> 16);
}
#elif !defined(__ARM_FEATURE_DSP)
static inline int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)((int64_t)a * b >> 32);
}
#endif
""",
)

FINISHED_S8 = Kernel(
    "finished_s8",
    """\
#if !defined(__ARM_FEATURE_DSP)
/* (center + (sum * multiplier >> 32 >> right)) >> shift, saturated to int8; negative sums are less by `sign` */
static inline int8_t finished_s8(
    uint32_t sum, int32_t multiplier, int32_t sign, int right, int32_t center, int shift)
{
    int32_t value = (int32_t)sum;
    value = high_product(value - (value < 0 ? sign : 0), multiplier) >> right;
    value = (center + value) >> shift;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
#endif
""",
    (HIGH_PRODUCT,),
)


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


LARGER_4 = Kernel(
    "larger_4",
    """\
/* The larger of each pair of bytes (SSUB8 leaves in the flags which it is) */
static inline __attribute__((unused)) uint32_t larger_4(uint32_t a, uint32_t b)
{
    uint32_t y;
#if defined(__ARM_FEATURE_DSP)
    __asm__("ssub8 %0, %1, %2\\n\\tsel %0, %1, %2" : "=&r"(y) : "r"(a), "r"(b));
#else
    y = 0;
    for (int bits = 0; bits < 32; bits += 8)
        y |= ((int8_t)(a >> bits) > (int8_t)(b >> bits) ? a : b) & UINT32_C(255) << bits;
#endif
    return y;
}
""",
)

CLAMP_ALL_S8 = Kernel(
    "clamp_all_s8",
    """\
/* Clamps to [low, high] in place. ~ turns the order around: the smaller of two is ~ of the larger of both ~. */
static __attribute__((noinline)) void clamp_all_s8(int8_t *y, int n, int low, int high)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t lows = (uint8_t)low * UINT32_C(0x01010101), highs = (uint8_t)high * UINT32_C(0x01010101);
    for (; n >= 4; n -= 4, y += 4) {
        uint32_t word;
        memcpy(&word, y, 4);
        word = ~larger_4(~larger_4(word, lows), ~highs);
        memcpy(y, &word, 4);
    }
#endif
    for (int i = 0; i < n; i++)
        y[i] = (int8_t)(y[i] < low ? low : y[i] > high ? high : y[i]);
}
""",
    (LARGER_4,),
)
