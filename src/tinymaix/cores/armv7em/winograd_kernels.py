"""The three parts of Winograd's F(2x2, 3x3) on Armv7E-M: tiles of the input, their products, tiles of the output."""

from __future__ import annotations

from collections.abc import Sequence

from tinymaix.cores.armv7em.assembly import ASSEMBLY, NAKED, assembly, repeated
from tinymaix.cores.exact_high import SCALE
from tinymaix.cores.finish import FINISHED_S8
from tinymaix.cores.winograd import BLOCK, POSITIONS
from tinymaix.ops.emit import Kernel

TURN = 16
"""Steps of two channels that are unrolled."""
ENTRY, END, SIZE, PLACE, LAST, FRAME = 0, 4, 8, 12, 16, 20
"""Bytes from the stack pointer."""


def _row(free: list[str], shift: str) -> tuple[list[str], list[str]]:
    """Four pixels of the row at r1, r3 bytes apart: (d0 - d2, d1 + d2, d2 - d1, d1 - d3) in registers of ``free``."""
    d0, d1, d2, d3, extra = (free.pop() for _ in range(5))
    lines = [f"add {extra}, r1, r3, lsl #1", f"ldr {d0}, [r1]", f"ldr {d1}, [r1, r3]"]
    lines += [f"ldr {d2}, [r1, r3, lsl #1]", f"ldr {d3}, [{extra}, r3]"]
    lines += [f"sxtb16 {d}, {d}{shift}" for d in (d0, d1, d2, d3)]
    lines += [f"ssub16 {d0}, {d0}, {d2}", f"sadd16 {extra}, {d1}, {d2}", f"ssub16 {d2}, {d2}, {d1}"]
    free.append(d1)
    return [*lines, f"ssub16 {d3}, {d1}, {d3}"], [d0, extra, d2, d3]


def _column(operation: str, to: Sequence[str], a: Sequence[str], b: Sequence[str]) -> list[str]:
    """Four neighbouring positions, each a sum or difference of two rows' values, to r0, which goes on to the next."""
    lines = [f"{operation} {to[0]}, {a[0]}, {b[0]}", f"str {to[0]}, [r0]"]
    lines += [f"{operation} {to[1]}, {a[1]}, {b[1]}", f"str {to[1]}, [r0, r3, lsl #2]"]
    lines += [f"{operation} {to[2]}, {a[2]}, {b[2]}", f"str {to[2]}, [r0, r3, lsl #3]", "add r0, r0, r3, lsl #3"]
    lines += [f"{operation} {to[3]}, {a[3]}, {b[3]}", f"str {to[3]}, [r0, r3, lsl #2]", "add r0, r0, r3, lsl #3"]
    return lines


def _transform(shift: str) -> list[str]:
    """B' d B of every other of four channels of a tile; r1 and r0 come back, r0 two words further."""
    free = [f"r{i}" for i in range(4, 13)] + ["lr"]
    lines, row0 = _row(free, shift)
    more, row2 = _row(free, shift)
    lines += ["add r1, r1, r2, lsl #1", *more, *_column("ssub16", row0, row0, row2)]
    free += row0
    more, row1 = _row(free, shift)
    lines += ["sub r1, r1, r2", *more, *_column("sadd16", [free[-1]] * 4, row1, row2)]
    lines += _column("ssub16", row2, row2, row1)
    free += row2
    more, row3 = _row(free, shift)
    lines += ["add r1, r1, r2, lsl #1", *more, *_column("ssub16", row3, row1, row3)]
    return [*lines, "sub r1, r1, r2, lsl #2", "add r1, r1, r2", "sub r0, r0, r3, lsl #6", "adds r0, #8"]


