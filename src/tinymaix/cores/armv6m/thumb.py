"""Sums of products in Thumb-1, eight at a time: of one pixel and eight channels, or of two pixels and four channels.

Only r0 to r7 take part in loads and products; but ADD reaches the others. So sums lie there, and eight of them fit,
with r2 and r3. Weights are loaded by words, of which each part is used in turn. Arguments of what is made here: r0
weights, r1 activations, r2 bytes of activations, r3 where the eight sums go.
"""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array

SUMS = ("r2", "r3", "r8", "r9", "r10", "r11", "r12", "lr")
"""Of the channels; or of the first channel with both pixels, of the second, and so on."""
TURN = 4
"""Taps that are unrolled."""

PROTOTYPE = "static __attribute__((naked, noinline, used, aligned(4)))"
IS_ARMV6M = """\
#if defined(__ARM_ARCH_6M__) && defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-parameter"
"""

BEGIN = (
    ".syntax unified",
    "push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}",
)  # fmt: skip
CLEAR = ("movs r2, #0", "movs r3, #0", *(f"mov {r}, r2" for r in SUMS[2:]))
STORE = (
    "stm r7!, {r2, r3}", "mov r2, r8", "mov r3, r9", "mov r4, r10", "mov r5, r11", "mov r6, r12",
    "stm r7!, {r2-r6}", "mov r2, lr", "stm r7!, {r2}",
)  # fmt: skip
"""The sums to r7, which goes on."""
RETURN = ("pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}")


def filled(taps: int) -> int:
    """Taps filled up to whole turns, by weights of 0."""
    return -(-taps // TURN) * TURN


def blocks(rows: Array) -> Array:
    """(out channels, taps) of int8 values -> words: blocks of eight channels, two words a tap; one in a last block of
    four channels or fewer."""
    out_c, taps = rows.shape
    full = np.zeros((-(-out_c // 4) * 4, filled(taps)), np.int8)
    full[:out_c, :taps] = rows
    return np.concatenate([np.ascontiguousarray(full[c : c + 8].T).view("<i4").reshape(-1) for c in range(0, out_c, 8)])


def activations(k: int) -> list[str]:
    """Both pixels of a word, in r4 and r5."""
    return [f"ldr r5, [r1, #{4 * k}]", "sxth r4, r5", "asrs r5, r5, #16"]


def last(total: tuple[str, str]) -> list[str]:
    """The products of the weight in r6, which is not needed any more."""
    return ["mov r7, r6", "muls r7, r4, r7", f"add {total[0]}, r7", "muls r6, r5, r6", f"add {total[1]}, r6"]


def extended(extend: str, total: tuple[str, str]) -> list[str]:
    """The products of the weight that is the lower part of r6."""
    return [
        line
        for x, to in zip(("r4", "r5"), total, strict=True)
        for line in (f"{extend} r7, r6", f"muls r7, {x}, r7", f"add {to}, r7")
    ]


def pairs() -> list[tuple[str, str]]:
    """The sums of each channel."""
    return [(SUMS[2 * i], SUMS[2 * i + 1]) for i in range(4)]


def halfwords(k: int) -> list[str]:
    """A step with four halfwords as weights."""
    lines, sums = activations(k), pairs()
    for word in range(2):
        lines += [f"ldr r6, [r0, #{8 * k + 4 * word}]", *extended("sxth", sums[2 * word])]
        lines += ["asrs r6, r6, #16", *last(sums[2 * word + 1])]
    return lines


def one_pixel(k: int, words: int) -> list[str]:
    """A step with one byte of activations and those of four channels in each word of weights."""
    lines = [f"ldrb r4, [r1, #{k}]", "sxtb r4, r4"]
    for word in range(words):
        lines.append(f"ldr r6, [r0, #{4 * (words * k + word)}]")
        for total in SUMS[4 * word : 4 * word + 3]:
            lines += ["sxtb r7, r6", "muls r7, r4, r7", f"add {total}, r7", "asrs r6, r6, #8"]
        lines += ["muls r6, r4, r6", f"add {SUMS[4 * word + 3]}, r6"]
    return lines


def loop(step: list[str], activations: int, weights: int) -> list[str]:
    """Steps until r1 is at the word on the top of the stack; bytes of a step."""
    return [
        "2:", *step, f"adds r1, #{activations * TURN}", f"adds r0, #{weights * TURN}",
        "ldr r7, [sp]", "cmp r1, r7", "beq 3f", "b 2b", "3:",
    ]  # fmt: skip


def dot(words: int) -> list[str]:
    """dot(weights, activations, size, sums) -> the end of the weights: of a pixel, all bytes."""
    step = [line for k in range(TURN) for line in one_pixel(k, words)]
    return [
        *BEGIN, "sub sp, #8", "adds r2, r1, r2", "str r2, [sp]", "str r3, [sp, #4]",
        *CLEAR, *loop(step, 1, 4 * words), "ldr r7, [sp, #4]", *STORE, "add sp, #8", *RETURN,
    ]  # fmt: skip


def dot_positions(sums: int) -> list[str]:
    """As `dot`, of two pixels' halfwords, for positions one after the other; sums: bytes of all of them."""
    step = [line for k in range(TURN) for line in halfwords(k)]
    return [
        *BEGIN, "sub sp, #16", "str r2, [sp, #4]", "str r3, [sp, #8]",
        f"movs r4, #{sums // 16}", "lsls r4, r4, #4", "adds r3, r3, r4", "str r3, [sp, #12]",
        "1:", "ldr r4, [sp, #4]", "adds r4, r4, r1", "str r4, [sp]",
        *CLEAR, *loop(step, 4, 8), "ldr r7, [sp, #8]", *STORE, "str r7, [sp, #8]",
        "ldr r2, [sp, #12]", "cmp r7, r2", "beq 4f", "b 1b", "4:", "add sp, #16", *RETURN,
    ]  # fmt: skip
