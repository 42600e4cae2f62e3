"""Depthwise convolutions of 3x3 with stride 1 or 2: rows of four channels become pairs of pixels, then SMLAD over taps.

For a few output rows, the input rows under their windows are widened four channels at a time to pairs of neighbouring
pixels in the scratch memory, padding included, so that the loops over pixels have no tests. A pair of outputs needs two
words of each row: where x are pixels and w taps, (x0 x1) (x2 x3) times (w0 w1) (w1 w2) gives x0 w0 + x1 w1 + x2 w2 and
x1 w0 + x2 w1 + x3 w2 in four instructions. With stride 1 two output rows share their input rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.columns import HIGH_PRODUCT, NAKED, assembly, requantized, twin_requantize
from tinymaix.cores.core import Core
from tinymaix.cores.exact_high import HighRequant, prove_high_node
from tinymaix.graph import Array, Node
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode

LANES = 4
"""Channels that are widened together."""
WEIGHTS = ("r4", "r5", "r6", "r7", "r8", "r9")
"""(w0, w1) and (w1, w2) of each row of taps."""


def choose_depthwise_conv_2d(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for a depthwise convolution, none where the portable one serves."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    if node.output.dtype != np.int8 or optimize == "flash" or node.input(0).shape[3] < LANES:
        return ()
    if node.input(1).shape[1:3] != (3, 3) or op.dilation != (1, 1) or op.stride not in ((1, 1), (2, 2)):
        return ()
    requant = prove_high_node(node, op.activation, 3)
    if requant is None or requant.clamp:
        return ()
    stride = op.stride[0]
    reason = f"{_rows_at_once(stride)} by 2 outputs a turn, from rows of 4 channels widened to pairs of pixels"
    return [Implementation(partial(_emit, node, op, requant), 4 * _plane(node, stride), lead(node, op), reason)]


def lead(node: Node, op: DepthwiseConv2D) -> int:
    """Bytes by which the input must begin above the output.

    Rows are read again for each group of channels, so all input rows of a block must outlast all its output rows.
    """
    (batches, in_h, *_), (_, out_h, *_) = node.input(0).shape, node.output.shape
    in_row, out_row = node.input(0).nbytes // (batches * in_h), node.output.nbytes // (batches * out_h)
    at_once, needed = _rows_at_once(op.stride[0]), 0
    for batch in range(batches):
        for row in range(0, out_h, at_once):
            written = (batch * out_h + min(row + at_once, out_h)) * out_row
            first = min(max(0, row * op.stride[0] - op.padding[0]), in_h)
            needed = max(needed, written - (batch * in_h + first) * in_row)
    return needed


def _rows_at_once(stride: int) -> int:
    return 2 if stride == 1 else 1


def _input_rows(stride: int) -> int:
    return _rows_at_once(stride) + 2


def _pairs(node: Node, stride: int) -> int:
    """Pairs of pixels that the windows of a row touch, the one that only fills up an odd row included."""
    return -(-node.output.shape[2] // 2) * (3 - _rows_at_once(stride)) + 1


def _plane(node: Node, stride: int) -> int:
    """Words of four channels' widened rows."""
    return _pairs(node, stride) * _input_rows(stride) * LANES


def table(weights: Array, requant: HighRequant) -> Array:
    """Words of each channel: of each row of taps the bytes (w0, w1, w1, w2), start, multiplier, sign if there is one.

    weights: (1, 3, 3, channels) int8.
    """
    taps = np.where(requant.fixed[:, None, None], 0, np.moveaxis(weights[0], 2, 0))
    rows = np.ascontiguousarray(taps[:, :, [0, 1, 1, 2]].astype(np.int8)).reshape(-1, 12).view("<i4")
    constants = [requant.start, requant.multiplier, *([requant.sign] if requant.signed else [])]
    return np.concatenate([rows, np.stack(constants, axis=1).astype(np.int32)], axis=1)


