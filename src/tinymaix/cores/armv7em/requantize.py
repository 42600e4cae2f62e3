"""What the kernels of Armv7E-M share behind their sums: the finish to int8 in assembly, and pieces of twins in C."""

from __future__ import annotations

from collections.abc import Sequence

from tinymaix.cores.exact_high import HighRequant
from tinymaix.ops.emit import Kernel


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
