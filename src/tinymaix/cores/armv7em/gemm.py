"""The product of two columns of activations with all output channels: four channels a turn, two MACs an instruction.

Columns are activations times 256 as halfwords, the two columns side by side: (c0, c2) of the first, of the second,
(c1, c3) of the first, of the second, and so on. A turn is unrolled, and entered in its middle where it does more than
what is left over of the taps. All of it is one function in assembly, since eight sums, four operands and two pointers
take every register that there is. Channels that fill no four are left to a function that takes two a turn, or filled up
to four where that function would be much code for little work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinymaix.cores.armv7em.assembly import ASSEMBLY, DOT_PAIR, EVEN_BYTES, NAKED, assembly, repeated
from tinymaix.cores.armv7em.weights import padded
from tinymaix.cores.exact_high import HighRequant
from tinymaix.cores.finish import FINISHED_S8
from tinymaix.graph import Array
from tinymaix.ops.emit import Argument, Kernel

SUMS = ("r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
"""Of channel 0 for both columns, of channel 1, and so on."""
HALFWORDS, OVERLAPPED, BYTES = "", "_lap", "_w8"
"""How a kernel takes weights, as part of its name: widened and two words by one load, widened and by loads that overlap
(fewer cycles, more instructions), or as bytes that it widens itself."""
FORMS = {HALFWORDS: "halfwords", OVERLAPPED: "halfwords by loads that overlap", BYTES: "bytes"}
"""In words."""
TURN = {4: 16, 2: 8}
"""Steps of two taps that are unrolled, by channels of a block; half as many where weights are bytes."""
Y, NEXT, COLUMNS, ENTRY, END, LAST, FRAME = 0, 4, 8, 12, 16, 20, 24
"""Bytes from the stack pointer. Saved registers lie above the frame, arguments that fill no register above those."""
ARGUMENTS = FRAME + 36
NEXT_ARGUMENT, CHANNELS, CENTER = (ARGUMENTS + 4 * i for i in range(3))  # behind CENTER, whether signs count


def forms(optimize: str) -> tuple[str, ...]:
    """The forms of weights to try, the best guess first."""
    return (HALFWORDS, OVERLAPPED, BYTES) if optimize == "speed" else (BYTES, HALFWORDS, OVERLAPPED)


FILLED = 16
"""Channels from which on up to three that do not count are little work."""


def blocks(out_c: int, pixels: int, form: str) -> list[int]:
    """Channels of each block: fours, and twos for what is left; the last block may have channels that do not count.

    Layers with weights as bytes, the choice where code is to be small, have twos only where they save a lot.
    """
    if form == BYTES and (out_c >= FILLED or out_c % 4 == 3 or pixels <= 2):
        return [4] * -(-out_c // 4)
    return [4] * (out_c // 4) + [2] * (-(-(out_c % 4) // 2))


def block_stream(weights: Array, requant: HighRequant, form: str, pixels: int) -> Array:
    """The words of a layer in the order in which `dot_columns` reads them. weights: (channels, taps) int8.

    A block is the first values of its sums; of every two taps a word of each channel, halfwords, or for BYTES a word of
    every two channels, whose even bytes are the taps of the first; the signs where the layer is signed, then the
    multipliers; but of each channel all of multiplier, sign and right where channels have shifts of their own.
    """
    channels, taps = weights.shape
    wide = form != BYTES
    sizes = blocks(channels, pixels, form)
    rows = np.zeros((sum(sizes), padded(taps)), np.int8)
    rows[:channels, :taps] = np.where(requant.fixed[:, None], 0, weights)
    order = np.arange(padded(taps)).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)  # as widening leaves activations
    pairs = rows[:, order].reshape(len(rows), -1, 2)
    if wide:
        words = np.ascontiguousarray(pairs.astype("<i2")).view("<i4")[..., 0]
    else:  # two channels' (w0, w1) and (v0, v1) -> bytes w0 v0 w1 v1
        two = np.moveaxis(pairs.reshape(len(rows) // 2, 2, -1, 2), 1, 3)
        words = np.ascontiguousarray(two).reshape(len(rows) // 2, -1, 4).view("<i4")[..., 0]
    start, constants = np.zeros(len(rows), np.int64), np.zeros((len(rows), 3), np.int64)
    start[:channels] = requant.start
    constants[:channels] = np.stack([requant.multiplier, requant.sign, requant.right], axis=1)
    parts, at = [], 0
    for size in sizes:
        block = slice(at, at + size)
        part = words[block] if wide else words[at // 2 : (at + size) // 2]
        finish = constants[block] if requant.varied else constants[block][:, [1, 0][not requant.signed :]].T
        parts += [start[block], part.T.reshape(-1), finish.reshape(-1)]
        at += size
    return np.concatenate(parts).astype(np.int32)


def step(channels: int, form: str) -> list[str]:
    """Two taps of a block: r0 walks the weights, r1 the columns; r2 and r3 are activations, r12 and lr weights.

    Loads from two pointers in turn overlap, which LDRD does not.
    """
    lines = {
        HALFWORDS: ["ldrd r2, r3, [r1], #8", "ldrd r12, lr, [r0], #8"],
        OVERLAPPED: ["ldr.w r2, [r1], #4", "ldr.w r12, [r0], #4", "ldr.w r3, [r1], #4", "ldr.w lr, [r0], #4"],
        BYTES: ["ldr.w r2, [r1], #4", "ldr.w lr, [r0], #4", "ldr.w r3, [r1], #4"],
    }[form]
    for first in range(0, channels, 2):
        if form == BYTES:
            lines += [*(["ldr.w lr, [r0], #4"] if first else []), "sxtb16 r12, lr", "sxtb16 lr, lr, ror #8"]
        elif first:
            lines += ["ldrd r12, lr, [r0], #8"]
        a, b, c, d = SUMS[2 * first : 2 * first + 4]
        lines += [f"smlad {a}, r12, r2, {a}", f"smlad {b}, r12, r3, {b}"]
        lines += [f"smlad {c}, lr, r2, {c}", f"smlad {d}, lr, r3, {d}"]
    return lines


def _turn(channels: int, form: str) -> int:
    return TURN[channels] // (2 if form == BYTES and channels == 4 else 1)


def _enter(channels: int, form: str, label: int) -> list[str]:
    """Where the loop at ``label`` is entered: behind the steps that its first turn leaves out. r1, r2: the columns."""
    bits = _turn(channels, form).bit_length() - 1
    lines = ["sub r4, r1, r2", f"ubfx r4, r4, #3, #{bits}", f"movs r5, #{4 * len(step(channels, form))}"]
    return [*lines, "mul r4, r4, r5", f"adr.w r6, {label}f", "add r4, r4, r6", "orr r4, r4, #1",
            f"str r4, [sp, #{ENTRY}]"]  # fmt: skip


def _sums(channels: int, form: str, label: int) -> list[str]:
    """One block's sums, complete in SUMS."""
    sums = SUMS[: 2 * channels]
    lines = [f"ldr r1, [sp, #{COLUMNS}]", f"ldm.w r0!, {{{', '.join(sums[::2])}}}"]
    lines += [f"mov {second}, {first}" for first, second in zip(sums[::2], sums[1::2], strict=True)]
    lines += [f"ldr pc, [sp, #{ENTRY}]", ".p2align 2", f"{label}:"]
    return [
        *lines,
        *repeated(_turn(channels, form), step(channels, form)),
        f"ldr r2, [sp, #{END}]",
        "cmp r1, r2",
        f"bne.w {label}b",
    ]