def input_transform() -> Kernel:
    code = ["push {r4-r11, lr}", "add r4, r1, r3", "push {r3, r4}", "1:", *_transform(""), *_transform(", ror #8")]
    code += ["ldr r4, [sp, #4]", "adds r1, #4", "cmp r1, r4", "bne.w 1b", "add sp, #8", "pop {r4-r11, pc}"]
    prototype = "void winograd_input(uint32_t *to, const int8_t *d, int step, int in_c)"
    return Kernel(
        "winograd_input",
        f"""\
/* B' d B of a tile, all channels: pixels are in_c bytes apart, rows ``step`` bytes */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static {prototype}
{{
    for (int c = 0; c < in_c; c++, to += c % 2 ? 0 : 2) {{
        int channel = c / 4 * 4 + c % 4 / 2 + c % 2 * 2, d1[4][4];
        for (int j = 0; j < 4; j++) {{
            const int8_t *column = d + j * in_c + channel;
            d1[0][j] = column[0] - column[2 * step];
            d1[1][j] = column[step] + column[2 * step];
            d1[2][j] = column[2 * step] - column[step];
            d1[3][j] = column[step] - column[3 * step];
        }}
        for (int i = 0; i < 4; i++) {{
            int row[4] = {{d1[i][0] - d1[i][2], d1[i][1] + d1[i][2], d1[i][2] - d1[i][1], d1[i][1] - d1[i][3]}};
            for (int j = 0; j < 4; j++)
                ((int16_t *)(to + (4 * i + j) * in_c))[c % 2] = (int16_t)row[j];
        }}
    }}
}}
#endif
""",
        (ASSEMBLY,),
    )


def _step(product: str = "smlad {0}, {1}, {0}") -> list[str]:
    """Two channels of a block: r0 walks the weights, r1 the tiles. Loads from two pointers in turn overlap."""
    lines = ["ldr.w r2, [r1], #4", "ldr.w r12, [r0], #4", "ldr.w r3, [r1], #4", "ldr.w lr, [r0], #4"]
    operands = ["r12, r2", "r12, r3", "lr, r2", "lr, r3"]
    lines += [product.format(f"r{4 + i}", pair) for i, pair in enumerate(operands)]
    return [*lines, "ldrd r12, lr, [r0], #8", *(product.format(f"r{8 + i}", pair) for i, pair in enumerate(operands))]


def _first_step() -> list[str]:
    """A step at which the sums begin."""
    return _step("smuad {0}, {1}")


def dot_positions() -> Kernel:
    """The kernel: winograd_dot(stream, tiles, size, sums) -> the end of the weights."""
    code = [
        "push {r4-r11, lr}",
        f"sub sp, #{FRAME}",
        f"strd r2, r3, [sp, #{SIZE}]",
        "add r4, r1, r2",
        f"str r4, [sp, #{END}]",
        f"add r3, r3, #{POSITIONS * BLOCK * 2 * 4}",
        f"str r3, [sp, #{LAST}]",
        "rsb r2, r2, #8",
        f"ubfx r2, r2, #3, #{TURN.bit_length() - 1}",
        f"movs r3, #{4 * len(_first_step())}",
        "mul r2, r2, r3",
        "adr.w r3, 2f",
        "add r2, r2, r3",
        "orr r2, r2, #1",
        f"str r2, [sp, #{ENTRY}]",
        "1:",
        *_first_step(),
        f"ldr pc, [sp, #{ENTRY}]",
        ".p2align 2",
        "2:",
        *repeated(TURN, _step()),
        f"ldrd r2, r3, [sp, #{END}]",
        "cmp r1, r2",
        "bne.w 2b",
        "add r2, r2, r3",
        f"ldrd r12, lr, [sp, #{PLACE}]",
        "stm.w r12!, {r4-r11}",
        f"str r2, [sp, #{END}]",
        f"str r12, [sp, #{PLACE}]",
        "cmp r12, lr",
        "bne.w 1b",
        f"add sp, #{FRAME}",
        "pop {r4-r11, pc}",
    ]
    prototype = "const int32_t *winograd_dot(const int32_t *stream, const uint32_t *tiles, int size, int32_t *sums)"
    return Kernel(
        "winograd_dot",
        f"""\
/* The sums of four output channels at the 16 positions of two tiles; `size` bytes of ``tiles`` are of one position */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static int32_t dot_halves(uint32_t a, uint32_t b)
{{
    return (int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16);
}}

static {prototype}
{{
    for (int position = 0; position < {POSITIONS}; position++, sums += {2 * BLOCK}) {{
        memset(sums, 0, {8 * BLOCK});
        for (int i = 0; i < size / 8; i++, stream += {BLOCK}, tiles += 2)
            for (int channel = 0; channel < {BLOCK}; channel++) {{
                sums[2 * channel] += dot_halves((uint32_t)stream[channel], tiles[0]);
                sums[2 * channel + 1] += dot_halves((uint32_t)stream[channel], tiles[1]);
            }}
    }}
    return stream;
}}
#endif
""",
        (ASSEMBLY,),
    )