def _emit(node: Node, op: DepthwiseConv2D, requant: HighRequant, code: LayerCode) -> None:
    (batches, in_h, in_w, in_c), (_, out_h, out_w, out_c) = node.input(0).shape, node.output.shape
    weights, stride = node.input(1).data, op.stride[0]
    assert weights is not None
    code.call(
        _kernel(requant, stride),
        x=code.input(0),
        y=code.output(),
        channels=code.constant("weights", table(weights, requant)),
        plane=f"(uint32_t *){code.scratch}",
        zero_x=node.input(0).q.z,
        center=requant.center,
        batches=batches,
        in_h=in_h,
        in_w=in_w,
        in_c=in_c,
        out_h=out_h,
        out_w=out_w,
        depth_multiplier=out_c // in_c,
        pairs=_pairs(node, stride),
        pad_top=op.padding[0],
        pad_left=op.padding[2],
    )


LOAD_WORD = Kernel(
    "load_word",
    """\
static inline uint32_t load_word(const int8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, 4);
    return word;
}
""",
)

PAIR_PIXELS = Kernel(
    "pair_pixels",
    """\
/* Four channels of two pixels -> four pairs of halfwords, times 256 */
static inline void pair_pixels(uint32_t *to, uint32_t a, uint32_t b)
{
    const uint32_t mask = 0xFF00FF00u;
    uint32_t even_a = (a << 8) & mask, even_b = (b << 8) & mask, odd_a = a & mask, odd_b = b & mask;
    to[0] = (even_a & 0xFFFFu) | even_b << 16;
    to[1] = (odd_a & 0xFFFFu) | odd_b << 16;
    to[2] = even_a >> 16 | (even_b & 0xFFFF0000u);
    to[3] = odd_a >> 16 | (odd_b & 0xFFFF0000u);
}
""",
)

WIDEN_ROW = Kernel(
    "widen_row",
    """\
/* Four channels of a row, which begins at pixel px, as pairs of pixels; outside of [0, in_w) they are ``zeros`` */
static void widen_row(uint32_t *to, const int8_t *row, int in_w, int in_c, int px, int pairs, int step, uint32_t zeros)
{
    while (pairs > 0) {
        const int8_t *at = row + px * in_c;
        int whole = px >= 0 && px < in_w ? (in_w - px) / 2 : 0;
        if (whole > pairs)
            whole = pairs;
        pairs -= whole;
        px += 2 * whole;
        for (; whole > 0; whole--, to += step, at += 2 * in_c)
            pair_pixels(to, load_word(at), load_word(at + in_c));
        if (pairs > 0) {
            pair_pixels(to, px >= 0 && px < in_w ? load_word(at) : zeros,
                        px + 1 >= 0 && px + 1 < in_w ? load_word(at + in_c) : zeros);
            pairs--;
            px += 2;
            to += step;
        }
    }
}
""",
    (LOAD_WORD, PAIR_PIXELS),
)


def _begin(requant: HighRequant) -> list[str]:
    """r4 to r9 are the weights, r0 the plane, r1 the output; on the stack end, start, multiplier, sign; at 52 step."""
    lines = ["push {r4-r11, lr}", "sub sp, #16", "ldm.w r0!, {r5, r7, r9}"]
    for even, odd in (WEIGHTS[0:2], WEIGHTS[2:4], WEIGHTS[4:6]):
        lines += [f"sxtb16 {even}, {odd}", f"sxtb16 {odd}, {odd}, ror #8"]
    lines += ["str r3, [sp]", "ldrd r10, r11, [r0]", "strd r10, r11, [sp, #4]"]
    if requant.signed:
        lines += ["ldr r10, [r0, #8]", "str r10, [sp, #12]"]
    return [*lines, "mov r0, r1", "mov r1, r2"]