def _finish(channels: int, shift: int, varied: bool, label: int) -> tuple[list[str], list[str]]:
    """The sums of a block to int8, in place, and behind the function what comes before that where signs count."""
    sums = SUMS[: 2 * channels]
    asr = f", asr #{shift}" if shift else ""
    if varied:
        lines = []
        for channel in range(channels):
            lines += ["ldm.w r0!, {r2, r3, r12}"]
            for total in sums[2 * channel : 2 * channel + 2]:
                lines += [f"and lr, r3, {total}, asr #31", f"sub {total}, {total}, lr"]
                lines += [f"smmul {total}, {total}, r2", f"ldr lr, [sp, #{CENTER}]"]
                lines += [f"asr {total}, {total}, r12", f"add {total}, {total}, lr", f"ssat {total}, #8, {total}{asr}"]
        return lines, []
    constants = ("r2", "r3", "r12", "lr")[:channels]
    load = f"ldm.w r0!, {{{', '.join(constants)}}}"
    lines = [f"ldrd r1, r2, [sp, #{CENTER}]", "cmp r2, #0", f"bne.w {label + 1}f", f"{label}:", load]
    for i, total in enumerate(sums):
        lines += [f"smmla {total}, {total}, {constants[i // 2]}, r1", f"ssat {total}, #8, {total}{asr}"]
    apart = [f"{label + 1}:", load]
    for i, total in enumerate(sums):
        apart += [f"and r1, {constants[i // 2]}, {total}, asr #31", f"sub {total}, {total}, r1"]
    return lines, [*apart, f"ldr r1, [sp, #{CENTER}]", f"b.w {label}b"]


