"""Depthwise convolutions on Armv7E-M, of any kernel, stride, dilation and depth multiplier: pairs of pixels, SMLAD.

For a block of output rows, the input rows under their windows are widened four channels at a time to planes of
neighbouring pixels in the scratch memory, padding included, so that the loops over pixels have no tests. The more rows
a block has, the fewer are widened twice and the fewer calls there are, and the more scratch memory it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.depthwise_direct import direct
from tinymaix.cores.armv7em.depthwise_dot import dot_kernel, instructions
from tinymaix.cores.armv7em.depthwise_spec import Distances, Dot
from tinymaix.cores.armv7em.depthwise_taps import Tile
from tinymaix.cores.armv7em.depthwise_widen import LANES, widen_rows
from tinymaix.cores.core import Core
from tinymaix.cores.exact_high import CENTERED, PLAIN, SIGNED, HighRequant, prove_high_node
from tinymaix.cores.finish import clamped
from tinymaix.graph import Array, Node
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Implementation, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantized_range

MANY, FEW = 10, 2
"""Output rows of a block: only two numbers, since each needs a kernel of its own, and many where that saves much."""
TOO_OFTEN = 1.5
"""How often a row may be widened, on average."""
LITTLE = 5000
SHARE = 16
"""Bytes of widened rows that many rows may take, and the part of input and output that they may take."""
MOST_CODE = 500
"""Instructions of a kernel beyond which the portable one serves."""
MOST_TAPS = MOST_CODE // 2
"""Each takes more than two instructions."""
LITTLE_CODE = 200
"""Instructions up to which a kernel is made for odd and even widths alike, so that layers share it."""
LEAST_OUTPUTS = 4
"""Of a channel. For fewer, widening costs more than it saves."""


@dataclass(frozen=True)
class Layer:
    """Shapes of a depthwise convolution. An image of one column under a kernel of one column lies on its side."""

    batches: int
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad_top: int
    pad_left: int

    @staticmethod
    def of(node: Node, op: DepthwiseConv2D) -> Layer:
        (n, in_h, in_w, in_c), (_, kernel_h, kernel_w, out_c) = node.input(0).shape, node.input(1).shape
        _, out_h, out_w, _ = node.output.shape
        stride, dilation, (pad_top, _, pad_left, _) = op.stride, op.dilation, op.padding
        if in_w == kernel_w == out_w == 1 and pad_left == 0:
            in_h, in_w, out_h, out_w, kernel_h, kernel_w = in_w, in_h, out_w, out_h, kernel_w, kernel_h
            stride, dilation, pad_top, pad_left = stride[::-1], dilation[::-1], 0, pad_top
        return Layer(
            n, in_h, in_w, in_c, out_h, out_w, out_c, (kernel_h, kernel_w), stride, dilation, pad_top, pad_left
        )

    def tile(self, rows: int) -> Tile:
        """For blocks of up to ``rows`` rows, an even number; a single row where the output has no more."""
        single = self.out_h == 1
        lanes = min(self.in_c, LANES)
        return Tile(self.kernel, self.stride, self.dilation, lanes, 1 if single else rows, 1 if single else 2)

    def dot(self, tile: Tile, requant: HighRequant, distances: Distances | None) -> Dot:
        """The kernel that sums: its inner loop takes the way that has more turns."""
        across = self.out_w > 1 and self.out_w >= min(tile.rows, self.out_h)
        odd = Dot(tile, requant, distances, across, True)
        return odd if self.out_w % 2 or len(instructions(odd)) <= LITTLE_CODE else replace(odd, odd=False)

    def blocks(self, tile: Tile) -> Iterator[tuple[int, int]]:
        """(first output row, rows) of each block, as in the emitted C: an even number of rows, where turns have two.

        The last block takes two rows more than others rather than to leave them; a lone row comes with the one above.
        """
        end = 0
        while end < self.out_h:
            first, rest = end, self.out_h - end
            rows = rest if rest <= tile.rows else tile.usual_rows
            if rows % tile.turn:
                first, rows = (first - 1, rows + 1) if first and rows < tile.rows else (first, rows - 1)
            yield first, rows
            end = first + rows

    def lead(self, tile: Tile) -> int:
        """Bytes by which the input must begin above the output.

        Rows are read again for each group of channels, so all input rows of a block must outlast all its output rows.
        """
        in_row, out_row, needed = self.in_w * self.in_c, self.out_w * self.out_c, 0
        for batch in range(self.batches):
            for first, rows in self.blocks(tile):
                written = (batch * self.out_h + first + rows) * out_row
                read = min(max(0, first * self.stride[0] - self.pad_top), self.in_h)
                needed = max(needed, written - (batch * self.in_h + read) * in_row)
        return needed

    def plane(self, tile: Tile) -> int:
        """Bytes of the widened rows."""
        return tile.pitch * tile.pairs(self.out_w)

    @property
    def usual_rows(self) -> int:
        """Rows of a block: many where they take little memory and save much."""
        activations = self.in_h * self.in_w * self.in_c + self.out_h * self.out_w * self.out_c
        room = max(LITTLE, activations // SHARE)
        again = self.tile(FEW).in_rows / (FEW * self.stride[0])  # how often FEW would widen a row
        return MANY if again >= TOO_OFTEN and self.plane(self.tile(MANY)) <= room else FEW

    def inside(self, tile: Tile) -> int:
        """Pixels of an input row that the windows touch."""
        return max(0, min(self.in_w, 2 * tile.pairs(self.out_w) - self.pad_left))


def choose_depthwise_conv_2d(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for a depthwise convolution, none where the portable one serves."""
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    layer = Layer.of(node, op)
    if node.output.dtype != np.int8 or optimize == "flash":
        return ()
    # A center takes one more load of four outputs; where code is to be small, layers that need one share their kernel.
    forms = (PLAIN, CENTERED, SIGNED) if optimize == "speed" else (CENTERED, SIGNED)
    requant = prove_high_node(node, op.activation, 3, varied=True, forms=forms)
    if requant is None:
        return ()
    plain = direct(node, op, requant)
    found = [*_widening(node, layer, requant, optimize), *([plain] if plain else [])]
    limits = quantized_range(op.activation, node.output)
    return [clamped(implementation, node, requant.clamp, limits) for implementation in found]


