"""The product of two columns of activations with all output channels: four channels a turn, two MACs an instruction.

Columns are activations as halfwords, the two columns side by side: (c0, c2) of the first, of the second, (c1, c3) of
the first, of the second, and so on. Weights of two neighbouring channels fill a word, packed as in weights.py: that is
w + 256 v of two taps. Its product with a column is x w + 256 x v; SXTB16 leaves w alone, whose sum gives the first
channel, and is what the second has too much. One unpacking instruction serves eight MACs.

A turn is unrolled, and entered in its middle where it does more than what is left over of the taps. All of it is one
function in assembly, since eight sums, four operands and two pointers take every register that there is. Channels that
fill no four are left to a function that takes two a turn, or filled up to four where that function would be much code
for little work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinymaix.cores.armv7em.assembly import ASSEMBLY, DOT_PAIR, EVEN_BYTES, NAKED, assembly, repeated
from tinymaix.cores.armv7em.weights import packs, padded
from tinymaix.cores.exact_high import SCALE, HighRequant
from tinymaix.cores.finish import FINISHED_S8
from tinymaix.graph import Array
from tinymaix.ops.emit import Argument, Kernel

SUMS = ("r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")
"""Of channel 0 for both columns, of channel 1, and so on."""
BITS = SCALE.bit_length() - 1
"""Below the point of a sum from which an output is made."""
Y, NEXT, COLUMNS, ENTRY, END, LAST, FRAME = 0, 4, 8, 12, 16, 20, 24
"""Bytes from the stack pointer. Saved registers lie above the frame, arguments that fill no register above those."""
ARGUMENTS = FRAME + 36
NEXT_ARGUMENT, CHANNELS, CENTER = (ARGUMENTS + 4 * i for i in range(3))  # behind CENTER, whether signs count


@dataclass(frozen=True)
class Form:
    """How a kernel takes its weights."""

    packed: bool
    """Two channels' to a halfword, else bytes of which each is widened: where -128 stands beside a negative one."""
    doubles: bool
    """Whether two words are loaded by one instruction: 12 instructions and 16 cycles a step, else 14 and 15, since
    loads from two pointers in turn overlap."""
    small: bool
    """Whether the kernel is to be little code."""

    @property
    def name(self) -> str:
        """Part of the kernel's."""
        return f"{'' if self.packed else '_w8'}{'_double' if self.doubles else ''}{'_small' if self.small else ''}"

    @property
    def words(self) -> str:
        """Of a sentence."""
        return "two channels' weights packed" if self.packed else "weights as bytes"

    def turn(self, channels: int) -> int:
        """Steps of two taps that are unrolled in a loop for blocks of 4 or 2 channels."""
        return 16 if channels == 4 and not self.small else 8


def forms(optimize: str, weights: Array) -> tuple[Form, ...]:
    """The forms to try for weights (channels, taps), the best guess first."""
    small = optimize != "speed"
    if not packs(weights.T):
        return (Form(packed=False, doubles=False, small=small),)
    return tuple(Form(packed=True, doubles=doubles, small=small) for doubles in (not small, small))


FILLED = 16
"""Channels from which on up to three that do not count are little work."""


