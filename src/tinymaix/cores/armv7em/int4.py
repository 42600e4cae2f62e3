"""Dot products of activations with unpacked int4 weights on Armv7E-M: four products by two SMLAD."""

from __future__ import annotations

from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.ops.emit import Kernel
from tinymaix.ops.int4 import DOT_UNPACKED

DOT_WORD = Kernel(
    "dot_word",
    """\
#if defined(__ARM_FEATURE_DSP)
/* sum + the four products of the bytes of two words */
static inline int32_t dot_word(int32_t sum, uint32_t a, uint32_t b)
{
    uint32_t c, d;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(c) : "r"(a));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(d) : "r"(b));
    __asm__("sxtb16 %0, %1" : "=r"(a) : "r"(a));
    __asm__("sxtb16 %0, %1" : "=r"(b) : "r"(b));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(c), "r"(d));
    return sum;
}
#endif
""",
)

DOT_UNPACKED_DSP = Kernel(
    DOT_UNPACKED.name,
    """\
/* sum + x . w, both in RAM */
static __attribute__((noinline)) int32_t dot_unpacked(int32_t sum, const int8_t *x, const int8_t *w, int count)
{
#if defined(__ARM_FEATURE_DSP)
    for (; count >= 8; count -= 8, x += 8, w += 8) {
        sum = dot_word(sum, load_4(x), load_4(w));
        sum = dot_word(sum, load_4(x + 4), load_4(w + 4));
    }
    if (count >= 4) {
        sum = dot_word(sum, load_4(x), load_4(w));
        count -= 4;
        x += 4;
        w += 4;
    }
#endif
    for (; count > 0; count--)
        sum += *x++ * *w++;
    return sum;
}
""",
    (LOAD_4, DOT_WORD),
)
"""In place of the portable function, and alike."""