def output_transform(shift: int) -> Kernel:
    name = f"winograd_output_{shift}"
    acc, m = ("r4", "r5", "r6", "r7"), ("r8", "r9", "r10", "r11")  # of the outputs 00, 10, 01, 11; four rows' values
    code = ["push {r4-r11, lr}", "ldrd r12, lr, [sp, #36]", "1:"]
    for j in range(4):
        code += [f"ldr {x}, [r1, #{8 * BLOCK * (4 * i + j)}]" for i, x in enumerate(m)]
        upper, lower = (acc[0], acc[1]) if j == 0 else (acc[2], acc[3]) if j == 1 else (m[0], m[3])
        code += [f"add {m[0]}, {m[0]}, {m[1]}", f"sub {m[1]}, {m[1]}, {m[2]}"]
        code += [f"add {upper}, {m[0]}, {m[2]}", f"sub {lower}, {m[1]}, {m[3]}"]
        code += [f"add {acc[0]}, {acc[0]}, {upper}", f"add {acc[1]}, {acc[1]}, {lower}"] if j in (1, 2) else []
        code += [f"sub {acc[2]}, {acc[2]}, {upper}", f"sub {acc[3]}, {acc[3]}, {lower}"] if j > 1 else []
    code += ["ldm.w r2!, {r8, r9, r10}"]
    asr = f", asr #{shift}" if shift else ""
    for x in acc:
        code += [f"add {x}, r8, {x}, lsl #{(SCALE // 4).bit_length() - 1}", f"and r11, r10, {x}, asr #31"]
        code += [f"sub {x}, {x}, r11", f"smmla {x}, {x}, r9, lr", f"ssat {x}, #8, {x}{asr}"]
    code += ["add r8, r0, r12", f"strb {acc[3]}, [r8, r3]", f"strb {acc[1]}, [r8]", f"strb {acc[2]}, [r0, r3]"]
    code += [f"strb {acc[0]}, [r0], #1", "ldr r8, [sp, #44]", "adds r1, #8", "cmp r2, r8", "bne.w 1b"]
    code += ["pop {r4-r11, pc}"]
    prototype = f"""\
void {name}(
    int8_t *y, const int32_t *m, const int32_t *constants, int right, int down, int32_t center, const int32_t *end)"""
    return Kernel(
        name,
        f"""\
/* A' m A of a tile, then int8, for all channels up to ``end`` of the constants: start, multiplier and sign of each.
 * What is beyond the last column or row (`right` or `down` is 0) is written first and then overwritten. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static {prototype}
{{
    for (; constants < end; constants += 3, m += 2, y++) {{
        uint32_t sums[4] = {{0, 0, 0, 0}}; /* four times the output at (0, 0), (1, 0), (0, 1), (1, 1) */
        for (int j = 0; j < 4; j++) {{
            const int32_t *at = m + {2 * BLOCK} * j;
            uint32_t upper = (uint32_t)(at[0] + at[{8 * BLOCK}] + at[{16 * BLOCK}]);
            uint32_t lower = (uint32_t)(at[{8 * BLOCK}] - at[{16 * BLOCK}] - at[{24 * BLOCK}]);
            sums[0] += j < 3 ? upper : 0;
            sums[1] += j < 3 ? lower : 0;
            sums[2] += j == 1 ? upper : j > 1 ? 0 - upper : 0;
            sums[3] += j == 1 ? lower : j > 1 ? 0 - lower : 0;
        }}
        for (int i = 3; i >= 0; i--)
            y[i % 2 * down + i / 2 * right] = finished_s8(
                (uint32_t)constants[0] + {SCALE // 4} * sums[i], constants[1], constants[2], 0, center, {shift});
    }}
}}
#endif
""",
        (ASSEMBLY, FINISHED_S8),
    )