def _widening(node: Node, layer: Layer, requant: HighRequant, optimize: str) -> list[Implementation]:
    """With blocks of different numbers of rows, and with offsets of this shape or of any."""
    if layer.out_h * layer.out_w < LEAST_OUTPUTS or layer.kernel[0] * layer.kernel[1] > MOST_TAPS:
        return []
    sizes = [layer.usual_rows, max(2, layer.out_h // 2 * 2), FEW]
    if optimize != "speed":  # a few percent slower, but the input and the output may stand closer
        sizes.reverse()
    tiles = dict.fromkeys(layer.tile(rows) for rows in sizes)
    distances = Distances(layer.out_c, layer.out_w * layer.out_c)
    dots = [layer.dot(tile, requant, near) for tile in tiles for near in (None, distances)]
    served = [dot for dot in dots if not dot.far and len(instructions(dot)) <= MOST_CODE]
    return [_implementation(node, layer, dot) for dot in served]


def _implementation(node: Node, layer: Layer, dot: Dot) -> Implementation:
    tile = dot.tile
    reason = f"{tile.turn} by 2 outputs a turn, {tile.rows} rows of {tile.lanes} channels widened to pairs of pixels"
    reason += ", offsets of this shape" if dot.distances else ""
    return Implementation(partial(_emit, node, layer, dot), layer.plane(tile), layer.lead(tile), reason)


def table(weights: Array, dot: Dot) -> Array:
    """Words of each channel: bytes of weights as `Tile.pack` has them, start, constants of the requantization.

    weights: (1, kernel_h, kernel_w, channels) int8.
    """
    requant = dot.requant
    taps = np.where(requant.fixed[:, None, None], 0, np.moveaxis(weights[0], 2, 0)).astype(np.int8)
    taps = taps.reshape(-1, *dot.tile.kernel)
    constants = np.concatenate([requant.start[:, None], requant.constants], axis=1)
    return np.concatenate([dot.tile.pack(taps), constants.astype(np.int32)], axis=1)


def _emit(node: Node, layer: Layer, dot: Dot, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    tile, widen, inner = dot.tile, widen_rows(dot.tile.lanes), dot_kernel(dot)
    code.call(
        Kernel("depthwise_s8", DEPTHWISE_S8, (widen, inner)),
        x=code.input(0),
        y=code.output(),
        channels=code.constant("weights", table(weights, dot)),
        plane=f"(uint32_t *){code.scratch}",
        widen=widen.name,
        dot=inner.name,
        zero_x=node.input(0).q.z,
        center=dot.requant.center,
        batches=layer.batches,
        in_h=layer.in_h,
        in_w=layer.in_w,
        in_c=layer.in_c,
        out_h=layer.out_h,
        out_w=layer.out_w,
        depth_multiplier=layer.out_c // layer.in_c,
        stride_h=layer.stride[0],
        span_h=tile.span,
        pad_top=layer.pad_top,
        pad_left=layer.pad_left,
        pairs=tile.pairs(layer.out_w),
        inside=layer.inside(tile),
        lanes=tile.lanes,
        most_rows=tile.rows,
        usual_rows=tile.usual_rows,
        turn=tile.turn,
        words=dot.words,
    )


DEPTHWISE_S8 = """\
typedef void depthwise_dot(const int32_t *channel, const uint32_t *plane, int8_t *y, int count, int plane_step,
                           int rows, int out_w, int step, int down, int32_t center);
typedef void depthwise_widen(uint32_t *to, const int8_t *x, int in_c, uint32_t zeros, int rows, int row, int pitch,
                             int left, int width);

/* Depthwise convolution, int8 NHWC, up to most_rows output rows at a time for ``lanes`` of the channels. ``widen``
 * makes ``pairs`` of pixels of the input rows under them, ``inside`` pixels of them in the image; ``dot`` sums.
 * A channel has ``words`` of weights and constants. */
static __attribute__((noinline)) void depthwise_s8(
    const int8_t *x, int8_t *y, const int32_t *channels, uint32_t *plane, depthwise_widen *widen, depthwise_dot *dot,
    int zero_x, int32_t center, int batches, int in_h, int in_w, int in_c, int out_h, int out_w, int depth_multiplier,
    int stride_h, int span_h, int pad_top, int pad_left, int pairs, int inside, int lanes, int most_rows,
    int usual_rows, int turn, int words)
{
    int out_c = in_c * depth_multiplier, row = in_w * in_c, down = out_w * out_c;
    int in_rows = (most_rows - 1) * stride_h + span_h;
    uint32_t zero = (uint32_t)zero_x & 0xFFFFu, zeros = (zero & 0xFFu) * 0x01010101u;
    for (int n = 0; n < batches; n++, x += in_h * row, y += out_h * down)
        for (int first = 0, rows = 0; first + rows < out_h;) {
            first += rows;
            rows = out_h - first <= most_rows ? out_h - first : usual_rows;
            if (rows % turn && first > 0 && rows < most_rows)
                first--, rows++;
            else
                rows -= rows % turn;
            int top = first * stride_h - pad_top, bottom = top + (rows - 1) * stride_h + span_h;
            int from_y = top < 0 ? 0 : top, to_y = bottom > in_h ? in_h : bottom;
            if (first == 0 || from_y != top || to_y != bottom)
                for (int i = 0; i < pairs * in_rows * lanes; i++)
                    plane[i] = zero << 16 | zero;
            uint32_t *widened = plane + (pad_left / 2 * in_rows + from_y - top) * lanes;
            const int32_t *channel = channels;
            int8_t *out = y + first * down;
            for (int c = 0; c < in_c;) {
                int from = c + lanes <= in_c ? c : in_c - lanes;
                if (from_y < to_y && inside > 0)
                    widen(widened, x + from_y * row + from, in_c, zeros, to_y - from_y, row, 4 * lanes * in_rows,
                          pad_left % 2, inside);
                while (c < from + lanes) {
                    int planes = depth_multiplier > 1 ? 1 : from + lanes - c, count = planes * depth_multiplier;
                    dot(channel, plane + (c - from), out, count, planes > 1 ? 4 : 0, rows, out_w, out_c, down, center);
                    channel += words * count;
                    out += count;
                    c += planes;
                }
            }
        }
}
"""