def blocks(out_c: int, pixels: int, form: Form) -> list[int]:
    """Channels of each block: fours, and twos for what is left; the last block may have channels that do not count.

    Where code is to be small there are twos only where they save a lot.
    """
    if form.small and (out_c >= FILLED or out_c % 4 == 3 or pixels <= 2):
        return [4] * -(-out_c // 4)
    return [4] * (out_c // 4) + [2] * (-(-(out_c % 4) // 2))


def block_stream(weights: Array, requant: HighRequant, form: Form, pixels: int) -> Array:
    """The words of a layer in the order in which `dot_columns` reads them. weights: (channels, taps) int8.

    A block is, if packed, the first values of every second channel's sums; of every two taps a word of every two
    channels; the (other) first values; the signs where the layer is signed, then the multipliers; but of each channel
    all of multiplier, sign and right where channels have shifts of their own.
    """
    channels, taps = weights.shape
    sizes = blocks(channels, pixels, form)
    rows = np.zeros((sum(sizes), padded(taps)), np.int64)
    rows[:channels, :taps] = np.where(requant.fixed[:, None], 0, weights)
    order = np.arange(padded(taps)).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)  # as widening leaves activations
    first, second = rows[::2, order], rows[1::2, order]
    halves = first + 256 * second if form.packed else (first & 255) + 256 * second
    words = np.ascontiguousarray(halves.astype("<i2")).view("<i4")
    start, constants = np.zeros(len(rows), np.int64), np.zeros((len(rows), 3), np.int64)
    start[:channels] = requant.start
    constants[:channels] = np.stack([requant.multiplier, requant.sign, requant.right], axis=1)
    parts, at = [], 0
    for size in sizes:
        block, part = slice(at, at + size), words[at // 2 : (at + size) // 2].T.reshape(-1)
        before, behind = (start[block][1::2], start[block][::2]) if form.packed else (start[:0], start[block])
        finish = constants[block] if requant.varied else constants[block][:, [1, 0][not requant.signed :]].T
        parts += [before, part, behind, finish.reshape(-1)]
        at += size
    return np.concatenate(parts).astype(np.int32)


def _step(channels: int, form: Form) -> list[str]:
    """Two taps of a block: r0 walks the weights, r1 the columns; r2 and r3 are activations, r12 and lr weights."""
    words = ("lr", "r12")[: channels // 2]
    if form.doubles and channels == 4:
        lines = ["ldrd r2, r3, [r1], #8", "ldrd lr, r12, [r0], #8"]
    else:
        lines = ["ldr.w r2, [r1], #4", "ldr.w lr, [r0], #4", "ldr.w r3, [r1], #4"]
        lines += ["ldr.w r12, [r0], #4"] if form.packed and channels == 4 else []
    for i, word in enumerate(words):
        a, b, c, d = SUMS[4 * i : 4 * i + 4]
        if form.packed:
            lines += [f"smlad {c}, {word}, r2, {c}", f"smlad {d}, {word}, r3, {d}", f"sxtb16 {word}, {word}"]
            lines += [f"smlad {a}, {word}, r2, {a}", f"smlad {b}, {word}, r3, {b}"]
        else:
            lines += [*(["ldr.w lr, [r0], #4"] if i else []), "sxtb16 r12, lr", "sxtb16 lr, lr, ror #8"]
            lines += [f"smlad {a}, r12, r2, {a}", f"smlad {b}, r12, r3, {b}"]
            lines += [f"smlad {c}, lr, r2, {c}", f"smlad {d}, lr, r3, {d}"]
    return lines


def _enter(channels: int, form: Form, label: int) -> list[str]:
    """Where the loop at ``label`` is entered: behind what its first turn leaves out. r1, r2: the columns."""
    bits = form.turn(channels).bit_length() - 1
    lines = ["sub r4, r1, r2", f"ubfx r4, r4, #3, #{bits}", f"movs r5, #{4 * len(_step(channels, form))}"]
    return [*lines, "mul r4, r4, r5", f"adr.w r6, {label}f", "add r4, r4, r6", "orr r4, r4, #1",
            f"str r4, [sp, #{ENTRY}]"]  # fmt: skip


def _sums(channels: int, form: Form, label: int) -> list[str]:
    """One block's sums, complete in SUMS."""
    sums = SUMS[: 2 * channels]
    zero, firsts, seconds = sums, sums[:0], sums[:0]
    if form.packed:  # a register pair at a time: sums of the first channel of two, of the second
        zero = tuple(total for i, total in enumerate(sums) if i % 4 < 2)
        firsts, seconds = sums[2::4], sums[3::4]
    lines = [f"ldr r1, [sp, #{COLUMNS}]"]
    lines += [f"ldm.w r0!, {{{', '.join(firsts)}}}"] if len(firsts) > 1 else [f"ldr {x}, [r0], #4" for x in firsts]
    lines += [f"mov {second}, {first}" for first, second in zip(firsts, seconds, strict=True)]
    lines += [f"mov.w {total}, #0" for total in zero]
    return [
        *lines,
        f"ldr pc, [sp, #{ENTRY}]",
        ".p2align 2",
        f"{label}:",
        *repeated(form.turn(channels), _step(channels, form)),
        f"ldr r2, [sp, #{END}]",
        "cmp r1, r2",
        f"bne.w {label}b",
        *_apart(sums, form),
    ]


def _apart(sums: tuple[str, ...], form: Form) -> list[str]:
    """The two channels that are packed, told apart, and all with ``BITS`` below the point."""
    if form.packed:
        taken = zip(sums[2::4] + sums[3::4], sums[::4] + sums[1::4], strict=True)
        lines, shifted = [f"sub {both}, {both}, {low}" for both, low in taken], (sums[::4], sums[1::4])
    else:
        lines, shifted = [], (sums[::2], sums[1::2])
    starts = ("r2", "r3", "r12", "lr")[: len(shifted[0])]
    lines += [f"ldm.w r0!, {{{', '.join(starts)}}}"] if len(starts) > 1 else ["ldr r2, [r0], #4"]
    pairs = [(total, start) for half in shifted for total, start in zip(half, starts, strict=True)]
    return [*lines, *(f"add {total}, {start}, {total}, lsl #{BITS}" for total, start in pairs)]


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


def dot_columns(requant: HighRequant, form: Form, block: int) -> Kernel:
    """The kernel for blocks of 4 or 2: dot_columns_4_12(stream, columns, end, y, next, channels, center, is_signed)."""
    shift, varied = requant.shift, requant.varied
    finish, apart = _finish(block, shift, varied, 3)
    name = f"dot_columns_{block}{form.name}{'_varied' if varied else ''}_{shift}"
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
    prototype = f"""\
const int32_t *{name}(
    const int32_t *stream, const uint32_t *columns, const uint32_t *end, int8_t *y, int next, int channels,
    int32_t center, int is_signed)"""
    return Kernel(
        name,
        f"""\
/* Two columns of activations with {block} channels a turn: the outputs of two pixels, ``next`` bytes apart.
 * A block of the stream is the weights, with first values of sums around them, and the constants of requantization;
 * {form.words}. Returns the end of the stream. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static {prototype}
{{
{_twin(requant, form, block)}
    return stream;
}}
#endif
""",
        (ASSEMBLY, DOT_PAIR, EVEN_BYTES, FINISHED_S8),
    )


def _twin(requant: HighRequant, form: Form, block: int) -> str:
    """The loop over blocks in portable C."""
    multiplier, sign, right = f"constants[i + (width - 1) * {block}]", "is_signed ? constants[i] : 0", "0"
    if requant.varied:
        multiplier, sign, right = (f"constants[3 * i{offset}]" for offset in ("", " + 1", " + 2"))
    if form.packed:
        before, behind = block // 2, block // 2
        begin, second = "(uint32_t)stream[i / 2]", "dot_pair((uint32_t)*w, columns[2 * step + column])"
        total = f"i % 2 ? sums[1] - sums[0] : (uint32_t)starts[i / 2] + (sums[0] << {BITS})"
    else:
        before, behind = 0, block
        begin, second = "0", "dot_pair(even_bytes((uint32_t)*w >> 8), columns[2 * step + column])"
        total = f"(uint32_t)starts[i] + (sums[i % 2] << {BITS})"
    return f"""\
    int steps = (int)(end - columns) / 2, width = {"3" if requant.varied else "is_signed ? 2 : 1"};
    for (int channel = 0; channel < channels; channel += {block}) {{
        const int32_t *starts = stream + {before} + steps * {block // 2}, *constants = starts + {behind};
        for (int i = 0; i < {block} && channel + i < channels; i++)
            for (int column = 0; column < 2; column++) {{
                uint32_t sums[2] = {{0, {begin}}};
                const int32_t *w = stream + {before} + i / 2;
                for (int step = 0; step < steps; step++, w += {block // 2}) {{
                    sums[0] += dot_pair(even_bytes((uint32_t)*w), columns[2 * step + column]);
                    sums[1] += {second};
                }}
                y[channel + i + column * next] = finished_s8(
                    {total}, {multiplier}, {sign}, {right},
                    center, {requant.shift});
            }}
        stream = constants + width * {block};
    }}"""


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
    def of(requant: HighRequant, form: Form, out_c: int, pixels: int) -> Product:
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
