"""Fully connected layers of one row, and convolutions with one output pixel: four channels a turn.

Every weight is used once, so the loop is bound by loads: words of four channels come by one instruction. Packed weights
are fewer words, and no more instructions than halfwords.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.assembly import ASSEMBLY, DOT_PAIR, EVEN_BYTES, NAKED, assembly, repeated
from tinymaix.cores.armv7em.gemm import forms
from tinymaix.cores.armv7em.pointwise import LOAD_4, pointwise
from tinymaix.cores.armv7em.requantize import finish_lines, twin_finish
from tinymaix.cores.armv7em.weights import OFFSET, packs, padded, stream
from tinymaix.cores.core import Core
from tinymaix.cores.exact_high import SCALE, HighRequant, prove_high_node
from tinymaix.cores.finish import FINISHED_S8, clamped
from tinymaix.graph import Node
from tinymaix.ops.emit import SMALL, Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantized_range
from tinymaix.ops.fully_connected import FullyConnected

SUMS = ("r8", "r9", "r10", "r11")


def choose_fully_connected(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for a fully connected layer, none where the portable one serves."""
    op = node.op
    assert isinstance(op, FullyConnected)
    if node.output.dtype != np.int8 or optimize == "flash":
        return ()
    single = node.output.elements == node.input(1).shape[0]
    requant = prove_high_node(node, op.activation, 0, varied=True)
    if requant is None and single:  # sums of very many taps
        requant = prove_high_node(node, op.activation, 0, varied=True, scale=SCALE // 2)
    if requant is None:
        return ()
    ways = one_row(node, requant) if single else []
    if not single or (optimize != "speed" and requant.scale == SCALE):  # of one row half the work is in vain
        weights = node.input(1).data
        assert weights is not None
        ways += [pointwise(node, requant, form) for form in forms(optimize, weights)]
    limits = quantized_range(op.activation, node.output)
    return [clamped(way, node, requant.clamp, limits) for way in ways]


def one_row(node: Node, requant: HighRequant) -> list[Implementation]:
    """All of the input is one row of taps: a fully connected layer, or a window that covers the whole image."""
    weights = node.input(1).data
    assert weights is not None
    packable = requant.scale == SCALE and packs(weights.reshape(len(weights), -1))
    return [_one_row(node, requant, packed) for packed in ((True, False) if packable else (False,))]


def _one_row(node: Node, requant: HighRequant, packed: bool) -> Implementation:
    reason = f"four channels a turn, weights {'packed' if packed else 'as halfwords'}, requantized by one product"
    # All of the input is widened before the first output is written.
    return Implementation(partial(_emit, node, requant, packed), 2 * padded(node.input(0).elements), 0, reason)


def _emit(node: Node, requant: HighRequant, packed: bool, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    out_c = len(weights)
    words = stream(weights.reshape(out_c, -1), requant, [4] * -(-out_c // 4), packed)
    arguments = {} if packed else {"halve": int(requant.scale < SCALE)}
    code.call(
        _kernel(requant, packed),
        x=code.input(0),
        y=code.output(),
        stream=code.constant("weights", words),
        column=f"(uint32_t *){code.scratch}",
        in_c=node.input(0).elements,
        out_c=out_c,
        center=requant.center,
        **arguments,
    )


def _step(packed: bool) -> list[str]:
    """Four taps of four channels: r0 walks the weights, r1 the column."""
    words = ("r4", "r5", "r6", "r7")
    load = f"ldm.w r0!, {{{', '.join(words)}}}"
    lines = ["ldrd r12, lr, [r1], #8"]
    for x in ("r12", "lr"):
        lines += [load] if not packed or x == "r12" else [f"sxtb16 {w}, {w}" for w in words]
        lines += [f"smlad {total}, {w}, {x}, {total}" for total, w in zip(SUMS, words, strict=True)]
    return lines


def dot_column(requant: HighRequant, packed: bool) -> Kernel:
    """The kernel: dot_column_12(stream, column, end, y, quads, center)."""
    form = f"{'_signed' if requant.signed else ''}{'_varied' if requant.varied else ''}"
    name = f"dot_column{'_packed' if packed else ''}{form}_{requant.shift}"
    step = _step(packed)
    code = [
        "push {r4-r11, lr}",
        "sub sp, #16",  # column, entry of the loop, y, end of y; above it the arguments from sp + 52
        "ldr r4, [sp, #52]",
        "add r4, r3, r4, lsl #2",
        "strd r3, r4, [sp, #8]",
        "sub r4, r1, r2",
        "ubfx r4, r4, #3, #2",
        f"movs r5, #{4 * len(step)}",
        "mul r5, r4, r5",
        "adr.w r6, 1f",
        "add r5, r5, r6",
        "orr r5, r5, #1",
        "strd r1, r5, [sp]",
        "2:",
        "ldm.w r0!, {r8, r9, r10, r11}",
        "ldr r1, [sp]",
        "ldr pc, [sp, #4]",
        "1:",
        *repeated(4, step),
        "cmp r1, r2",
        "bne.w 1b",
    ]
    width = requant.constants.shape[1]
    if width == 1:
        code += ["ldm.w r0!, {r4, r5, r6, r7}"]
        for i, total in enumerate(SUMS):
            code += finish_lines([total], [f"r{4 + i}"], requant)
    else:
        constants = ("r3", "r4", "r5")[:width]
        code += ["mov r1, r2", "ldr r2, [sp, #56]"]
        for total in SUMS:
            code += [f"ldm.w r0!, {{{', '.join(constants)}}}", *finish_lines([total], constants, requant, "r2", "r6")]
        code += ["mov r2, r1"]
    code += ["ldrd r3, r4, [sp, #8]", *(f"strb {total}, [r3], #1" for total in SUMS), "str r3, [sp, #8]"]
    code += ["cmp r3, r4", "bne.w 2b", "add sp, #16", "pop {r4-r11, pc}"]
    return Kernel(
        name,
        f"""\
/* A column of activations with all channels, four at a time, weights {"packed" if packed else "as halfwords"}. A block
 * of the stream is the first values of four sums, their weights, and the constants of their requantization. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} void {name}(
    const int32_t *stream, const uint32_t *column, const uint32_t *end, int8_t *y, int quads, int32_t center)
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static void {name}(
    const int32_t *stream, const uint32_t *column, const uint32_t *end, int8_t *y, int quads, int32_t center)
{{
    int steps = (int)(end - column){" / 2" if packed else ""};
    for (; quads > 0; quads--, y += 4) {{
        const int32_t *constants = stream + 4 + 4 * steps;
        for (int i = 0; i < 4; i++) {{
            uint32_t sum = (uint32_t)stream[i];
            const int32_t *w = stream + 4 + i;
            for (int step = 0; step < steps; step++, w += 4)
                sum += {_twin_step(packed)};
            const int32_t *constant = constants + {width} * i;
            y[i] = {twin_finish(requant)};
        }}
        stream = constants + {4 * width};
    }}
}}
#endif
""",
        (ASSEMBLY, DOT_PAIR, *((EVEN_BYTES,) if packed else ()), FINISHED_S8),
    )


def _twin_step(packed: bool) -> str:
    if packed:
        return (
            "dot_pair((uint32_t)*w, column[2 * step])\n"
            "                       + dot_pair(even_bytes((uint32_t)*w), column[2 * step + 1])"
        )
    return "dot_pair((uint32_t)*w, column[step])"


PAIR_ROW = Kernel(
    "pair_row",
    f"""\
/* Bytes as a column for packed weights; `quads` are of four: (c1, c3) and 256 * (c0, c2) + {OFFSET} - (c1, c3). Returns
 * its end. */
static __attribute__((noinline)) uint32_t *pair_row(uint32_t *column, const int8_t *x, int quads)
{{
    const uint32_t even = UINT32_C(0x00ff00ff);
    for (uint32_t *end = column + 2 * quads; column != end; column += 2, x += 4) {{
        uint32_t word = load_4(x);
#if defined(__ARM_FEATURE_DSP)
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(column[0]) : "r"(word));
#else
        column[0] = even_bytes(word >> 8);
#endif
        column[1] = ((word & even) << 8 | (word >> 8 & even)) ^ UINT32_C(0x007f007f);
    }}
    return column;
}}
""",
    (LOAD_4, EVEN_BYTES),
)

WIDEN_ROW = Kernel(
    "widen_row",
    """\
/* Bytes times 256 as a column; `quads` are of four. Returns the end of the column. */
static __attribute__((noinline)) uint32_t *widen_row(uint32_t *column, const int8_t *x, int quads)
{
    const uint32_t odd = UINT32_C(0xff00ff00);
    for (uint32_t *end = column + 2 * quads; column != end; column += 2, x += 4) {
        uint32_t word = load_4(x);
        column[0] = (word << 8) & odd;
        column[1] = word & odd;
    }
    return column;
}
""",
    (LOAD_4,),
)


def _kernel(requant: HighRequant, packed: bool) -> Kernel:
    dot, row = dot_column(requant, packed), PAIR_ROW if packed else WIDEN_ROW
    name = dot.name.replace("dot_column", "fully_connected_s8")
    halve = """
    for (uint32_t *word = column; halve && word < end; word++)
        *word = (*word >> 1 & UINT32_C(0x7f807f80)) | (*word & UINT32_C(0x80008000));"""
    return Kernel(
        name,
        f"""\
/* Fully connected, int8, one row: it is widened{"" if packed else ", times 256 (128 if `halve`)"}, then multiplied. The
 * last channels may fill no four. */
static SMALL void {name}(
    const int8_t *x, int8_t *y, const int32_t *stream, uint32_t *column, int in_c, int out_c, int32_t center{
            "" if packed else ", int halve"
        })
{{
    uint32_t *end = column;
    int8_t last[4] = {{0, 0, 0, 0}};
    int whole = out_c / 4, block = 4 + (in_c + 3) / 4 * {4 if packed else 8} + {4 * requant.constants.shape[1]};
    memcpy(last, x + in_c / 4 * 4, (size_t)(in_c % 4));
    end = {row.name}(end, x, in_c / 4);
    end = {row.name}(end, last, in_c % 4 != 0);{"" if packed else halve}
    if (whole > 0)
        {dot.name}(stream, column, end, y, whole, center);
    if (out_c % 4 != 0) {{
        {dot.name}(stream + whole * block, column, end, last, 1, center);
        memcpy(y + 4 * whole, last, (size_t)(out_c % 4));
    }}
}}
""",
        (SMALL, row, dot),
    )