def _fours() -> list[str]:
    """Store a block and go on to the next."""
    first, second = SUMS[::2], SUMS[1::2]
    return [
        f"ldrd r1, r2, [sp, #{Y}]",
        *(f"strb {total}, [r1, #{i}]" for i, total in enumerate(first)),
        "add r2, r2, r1",
        *(f"strb {total}, [r2, #{i}]" for i, total in enumerate(second)),
        "adds r1, #4",
        f"str r1, [sp, #{Y}]",
        f"ldr r2, [sp, #{LAST}]",
        "cmp r1, r2",
        "bne.w 1b",
    ]


def _twos() -> list[str]:
    """Store a block, of which the last may be one channel."""
    return [
        f"ldrd r1, r2, [sp, #{Y}]",
        f"ldr r3, [sp, #{LAST}]",
        "strb r4, [r1], #1",
        "add r2, r2, r1",
        "strb r5, [r2, #-1]",
        "cmp r1, r3",
        "beq.w 5f",
        "strb r6, [r1], #1",
        "strb r7, [r2]",
        f"str r1, [sp, #{Y}]",
        "cmp r1, r3",
        "bne.w 1b",
    ]


def dot_columns(requant: HighRequant, form: str, block: int) -> Kernel:
    """The kernel for blocks of 4 or 2: dot_columns_4_12(stream, columns, end, y, next, channels, center, is_signed)."""
    shift, varied = requant.shift, requant.varied
    finish, apart = _finish(block, shift, varied, 3)
    name = f"dot_columns_{block}{form}{'_varied' if varied else ''}_{shift}"
    width = "3" if varied else "is_signed ? 2 : 1"
    multiplier, sign, right = f"constants[i + (width - 1) * {block}]", "is_signed ? constants[i] : 0", "0"
    if varied:
        multiplier, sign, right = (f"constants[3 * i{offset}]" for offset in ("", " + 1", " + 2"))
    code = [
        "push {r4-r11, lr}",
        f"sub sp, #{FRAME}",
        f"ldrd r4, r5, [sp, #{NEXT_ARGUMENT}]",
        f"strd r3, r4, [sp, #{Y}]",
        "add r5, r5, r3",
        f"strd r2, r5, [sp, #{END}]",
        f"str r1, [sp, #{COLUMNS}]",
        *_enter(block, form, 2),
        "1:",
        *_sums(block, form, 2),
        *finish,
        *(_fours() if block == 4 else _twos()),
        "5:",
        f"add sp, #{FRAME}",
        "pop {r4-r11, pc}",
        *apart,
    ]
    wide = form != BYTES
    word = "(uint32_t)*w" if wide else "even_bytes((uint32_t)*w >> i % 2 * 8)"
    per_word = "" if wide else " / 2"
    prototype = f"""\
const int32_t *{name}(
    const int32_t *stream, const uint32_t *columns, const uint32_t *end, int8_t *y, int next, int channels,
    int32_t center, int is_signed)"""
    return Kernel(
        name,
        f"""\
/* Two columns of activations with {block} channels a turn: the outputs of two pixels, ``next`` bytes apart.
 * Weights are {FORMS[form]}. A block of the stream is the first values of the sums, their weights, and the
 * constants of requantization. Returns the end of the stream. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static {prototype}
{{
    int steps = (int)(end - columns) / 2, width = {width};
    for (int channel = 0; channel < channels; channel += {block}) {{
        const int32_t *constants = stream + {block} + steps * {block}{per_word};
        for (int i = 0; i < {block} && channel + i < channels; i++)
            for (int column = 0; column < 2; column++) {{
                uint32_t sum = (uint32_t)stream[i];
                const int32_t *w = stream + {block} + i{per_word};
                for (int step = 0; step < steps; step++, w += {block}{per_word})
                    sum += dot_pair({word}, columns[2 * step + column]);
                y[channel + i + column * next] = finished_s8(
                    sum, {multiplier}, {sign}, {right}, center, {shift});
            }}
        stream = constants + width * {block};
    }}
    return stream;
}}
#endif
""",
        (ASSEMBLY, DOT_PAIR, *(() if wide else (EVEN_BYTES,)), FINISHED_S8),
    )


