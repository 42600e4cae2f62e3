"""Pointwise convolutions of stride 1: two pixels are widened into columns, then all channels are computed for both."""

from __future__ import annotations

from functools import partial

from tinymaix.cores.armv7em.assembly import ASSEMBLY, EVEN_BYTES, NAKED, assembly
from tinymaix.cores.armv7em.gemm import Form, Product, block_stream
from tinymaix.cores.armv7em.weights import padded
from tinymaix.cores.exact_high import HighRequant
from tinymaix.graph import Node
from tinymaix.ops.emit import SMALL, Implementation, Kernel, LayerCode

LOAD_4 = Kernel(
    "load_4",
    """\
/* Four bytes as a word; they need not be aligned */
static inline uint32_t load_4(const int8_t *x)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t word;
    memcpy(&word, x, 4);
    return word;
#else
    return (uint8_t)x[0] | (uint32_t)(uint8_t)x[1] << 8 | (uint32_t)(uint8_t)x[2] << 16 | (uint32_t)(uint8_t)x[3] << 24;
#endif
}
""",
)


def _widen_pair() -> Kernel:
    one = ["ldr r7, [r1], #4", "ldr r8, [r2], #4", "sxtb16 r5, r7", "sxtb16 r6, r8", "sxtb16 r7, r7, ror #8"]
    one += ["sxtb16 r8, r8, ror #8", "stm.w r0!, {r5, r6, r7, r8}"]
    two = ["ldr r7, [r1], #4", "ldr r8, [r2], #4", "ldr r11, [r1], #4", "ldr r12, [r2], #4"]
    for low, high in (("r5", "r7"), ("r6", "r8"), ("r9", "r11"), ("r10", "r12")):
        two += [f"sxtb16 {low}, {high}", f"sxtb16 {high}, {high}, ror #8"]
    two += ["stm.w r0!, {r5-r12}"]
    code = ["push {r4-r12, lr}", "1:", "lsrs.w lr, r3, #1", "bcc.w 2f", *one]
    code += ["2:", "beq.w 4f", "3:", *two, "subs.w lr, lr, #1", "bne.w 3b", "4:"]
    code += ["ldrd r5, r6, [sp, #40]", "add r1, r1, r6", "add r2, r2, r6", "subs r5, #1", "str r5, [sp, #40]"]
    code += ["bne.w 1b", "pop {r4-r12, pc}"]
    prototype = "void widen_pair(uint32_t *columns, const int8_t *x0, const int8_t *x1, int quads, int rows, int gap)"
    return Kernel(
        "widen_pair",
        f"""\
/* The same bytes of two pixels or windows as columns: rows of four times ``quads``, ``gap`` bytes apart */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static {prototype}
{{
    for (; rows > 0; rows--, x0 += gap, x1 += gap)
        for (int i = 0; i < quads; i++, columns += 4, x0 += 4, x1 += 4) {{
            uint32_t a = load_4(x0), b = load_4(x1);
            columns[0] = even_bytes(a);
            columns[1] = even_bytes(b);
            columns[2] = even_bytes(a >> 8);
            columns[3] = even_bytes(b >> 8);
        }}
}}
#endif
""",
        (ASSEMBLY, LOAD_4, EVEN_BYTES),
    )


WIDEN_PAIR = _widen_pair()

REASON = "two pixels by four channels a turn, {}, requantized by one product"


def pointwise(node: Node, requant: HighRequant, form: Form) -> Implementation:
    """A convolution whose pixels are independent rows of channels, or a fully connected layer of several rows."""
    taps, out_c = node.input(0).shape[-1], node.output.shape[-1]
    if node.op.kind == "FULLY_CONNECTED":
        out_c, taps = node.input(1).shape
    pixels = node.output.elements // out_c
    # Both pixels of a pair are read before one is written; behind the last pair nothing is read any more.
    lead = max(0, (pixels - 1) // 2 * 2 * (out_c - taps))
    reason = REASON.format(form.words)
    emit = partial(_emit, node, requant, form, taps, out_c, pixels)
    return Implementation(emit, 4 * padded(taps) + (0 if taps % 4 == 0 else 2 * padded(taps)), lead, reason)


def _emit(node: Node, requant: HighRequant, form: Form, taps: int, out_c: int, pixels: int, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    words = block_stream(weights.reshape(out_c, taps), requant, form, pixels)
    product = Product.of(requant, form, out_c, pixels)
    code.call(
        Kernel("pointwise_s8", POINTWISE_S8, (SMALL, WIDEN_PAIR, *product.kernels)),
        x=code.input(0),
        y=code.output(),
        stream=code.constant("weights", words),
        columns=f"(uint32_t *){code.scratch}",
        pixels=pixels,
        in_c=taps,
        **product.arguments,
    )


POINTWISE_S8 = """\
/* Pointwise convolution, int8. A lone last pixel is computed twice. Channels that fill no words are copied first. */
static SMALL void pointwise_s8(
    const int8_t *x, int8_t *y, const int32_t *stream, uint32_t *columns, dot_columns *fours, dot_columns *twos,
    int pixels, int in_c, int out_c, int32_t center, int is_signed)
{
    int quads = (in_c + 3) / 4;
    uint32_t *end = columns + 4 * quads;
    int8_t *bytes = (int8_t *)end;
    for (int i = 0; i < pixels; i += 2, x += 2 * in_c, y += 2 * out_c) {
        int next = i + 1 < pixels ? out_c : 0;
        const int8_t *x0 = x, *x1 = next ? x + in_c : x;
        if (in_c % 4 != 0) {
            x0 = (const int8_t *)memcpy(bytes, x0, (size_t)in_c);
            x1 = (const int8_t *)memcpy(bytes + 4 * quads, x1, (size_t)in_c);
        }
        widen_pair(columns, x0, x1, quads, 1, 0);
        multiply_columns(fours, twos, stream, columns, end, y, next, out_c, center, is_signed);
    }
}
"""