def _finish(sums: tuple[str, ...], requant: HighRequant) -> list[str]:
    """The sums to int8, in place; r2 and r3 are lost."""
    if not requant.signed:
        return ["ldr r2, [sp, #8]", *requantized(sums, "r2", requant)]
    lines = ["ldr r3, [sp, #12]"]
    for total in sums:
        lines += [f"and r2, r3, {total}, asr #31", f"sub {total}, {total}, r2"]
    lines += ["ldr r2, [sp, #8]", "ldr r3, [sp, #60]"]
    for total in sums:
        asr = f", asr #{requant.shift}" if requant.shift else ""
        lines += [f"smmla {total}, {total}, r2, r3", f"ssat {total}, #8, {total}{asr}"]
    return lines


def _taps(row: int, first: str, second: str, x: str, next_x: str) -> list[str]:
    """Two neighbouring outputs with stride 1, ``row`` of the taps."""
    w01, w12 = WEIGHTS[2 * row : 2 * row + 2]
    return [
        f"smlad {first}, {x}, {w01}, {first}",
        f"smlatb {second}, {x}, {w01}, {second}",
        f"smlabt {first}, {next_x}, {w12}, {first}",
        f"smlad {second}, {next_x}, {w12}, {second}",
    ]


def _stride_1(requant: HighRequant) -> list[str]:
    upper, lower, pitch = ("r10", "r11"), ("r12", "lr"), 16 * _input_rows(1)
    lines = ["1:", "ldr r10, [sp, #4]", "mov r11, r10", "mov r12, r10", "mov lr, r10"]
    for row in (1, 2, 3, 0):
        lines += [f"ldr r2, [r0, #{16 * row}]", f"ldr r3, [r0, #{16 * row + pitch}]{'' if row else '!'}"]
        lines += _taps(row, *upper, "r2", "r3") if row < 3 else []
        lines += _taps(row - 1, *lower, "r2", "r3") if row > 0 else []
    lines += _finish(upper + lower, requant)
    lines += ["ldrd r2, r3, [sp, #52]", "add r3, r3, r1"]
    return [*lines, "strb lr, [r3, r2]", "strb r12, [r3]", "strb r11, [r1, r2]", "strb r10, [r1]"]


def _stride_2(requant: HighRequant) -> list[str]:
    pitch = 16 * _input_rows(2)
    lines = ["1:", "ldr r10, [sp, #4]", "mov r11, r10"]
    for row in (1, 2, 0):
        w01, w12 = WEIGHTS[2 * row : 2 * row + 2]
        lines += [f"ldr r2, [r0, #{16 * row}]", f"ldr r3, [r0, #{16 * row + pitch}]"]
        lines += [f"ldr r12, [r0, #{16 * row + 2 * pitch}]{'' if row else '!'}"]
        lines += [f"smlad r10, r2, {w01}, r10", f"smlad r11, r3, {w01}, r11"]
        lines += [f"smlabt r10, r3, {w12}, r10", f"smlabt r11, r12, {w12}, r11"]
    lines += [*_finish(("r10", "r11"), requant), "ldr r2, [sp, #52]"]
    return [*lines, "strb r11, [r1, r2]", "strb r10, [r1]"]


