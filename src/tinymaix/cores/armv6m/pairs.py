"""Convolutions of two neighbouring pixels at a time: their inputs become the halves of words, then all channels.

An activation pair and four weights are loaded as a word each and serve eight products (see thumb.py), where the tile of
four channels by one pixel loads five bytes for four. Weights stay bytes; the words of one window are the RAM it takes.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinymaix.cores.armv6m import thumb
from tinymaix.cores.armv7em.assembly import assembly
from tinymaix.cores.gather import GATHER_WINDOW, window
from tinymaix.cores.tiles_finish import Finish
from tinymaix.cores.tiles_winograd_c import HALF
from tinymaix.graph import Array, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import SMALL, Argument, Implementation, Kernel, LayerCode

CHANNELS = 4


def pairs(node: Node, op: Conv2D | None, finish: Finish, lead: int | None) -> Implementation:
    """The implementation for a layer of several pixels. op: None where pixels are rows of taps in memory."""
    taps = _taps(node)
    scratch = 4 * taps + (0 if op is None else taps)  # words; and the bytes of a window
    reason = f"{CHANNELS} channels by 2 pixels a turn, {finish.reason}"
    return Implementation(partial(_emit, node, op, finish), scratch, lead, reason)


def _taps(node: Node) -> int:
    """Filled up to whole turns, by weights of 0."""
    weights = node.input(1)
    return -(-weights.elements // weights.shape[0] // thumb.TURN) * thumb.TURN


def blocks(weights: Array, fixed: Array, taps: int) -> Array:
    """(out channels, ...) int8 -> words, one for each tap of four channels."""
    rows = weights.reshape(len(weights), -1)
    filled = np.zeros((-(-len(rows) // CHANNELS) * CHANNELS, taps), np.int8)
    filled[: len(rows), : rows.shape[1]] = np.where(fixed[:, None], 0, rows)
    return np.ascontiguousarray(filled.reshape(-1, CHANNELS, taps).transpose(0, 2, 1)).view("<i4").reshape(-1)


def _emit(node: Node, op: Conv2D | None, finish: Finish, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    given: dict[str, Argument] = {
        "x": code.input(0),
        "y": code.output(),
        "weights": code.constant("weights", blocks(weights, finish.fixed, _taps(node))),
        "constants": code.constant("constants", finish.constants),
        "words": f"(uint32_t *){code.scratch}",
        "size": 4 * _taps(node),
        "out_c": len(weights),
        "center": finish.center,
    }
    if op is None:
        taps = weights[0].size
        code.call(rows_kernel(finish), **given, taps=taps, pixels=node.output.elements // len(weights))
    else:
        code.call(windows_kernel(finish), **given, zero_x=node.input(0).q.z, **window(node, op))


PUT_HALF = Kernel(
    "put_half",
    """\
/* Bytes as the lower (to) or upper (to + 1) halves of words */
static __attribute__((noinline)) void put_half(half_s16 *to, const int8_t *bytes, int n)
{
    for (; n >= 4; n -= 4, bytes += 4, to += 8) {
        to[0] = bytes[0];
        to[2] = bytes[1];
        to[4] = bytes[2];
        to[6] = bytes[3];
    }
    for (; n > 0; n--, to += 2)
        *to = *bytes++;
}
""",
    (HALF,),
)

DOT = Kernel(
    "pair_dot",
    f"""\
