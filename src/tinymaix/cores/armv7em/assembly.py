"""Functions that are all assembly, and the twins in C of the instructions that they are made of."""

from __future__ import annotations

from collections.abc import Iterable

from tinymaix.ops.emit import Kernel

NAKED = "NAKED"
"""What begins a function that is all assembly, in C; the kernel needs ASSEMBLY then."""

ASSEMBLY = Kernel(
    "NAKED",
    """\
/* Of functions that are all assembly. used: the compiler sees no use of the arguments and must not drop them.
 * aligned(4): ADR counts from a word, also where -Os aligns functions to halfwords. */
#if defined(__ARM_FEATURE_DSP)
#define NAKED static __attribute__((naked, noinline, used, aligned(4)))
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif
""",
)


def assembly(lines: Iterable[str]) -> str:
    """Lines of assembly as the string literals of an __asm__."""
    return "\n".join(f'        "{line}\\n\\t"' for line in lines)


def repeated(times: int, lines: Iterable[str]) -> list[str]:
    """Lines of assembly, repeated by the assembler."""
    return [f".rept {times}", *lines, ".endr"]


DOT_PAIR = Kernel(
    "dot_pair",
    """\
#if !defined(__ARM_FEATURE_DSP)
/* The sum of the products of two pairs of halfwords, modulo 2^32 */
static inline uint32_t dot_pair(uint32_t a, uint32_t b)
{
    return (uint32_t)((int32_t)(int16_t)a * (int16_t)b) + (uint32_t)((int32_t)(int16_t)(a >> 16) * (int16_t)(b >> 16));
}
#endif
""",
)

EVEN_BYTES = Kernel(
    "even_bytes",
    """\
#if !defined(__ARM_FEATURE_DSP)
/* The first and the third byte as halfwords */
static inline uint32_t even_bytes(uint32_t word)
{
    return (uint16_t)(int16_t)(int8_t)word | (uint32_t)(int16_t)(int8_t)(word >> 16) << 16;
}
#endif
""",
)