def dot_rows(requant: HighRequant, stride: int) -> Kernel:
    """depthwise_rows_s1_10, depthwise_rows_s2_signed_10, ...: two outputs a turn of one channel's rows."""
    name = f"depthwise_rows_s{stride}{'_signed' if requant.signed else ''}_{requant.shift}"
    body = _stride_1(requant) if stride == 1 else _stride_2(requant)
    code = [*_begin(requant), *body, "add r1, r1, r2, lsl #1", "ldr r2, [sp]", "cmp r0, r2", "bne.w 1b"]
    code += ["ldr r3, [sp, #64]", "cmp r3, #0", "beq.w 2f", "add r2, r2, r3", "str r2, [sp]"]  # once more, step 0
    code += ["mov r3, #0", "str r3, [sp, #52]", "str r3, [sp, #64]", "b.w 1b", "2:"]
    code += ["add sp, #16", "pop {r4-r11, pc}"]
    rows, at_once = _input_rows(stride), _rows_at_once(stride)
    prototype = f"""\
void {name}(
    const int32_t *channel, const uint32_t *plane, int8_t *y, const uint32_t *end, int step, int down,
    int32_t center, int lone)"""
    return Kernel(
        name,
        f"""\
/* One channel's taps with its widened rows up to ``end``: {at_once} by 2 outputs a turn, ``step`` bytes between
 * columns, ``down`` between rows. Behind ``end`` follows one column more where ``lone``, the bytes of a turn, is not 0.
 * What is beyond the last column or row is written first and then overwritten: step or down is 0. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(code)});
}}
#else
static {prototype}
{{
    const int32_t *constant = channel + 4;
    for (; plane != end + lone / 4; plane += {LANES * rows * stride}, y += 2 * step) {{
        int right = plane < end ? step : 0;
        for (int i = {2 * at_once - 1}; i >= 0; i--) {{
            uint32_t sum = (uint32_t)channel[3];
            for (int ky = 0; ky < 3; ky++)
                for (int kx = 0; kx < 3; kx++) {{
                    int row = i / 2 + ky, px = i % 2 * {stride} + kx;
                    uint32_t pair = plane[{LANES * rows} * (px / 2) + {LANES} * row];
                    int tap = (int8_t)((uint32_t)channel[ky] >> (kx < 2 ? 16 * kx : 24));
                    sum += (uint32_t)((int32_t)(int16_t)(px % 2 ? pair >> 16 : pair) * tap);
                }}
            y[i / 2 * down + i % 2 * right] = {twin_requantize(requant)};
        }}
    }}
}}
#endif
""",
        (HIGH_PRODUCT,),
    )


def _kernel(requant: HighRequant, stride: int) -> Kernel:
    dot, rows, at_once = dot_rows(requant, stride), _input_rows(stride), _rows_at_once(stride)
    name = dot.name.replace("rows", "3x3_s8")
    last = "oy + 1 < out_h ? out_w * out_c : 0" if at_once == 2 else "0"
    return Kernel(
        name,
        f"""\
/* Depthwise convolution 3x3, int8 NHWC, {at_once} output row{"s" * (at_once > 1)} at a time for four channels each. */
static void {name}(
    const int8_t *x, int8_t *y, const int32_t *channels, uint32_t *plane, int zero_x, int32_t center,
    int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int depth_multiplier, int pairs,
    int pad_top, int pad_left)
{{
    int out_c = in_c * depth_multiplier, step = out_w > 1 ? out_c : 0;
    int turns = out_w > 1 ? out_w / 2 : 1, lone = out_w > 1 && out_w % 2 ? {4 * LANES * rows * stride} : 0;
    uint32_t zeros = (uint32_t)(uint8_t)zero_x * 0x01010101u;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int oy = 0; oy < out_h; oy += {at_once}) {{
            int8_t *out = y + (n * out_h + oy) * out_w * out_c;
            int down = {last};
            const int32_t *channel = channels;
            for (int c = 0; c < in_c;) {{
                int from = c + {LANES} <= in_c ? c : in_c - {LANES};
                for (int row = 0, iy = oy * {stride} - pad_top; row < {rows}; row++, iy++) {{
                    int inside = iy >= 0 && iy < in_h;
                    const int8_t *at = x + (inside ? iy : 0) * in_w * in_c + from;
                    widen_row(plane + {LANES} * row, at, inside ? in_w : 0, in_c, -pad_left, pairs, {LANES * rows},
                              zeros);
                }}
                for (; c < from + {LANES}; c++)
                    for (int i = 0; i < depth_multiplier; i++, channel += {6 if requant.signed else 5}, out++) {{
                        const uint32_t *begin = plane + c - from, *end = begin + turns * {LANES * rows * stride};
                        {dot.name}(channel, begin, out, end, step, down, center, lone);
                    }}
            }}
        }}
}}
""",
        (WIDEN_ROW, dot),
    )
