"""The functions that AVR has better ones for than the portable C, by the name of the portable one.

avr-gcc multiplies 64-bit integers by a library call and shifts them bit by bit, and it extends every product to 32 bits
before it adds. The assembly below keeps to the instruction set of every AVR with MUL.
"""

from __future__ import annotations

from collections.abc import Mapping

from tinymaix.cores.avr.convolution import convolution, depthwise
from tinymaix.ops.emit import Kernel


def _product_bytes() -> str:
    """32 x 32 -> 64 bits, unsigned: the products of equal bytes are placed, the others added with their carries."""
    x, m = [f"%{byte}[x]" for byte in "ABCD"], [f"%{byte}[m]" for byte in "ABCD"]
    p = [f"%{byte}[low]" for byte in "ABCD"] + [f"%{byte}[high]" for byte in "ABCD"]
    lines = [line for i in range(4) for line in (f"mul {x[i]}, {m[i]}", f"movw {p[2 * i]}, r0")]
    for i in range(4):
        for j in range(4):
            if i != j:
                k = i + j
                lines += [f"mul {x[i]}, {m[j]}", f"add {p[k]}, r0", f"adc {p[k + 1]}, r1"]
                lines += [f"adc {byte}, %[zero]" for byte in p[k + 2 :]]
    return "\n".join(f'            "{line}\\n\\t"' for line in [*lines, "clr __zero_reg__"])


MUL_HIGH = Kernel(
    "mul_high",
    f"""\
/* (2 * x * multiplier) >> 32, half rounded up: 16 products of bytes, then the signs and the rounding */
static __attribute__((noinline)) int32_t mul_high(int32_t x, int32_t multiplier)
{{
    uint32_t low, high;
    __asm__(
{_product_bytes()}
            : [low] "=&r"(low), [high] "=&r"(high)
            : [x] "r"(x), [m] "r"(multiplier), [zero] "r"((uint8_t)0)
            : "r0");
    if (x < 0)
        high -= (uint32_t)multiplier;
    if (multiplier < 0)
        high -= (uint32_t)x;
    uint32_t rounded = low + (UINT32_C(1) << 30);
    high += rounded < low;
    return (int32_t)((high << 1) | ((uint8_t)(rounded >> 24) >> 7));
}}
""",
)

DOT_S8 = Kernel(
    "dot_s8",
    """\
/* sum + x . w, with w in flash: 19 cycles a product */
static __attribute__((noinline)) int32_t dot_s8(int32_t sum, const int8_t *x, const int8_t *w, int count)
{
    int8_t a, b;
    uint8_t sign;
    if (count > 0)
        __asm__ volatile(
            "1: ld %[a], %a[x]+\\n\\t"
            "lpm %[b], %a[w]+\\n\\t"
            "muls %[a], %[b]\\n\\t"
            "clr %[sign]\\n\\t"
            "sbrc r1, 7\\n\\t"
            "com %[sign]\\n\\t"
            "add %A[sum], r0\\n\\t"
            "adc %B[sum], r1\\n\\t"
            "adc %C[sum], %[sign]\\n\\t"
            "adc %D[sum], %[sign]\\n\\t"
            "sbiw %[count], 1\\n\\t"
            "brne 1b\\n\\t"
            "clr __zero_reg__"
            : [sum] "+r"(sum), [x] "+x"(x), [w] "+z"(w), [count] "+w"(count), [a] "=&d"(a), [b] "=&d"(b),
              [sign] "=&r"(sign)
            :
            : "r0", "memory");
    return sum;
}
""",
)

REQUANTIZE = Kernel(
    "requantize",
    """\
/* x * multiplier * 2^(shift - 31), rounded twice as TFLM's reference kernels do. The second rounding, half away from
 * zero, is floor((floor((x - (x < 0)) / 2^(right - 1)) + 1) / 2): one shift, whole bytes first. */
static __attribute__((noinline)) int32_t requantize(int32_t x, int32_t multiplier, int8_t shift)
{
    if (shift > 0)
        return mul_high((int32_t)((uint32_t)x << shift), multiplier);
    x = mul_high(x, multiplier);
    if (shift == 0)
        return x;
    if (x < 0)
        x--;
    uint8_t right = (uint8_t)(-shift - 1);
    for (; right >= 8; right -= 8)
        x >>= 8;
    for (; right > 0; right--)
        x >>= 1;
    return (x + 1) >> 1;
}
""",
    (MUL_HIGH,),
)

KERNELS: Mapping[str, Kernel] = {kernel.name: kernel for kernel in (MUL_HIGH, DOT_S8, REQUANTIZE)}
CHOOSERS = {"CONV_2D": convolution, "DEPTHWISE_CONV_2D": depthwise}
