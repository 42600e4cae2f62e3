"""The product of two columns of activations with all output channels: three channels a turn, two MACs an instruction.

Columns are activations times 256 as halfwords, the two columns side by side: (c0, c2) of the first, of the second,
(c1, c3) of the first, of the second, and so on. The loop is entered in its middle where a turn does more than what is
left over of the taps. All of it is one function in assembly, since six sums, five operands and three pointers take
every register that there is.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinymaix.cores.exact_high import HighRequant
from tinymaix.ops.emit import Kernel

NAKED = "static __attribute__((naked, noinline, used, aligned(4)))"
"""Of a function that is all assembly. used: the compiler sees no use of the arguments and must not drop them.
aligned(4): ADR counts from a word, also where -Os aligns functions to halfwords."""

SUMS = ("r8", "r9", "r10", "r11", "r12", "lr")
"""Sums of channel 0 for both columns, of channel 1, of channel 2."""
TURN = 8
"""Steps of the unrolled loop: of four taps where weights are bytes, of two where they are halfwords."""


def name_of(kind: str, requant: HighRequant, wide: bool) -> str:
    """dot_columns_12, dot_columns_w8_signed_10, ..."""
    return f"{kind}{'' if wide else '_w8'}{'_signed' if requant.signed else ''}_{requant.shift}"


def assembly(lines: Iterable[str]) -> str:
    """Lines of assembly as the string literals of an __asm__."""
    return "\n".join(f'        "{line}\\n\\t"' for line in lines)


def requantized(sums: Iterable[str], multiplier: str, requant: HighRequant) -> list[str]:
    """Sums of one channel to int8, in place. Signed: sign in r4, center in r2, r5 is lost."""
    asr = f", asr #{requant.shift}" if requant.shift else ""
    lines = []
    for total in sums:
        if requant.signed:
            lines += [f"and r5, r4, {total}, asr #31", f"sub {total}, {total}, r5"]
            lines += [f"smmla {total}, {total}, {multiplier}, r2"]
        else:
            lines += [f"smmul {total}, {total}, {multiplier}"]
        lines += [f"ssat {total}, #8, {total}{asr}"]
    return lines


def _steps(channels: int, wide: bool) -> list[str]:
    """One step of the loop: r0 walks the weights, r1 the columns."""
    if wide:
        loads = {3: ["ldm.w r0!, {r3, r4, r5}"], 2: ["ldrd r3, r4, [r0], #8"], 1: ["ldr.w r3, [r0], #4"]}[channels]
        lines = [*loads, "ldrd r6, r7, [r1], #8"]
        for channel in range(channels):
            lines += [
                f"smlad {SUMS[2 * channel + c]}, r{3 + channel}, r{6 + c}, {SUMS[2 * channel + c]}" for c in (0, 1)
            ]
        return lines
    lines = ["ldm.w r1!, {r4, r5, r6, r7}"]
    for channel in range(channels):
        first, second = SUMS[2 * channel : 2 * channel + 2]
        lines += ["ldr.w r3, [r0], #4", "sxtb16 r2, r3", "sxtb16 r3, r3, ror #8"]
        lines += [f"smlad {first}, r2, r4, {first}", f"smlad {second}, r2, r5, {second}"]
        lines += [f"smlad {first}, r3, r6, {first}", f"smlad {second}, r3, r7, {second}"]
    return lines


def _enter(channels: int, wide: bool, label: int) -> list[str]:
    """r5 = where the loop at ``label`` is entered: behind the steps that its first turn leaves out, r4 in number."""
    return [f"movs r5, #{4 * _words(channels, wide)}", "mul r5, r4, r5", f"adr.w r6, {label}f", "add r5, r5, r6",
            "orr r5, r5, #1"]  # fmt: skip


def _words(channels: int, wide: bool) -> int:
    """Instructions of a step, each of 4 bytes."""
    return len(_steps(channels, wide))


def _block(channels: int, wide: bool, requant: HighRequant, label: int) -> list[str]:
    """One block of output channels; its loop is at ``label`` and is entered at the address in r5."""
    sums = SUMS[: 2 * channels]
    firsts, seconds = sums[::2], sums[1::2]
    lines = [f"ldm.w r0!, {{{', '.join(firsts)}}}" if channels > 1 else f"ldr.w {firsts[0]}, [r0], #4"]
    lines += [f"mov {second}, {first}" for first, second in zip(firsts, seconds, strict=True)]
    lines += ["ldr r1, [sp, #8]", *(["ldr r2, [sp, #16]"] if wide and requant.signed else [])]
    lines += ["ldr pc, [sp, #12]" if channels == 3 else "bx r5", f"{label}:"]
    lines += _steps(channels, wide) * (TURN if wide else TURN // 2)
    lines += [*([] if wide else ["ldr r2, [sp, #16]"]), "cmp r1, r2", f"bne.w {label}b"]
    if requant.signed:
        lines += ["ldr r2, [sp, #72]"]
        for channel in range(channels):
            lines += ["ldrd r3, r4, [r0], #8", *requantized(sums[2 * channel : 2 * channel + 2], "r3", requant)]
    else:
        constants = ("r3", "r4", "r5")[:channels]
        lines += [f"ldm.w r0!, {{{', '.join(constants)}}}" if channels > 1 else "ldr.w r3, [r0], #4"]
        for channel, multiplier in enumerate(constants):
            lines += requantized(sums[2 * channel : 2 * channel + 2], multiplier, requant)
    lines += ["ldrd r3, r4, [sp]"]
    lines += [f"strb {second}, [r4], #1" for second in seconds]  # first, since a lone column is given as both
    lines += [f"strb {first}, [r3], #1" for first in firsts]
    return lines


def dot_columns(requant: HighRequant, wide: bool) -> Kernel:
    """The kernel: dot_columns_12(stream, columns, end, y0, y1, triples, rest, center)."""
    name = name_of("dot_columns", requant, wide)
    code = [
        "push {r4-r11, lr}",
        "sub sp, #24",  # y0, y1, columns, entry, end, end of y0's triples; above it the arguments from sp + 60
        "sub r4, r1, r2",
        "ubfx r4, r4, #3, #3" if wide else "ubfx r4, r4, #4, #2",
        "str r1, [sp, #8]",
        "str r2, [sp, #16]",
        "ldr r5, [sp, #60]",
        "strd r3, r5, [sp]",
        "ldr r7, [sp, #64]",
        "cmp r7, #0",
        "beq.w 5f",
        "add r7, r3, r7",
        "str r7, [sp, #20]",
        *_enter(3, wide, 1),
        "str r5, [sp, #12]",
        "4:",
        *_block(3, wide, requant, 1),
        "strd r3, r4, [sp]",
        "ldr r5, [sp, #20]",
        "cmp r3, r5",
        "bne.w 4b",
        "ldr r1, [sp, #8]",
        "ldr r2, [sp, #16]",
        "sub r4, r1, r2",
        "ubfx r4, r4, #3, #3" if wide else "ubfx r4, r4, #4, #2",
        "5:",
        "ldr r3, [sp, #68]",
        "cmp r3, #1",
        "blt.w 7f",
        "beq.w 6f",
        *_enter(2, wide, 2),
        *_block(2, wide, requant, 2),
        "b.w 7f",
        "6:",
        *_enter(1, wide, 3),
        *_block(1, wide, requant, 3),
        "7:",
        "add sp, #24",
        "pop {r4-r11, pc}",
    ]
    weights = "halfwords" if wide else "bytes"
    return Kernel(
        name,
        f"""\
