"""The dot product that the portable kernels share, with two products an instruction: LSTM, and all in "flash"."""

from __future__ import annotations

from tinymaix.cores.armv7em.assembly import DOT_PAIR, EVEN_BYTES
from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.ops.accumulate import DOT_S8
from tinymaix.ops.emit import Kernel

DOT_4 = Kernel(
    "dot_4",
    """\
/* sum + the products of the four bytes of two words */
static inline int32_t dot_4(int32_t sum, uint32_t a, uint32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t p, q;
    __asm__(
        "sxtb16 %1, %3\\n\\t"
        "sxtb16 %2, %4\\n\\t"
        "smlad %0, %1, %2, %0\\n\\t"
        "sxtb16 %1, %3, ror #8\\n\\t"
        "sxtb16 %2, %4, ror #8\\n\\t"
        "smlad %0, %1, %2, %0"
        : "+r"(sum), "=&r"(p), "=&r"(q)
        : "r"(a), "r"(b));
    return sum;
#else
    uint32_t odd = dot_pair(even_bytes(a >> 8), even_bytes(b >> 8));
    return (int32_t)((uint32_t)sum + dot_pair(even_bytes(a), even_bytes(b)) + odd);
#endif
}
""",
    (DOT_PAIR, EVEN_BYTES),
)

DOT_WORDS = Kernel(
    DOT_S8.name,
    """\
/* sum + x . w, by words that need not be aligned */
static __attribute__((noinline)) int32_t dot_s8(int32_t sum, const int8_t *x, const int8_t *w, int count)
{
    for (; count >= 16; count -= 16, x += 16, w += 16) {
        sum = dot_4(sum, load_4(x), load_4(w));
        sum = dot_4(sum, load_4(x + 4), load_4(w + 4));
        sum = dot_4(sum, load_4(x + 8), load_4(w + 8));
        sum = dot_4(sum, load_4(x + 12), load_4(w + 12));
    }
    for (; count >= 4; count -= 4, x += 4, w += 4)
        sum = dot_4(sum, load_4(x), load_4(w));
    for (; count > 0; count--)
        sum += *x++ * *w++;
    return sum;
}
""",
    (LOAD_4, DOT_4),
)
"""In place of the portable function, and alike."""
