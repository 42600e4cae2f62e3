"""What the kernels of Armv7E-M share behind their sums: the finish to int8, a clamp, and the twins in C of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinymaix.cores.exact_high import HighRequant
from tinymaix.graph import Node
from tinymaix.ops.emit import Implementation, Kernel, LayerCode


def finish_lines(
    sums: Sequence[str], constants: Sequence[str], requant: HighRequant, center: str = "", temporary: str = ""
) -> list[str]:
    """Assembly that makes int8 of the sums of one channel, in place: two to six instructions a sum.

    Args:
        sums: registers, in which the results stay.
        constants: registers with the channel's row of `HighRequant.constants`; they stay as they are.
        center: register with `HighRequant.center`; it is read where the layer is signed.
        temporary: a register that is lost where the layer is signed.
    """
    multiplier, *others = constants
    asr = f", asr #{requant.shift}" if requant.shift else ""
    lines = []
    for total in sums:
        if requant.signed:
            lines += [f"and {temporary}, {others[0]}, {total}, asr #31", f"sub {total}, {total}, {temporary}"]
        if requant.signed and not requant.varied:
            lines += [f"smmla {total}, {total}, {multiplier}, {center}"]
        else:
            lines += [f"smmul {total}, {total}, {multiplier}"]
        if requant.varied:
            lines += [f"asr {total}, {total}, {others[-1]}"]
            lines += [f"add {total}, {total}, {center}"] if requant.signed else []
        lines += [f"ssat {total}, #8, {total}{asr}"]
    return lines


def twin_finish(requant: HighRequant) -> str:
    """The C expression that makes int8 of uint32_t ``sum`` with the words at ``constant``, by FINISHED_S8."""
    sign = "constant[1]" if requant.signed else "0"
    right = f"constant[{1 + requant.signed}]" if requant.varied else "0"
    return f"finished_s8(sum, constant[0], {sign}, {right}, center, {requant.shift})"


FINISHED_S8 = Kernel(
    "finished_s8",
    """\
#if !defined(__ARM_FEATURE_DSP)
/* (center + (sum * multiplier >> 32 >> right)) >> shift, saturated to int8; negative sums are less by `sign` */
static inline int8_t finished_s8(
    uint32_t sum, int32_t multiplier, int32_t sign, int right, int32_t center, int shift)
{
    int32_t value = (int32_t)sum;
    value = (int32_t)(((int64_t)(value - (value < 0 ? sign : 0)) * multiplier) >> 32) >> right;
    value = (center + value) >> shift;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
#endif
""",
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
static inline uint32_t larger_4(uint32_t a, uint32_t b)
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

WEIGHTED = Kernel(
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
)

SATURATED_S8 = Kernel(
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
)