MULTIPLY_COLUMNS = Kernel(
    "multiply_columns",
    """\
/* A kernel that multiplies two columns with channels: fours of them, or twos of what is left */
typedef const int32_t *dot_columns(
    const int32_t *stream, const uint32_t *columns, const uint32_t *end, int8_t *y, int next, int channels,
    int32_t center, int is_signed);

/* Two columns of activations with all channels. The last ones, where they are no four, are left to `twos`, or to
 * `fours` if there is none, which fills them up. */
static inline void multiply_columns(
    dot_columns *fours, dot_columns *twos, const int32_t *stream, const uint32_t *columns, const uint32_t *end,
    int8_t *y, int next, int out_c, int32_t center, int is_signed)
{
    if (out_c >= 4)
        stream = fours(stream, columns, end, y, next, out_c / 4 * 4, center, is_signed);
    y += out_c / 4 * 4;
    if (out_c % 4 != 0 && twos)
        twos(stream, columns, end, y, next, out_c % 4, center, is_signed);
    else if (out_c % 4 != 0) {
        int8_t last[8];
        fours(stream, columns, end, last, 4, 4, center, is_signed);
        memcpy(y, last, (size_t)(out_c % 4));
        memcpy(y + next, last + 4, (size_t)(out_c % 4));
    }
}
""",
)


@dataclass(frozen=True)
class Product:
    """The kernels of a layer's product: ``arguments`` are those of `multiply_columns` but for the places."""

    kernels: tuple[Kernel, ...]
    arguments: Mapping[str, Argument]

    @staticmethod
    def of(requant: HighRequant, form: str, out_c: int, pixels: int) -> Product:
        """For a layer of ``out_c`` channels and ``pixels`` columns."""
        sizes = blocks(out_c, pixels, form)
        fours = dot_columns(requant, form, 4) if 4 in sizes else None
        twos = dot_columns(requant, form, 2) if 2 in sizes else None
        return Product(
            (*filter(None, (fours, twos)), MULTIPLY_COLUMNS),
            {
                "fours": fours.name if fours else "NULL",
                "twos": twos.name if twos else "NULL",
                "out_c": out_c,
                "center": requant.center,
                "is_signed": int(requant.signed),
            },
        )
