"""The dot products that portable kernels share, with two products an instruction: LSTM, int16, and all in "flash"."""

from __future__ import annotations

from tinymaix.cores.armv7em.assembly import DOT_PAIR, EVEN_BYTES
from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.ops.accumulate import DOT_S8
from tinymaix.ops.emit import Kernel
from tinymaix.ops.wide import DOT_S16

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

LOAD_2 = Kernel(
    "load_2",
    """\
/* Two halfwords as a word; they need not be aligned */
static inline uint32_t load_2(const int16_t *x)
{
    uint32_t word;
    memcpy(&word, x, 4);
    return word;
}
""",
)

WIDE_4 = Kernel(
    "wide_4",
    """\
/* sum + the products of four halfwords, in two words, and the bytes of a word */
static inline int32_t wide_4(int32_t sum, uint32_t x01, uint32_t x23, uint32_t w)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t p, q;
    __asm__(
        "sxtb16 %1, %3\\n\\t"
        "sxtb16 %2, %3, ror #8\\n\\t"
        "pkhbt %3, %1, %2, lsl #16\\n\\t"
        "pkhtb %2, %2, %1, asr #16\\n\\t"
        "smlad %0, %3, %4, %0\\n\\t"
        "smlad %0, %2, %5, %0"
        : "+r"(sum), "=&r"(p), "=&r"(q), "+r"(w)
        : "r"(x01), "r"(x23));
    return sum;
#else
    uint32_t even = even_bytes(w), odd = even_bytes(w >> 8);
    uint32_t first = dot_pair((uint16_t)even | odd << 16, x01), second = dot_pair(even >> 16 | (odd & 0xFFFF0000), x23);
    return (int32_t)((uint32_t)sum + first + second);
#endif
}
""",
    (DOT_PAIR, EVEN_BYTES),
)

DOT_WIDE = Kernel(
    DOT_S16.name,
    """\
/* x . w, of up to 256 products, by words that need not be aligned */
static __attribute__((noinline)) int32_t dot_s16(const int16_t *x, const int8_t *w, int count)
{
    int32_t sum = 0;
    for (; count >= 8; count -= 8, x += 8, w += 8) {
        sum = wide_4(sum, load_2(x), load_2(x + 2), load_4(w));
        sum = wide_4(sum, load_2(x + 4), load_2(x + 6), load_4(w + 4));
    }
    for (; count >= 4; count -= 4, x += 4, w += 4)
        sum = wide_4(sum, load_2(x), load_2(x + 2), load_4(w));
    for (; count > 0; count--)
        sum += *x++ * *w++;
    return sum;
}
""",
    (LOAD_4, LOAD_2, WIDE_4),
)
"""In place of the portable function, and alike."""