/* The sums of {CHANNELS} channels of two pixels over ``size`` bytes of words -> the end of the weights, of which a word
 * has a byte of each channel */
{thumb.IS_ARMV6M}{thumb.PROTOTYPE} const uint32_t *pair_dot(
    const uint32_t *weights, const uint32_t *words, int size, int32_t *sums)
{{
    __asm__ volatile(
{assembly(thumb.dot())});
}}
#else
static const uint32_t *pair_dot(const uint32_t *weights, const uint32_t *words, int size, int32_t *sums)
{{
    memset(sums, 0, {8 * CHANNELS});
    for (const uint32_t *end = words + size / 4; words != end; words++, weights++)
        for (int i = 0; i < {CHANNELS}; i++) {{
            int32_t weight = (int8_t)(*weights >> 8 * i);
            sums[2 * i] += weight * (int16_t)*words;
            sums[2 * i + 1] += weight * (int16_t)(*words >> 16);
        }}
    return weights;
}}
#endif
""",
)


def turn_kernel(finish: Finish) -> Kernel:
    """pair_turn_any(words, weights, constants, y, next, size, out_c, center): all channels of two pixels."""
    name = f"pair_turn_{finish.name}"
    loads = "\n".join(f"            {line}" for line in finish.loads)
    values = [
        f"y[{at}i] = {finish.value.replace('sum', f'sums[2 * i{of}]')};" for at, of in (("next + ", " + 1"), ("", ""))
    ]
    return Kernel(
        name,
        f"""\
/* All channels of two pixels, whose outputs lie ``next`` bytes apart; 0: of the first only */
static SMALL void {name}(
    const uint32_t *words, const uint32_t *weights, const int32_t *constants, int8_t *y, int next, int size, int out_c,
    int32_t center)
{{
    int32_t sums[{2 * CHANNELS}];
    for (int c = 0; c < out_c; c += {CHANNELS}, y += {CHANNELS}) {{
        weights = pair_dot(weights, words, size, sums);
        for (int i = 0; i < {CHANNELS} && c + i < out_c; i++, constants += {finish.width}) {{
{loads.replace("constant +", "constants +")}
            {values[0]}
            {values[1]}
        }}
    }}
}}
""",
        (SMALL, DOT, *finish.needs),
    )


def rows_kernel(finish: Finish) -> Kernel:
    """Pixels that are rows of taps, one behind the other."""
    turn = turn_kernel(finish)
    name = f"pair_rows_{finish.name}"
    return Kernel(
        name,
        f"""\
/* Two pixels at a time, int8: pointwise convolution, fully connected layer of several rows */
static SMALL void {name}(
    const int8_t *x, const int32_t *weights, const int32_t *constants, int8_t *y, uint32_t *words, int size, int pixels,
    int taps, int out_c, int32_t center)
{{
    for (; pixels > 0; pixels -= 2, x += 2 * taps, y += 2 * out_c) {{
        put_half((half_s16 *)words, x, taps);
        if (pixels > 1)
            put_half((half_s16 *)words + 1, x + taps, taps);
        {turn.name}(words, (const uint32_t *)weights, constants, y, pixels > 1 ? out_c : 0, size, out_c, center);
    }}
}}
""",
        (SMALL, PUT_HALF, turn),
    )


def windows_kernel(finish: Finish) -> Kernel:
    """Pixels whose windows are copied first."""
    turn = turn_kernel(finish)
    name = f"pair_windows_{finish.name}"
    return Kernel(
        name,
        f"""\
/* Convolution, int8 NHWC: the windows of two pixels at a time */
static SMALL void {name}(
    const int8_t *x, const int32_t *weights, const int32_t *constants, int8_t *y, uint32_t *words, int size, int out_c,
    int32_t center, int zero_x, int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left)
{{
    int8_t *bytes = (int8_t *)words + size;
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int pixels = out_h * out_w, ox = 0, oy = 0; pixels > 0; pixels -= 2) {{
            int count = pixels > 1 ? 2 : 1;
            for (int i = 0; i < count; i++) {{
                gather_window(bytes, x, zero_x, in_h, in_w, in_c, kernel_h, kernel_w, dilation_h, dilation_w,
                              oy * stride_h - pad_top, ox * stride_w - pad_left);
                put_half((half_s16 *)words + i, bytes, kernel_h * kernel_w * in_c);
                if (++ox == out_w)
                    ox = 0, oy++;
            }}
            {turn.name}(
                words, (const uint32_t *)weights, constants, y, count > 1 ? out_c : 0, size, out_c, center);
            y += count * out_c;
        }}
}}
""",
        (SMALL, GATHER_WINDOW, PUT_HALF, turn),
    )