/* Two columns of activations with all channels, weights as {weights}: the outputs of two pixels. A block of the stream
 * is the first values of three sums (two or one at the end), their weights, and the constants of requantization. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} void {name}(
    const int32_t *stream, const uint32_t *columns, const uint32_t *end, int8_t *y0, int8_t *y1, int triples, int rest,
    int32_t center)
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static void {name}(
    const int32_t *stream, const uint32_t *columns, const uint32_t *end, int8_t *y0, int8_t *y1, int triples, int rest,
    int32_t center)
{{
    int steps = (int)(end - columns) / {2 if wide else 4}, block = 3;
    for (int channel = 0; channel < triples + rest; channel += block) {{
        block = channel < triples ? 3 : rest;
        const int32_t *constants = stream + block + steps * block;
        for (int i = 0; i < block; i++)
            for (int column = 0; column < 2; column++) {{
                uint32_t sum = (uint32_t)stream[i];
                const int32_t *w = stream + block + i;
                for (int step = 0; step < steps; step++, w += block)
                    sum += {_twin_step(wide)};
                const int32_t *constant = constants + {2 if requant.signed else 1} * i;
                (column ? y1 : y0)[channel + i] = {twin_requantize(requant)};
            }}
        stream = constants + {2 if requant.signed else 1} * block;
    }}
}}
#endif
""",
        twin_helpers(wide),
    )


def _twin_step(wide: bool) -> str:
    if wide:
        return "dot_pair((uint32_t)*w, columns[2 * step + column])"
    return (
        "dot_pair(even_bytes((uint32_t)*w), columns[4 * step + column])\n"
        "                           + dot_pair(even_bytes((uint32_t)*w >> 8), columns[4 * step + 2 + column])"
    )


def twin_requantize(requant: HighRequant) -> str:
    """The C expression that makes an int8 of uint32_t ``sum`` with the words at ``constant``."""
    sign = "constant[1]" if requant.signed else "0"
    return f"high_product(sum, constant[0], {sign}, center, {requant.shift})"


def twin_helpers(wide: bool) -> tuple[Kernel, ...]:
    """The functions that the portable twins of the kernels call."""
    return (DOT_PAIR, HIGH_PRODUCT) if wide else (DOT_PAIR, EVEN_BYTES, HIGH_PRODUCT)


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

HIGH_PRODUCT = Kernel(
    "high_product",
    """\
#if !defined(__ARM_FEATURE_DSP)
/* (center + (sum * multiplier >> 32)) >> shift, saturated to int8; from a negative sum `sign` is taken first */
static inline int8_t high_product(uint32_t sum, int32_t multiplier, int32_t sign, int32_t center, int shift)
{
    int32_t value = (int32_t)sum;
    value = (center + (int32_t)(((int64_t)(value - (value < 0 ? sign : 0)) * multiplier) >> 32)) >> shift;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
#endif
""",
)
