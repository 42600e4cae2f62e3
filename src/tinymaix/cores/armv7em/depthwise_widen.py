"""Rows of interleaved bytes -> planes of pixel pairs: a few channels of an NHWC image, ready for SMLAD."""

from __future__ import annotations

from tinymaix.cores.armv7em.assembly import ASSEMBLY, NAKED, assembly
from tinymaix.ops.emit import Kernel

LANES = 4
"""Channels that are widened together, fewer where the image has fewer."""

_LOAD = ["ldr r4, [r1]", "ldr r5, [r1, r2]", "add r1, r1, r2, lsl #1"]
"""Two pixels."""
_PAIR = [
    "pkhbt r6, r4, r5, lsl #16",
    "pkhtb r5, r5, r4, asr #16",
    "sxtb16 r4, r6",
    "sxtb16 r6, r6, ror #8",
    "sxtb16 r7, r5",
    "sxtb16 r5, r5, ror #8",
    "str r4, [r0]",
    "str r6, [r0, #4]",
    "str r7, [r0, #8]",
    "str r5, [r0, #12]",
    "add r0, r0, r10",
]
_CODE = [
    "push {r4-r11, lr}",
    "sub sp, #8",  # above it from 44: rows, row, pitch, left, width
    "ldrd r11, lr, [sp, #44]",
    "ldrd r10, r8, [sp, #52]",
    "ldr r5, [sp, #60]",
    "sub r6, r5, r8",
    "lsr r9, r6, #1",
    "and r6, r6, #1",
    "mls lr, r5, r2, lr",  # from the end of a row to the next
    "add r12, r9, r8",
    "add r12, r12, r6",
    "mul r12, r12, r10",
    "rsb r12, r12, #16",
    "strd r9, r6, [sp]",  # whole pairs, and whether a pixel is left over at the right
    "1:",
    "ldr r9, [sp]",
    "cmp r8, #0",
    "beq 2f",
    "add r9, r9, #1",
    "mov r4, r3",
    "ldr r5, [r1]",
    "add r1, r1, r2",
    "b 4f",
    "2:",
    "subs r9, #2",
    "blt 7f",
    ".balign 4",
    "3:",
    *(_LOAD + _PAIR) * 2,
    "subs r9, #2",
    "bge 3b",
    "7:",
    "adds r9, #2",
    "beq 5f",
    *_LOAD,
    "4:",
    *_PAIR,
    "subs r9, #1",
    "bgt 2b",
    "bne 6f",  # -1: the pixel that is left over is done
    "5:",
    "ldr r4, [sp, #4]",
    "cbz r4, 6f",
    "ldr r4, [r1]",
    "add r1, r1, r2",
    "mov r5, r3",
    "b 4b",
    "6:",
    "add r0, r12",
    "add r1, lr",
    "subs r11, #1",
    "bne 1b",
    "add sp, #8",
    "pop {r4-r11, pc}",
]


def widen_rows(lanes: int) -> Kernel:
    """widen_rows_4 and its relatives for images of fewer channels."""
    name = f"widen_rows_{lanes}"
    parameters = """\
    uint32_t *to, const int8_t *x, int in_c, uint32_t zeros, int rows, int row, int pitch, int left, int width"""
    twin = f"""\
static void {name}(
{parameters})
{{
    const uint32_t zero = (uint32_t)(int8_t)zeros, step = (uint32_t)pitch / 4;
    for (; rows > 0; rows--, x += row)
        for (int lane = 0; lane < {lanes}; lane++, to++) {{
            const int8_t *pixel = x + lane;
            uint32_t *pair = to;
            int px = left;
            if (left) {{
                *pair = (zero & 0xFFFFu) | (uint32_t)*pixel << 16;
                pair += step;
                pixel += in_c;
            }}
            for (; px + 2 <= width; px += 2, pixel += 2 * in_c, pair += step)
                *pair = ((uint32_t)pixel[0] & 0xFFFFu) | (uint32_t)pixel[in_c] << 16;
            if (px < width)
                *pair = ((uint32_t)*pixel & 0xFFFFu) | zero << 16;
        }}
}}
"""
    source = """\
/* The first channels of ``rows`` rows, ``row`` bytes apart, as pairs of pixels, ``pitch`` bytes from each to the next.
 * ``zeros`` stands left of the first pixel where ``left`` is 1, and right of the last of ``width`` pixels where that
 * makes a pair of it. */
"""
    if lanes < LANES:
        return Kernel(name, source + twin)
    source += f"""\
#if defined(__ARM_FEATURE_DSP)
{NAKED} void {name}(
{parameters})
{{
    __asm__ volatile(
{assembly(_CODE)});
}}
#else
{twin}#endif
"""
    return Kernel(name, source, (ASSEMBLY,))
