"""Which products a depthwise convolution sums, as instructions on pairs of pixels and pairs of weights.

Where x are pixels and w taps, the pairs (x0 x1) (x2 x3) times (w0 w1) (w1 w2) give the neighbouring outputs
x0 w0 + x1 w1 + x2 w2 and x1 w0 + x2 w1 + x3 w2 in four instructions: SMLAD where both pixels of a pair are under a
window, SMLABB and its relatives where one is. Any kernel, stride and dilation is a list of such products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinymaix.graph import Array
from tinymaix.ops.window import Pair, extent

Tap = tuple[int, int]
WordOfTaps = tuple[Tap, Tap | None]
"""The taps in the low and in the high half of a word."""


@dataclass(frozen=True)
class Product:
    """A pair of pixels times a word of weights, added to an output of a turn."""

    output: Pair  # row, column
    tap_row: int
    row: int  # of the widened rows, from the first under the turn's windows
    pair: int  # of pixels, from the first under the turn's windows
    half: str  # of the pixels: "b" low, "t" high, "" both
    word: int
    word_half: str  # of the weights

    def line(self, total: str, x: str, w: str, before: str) -> str:
        """The instruction: ``total`` = ``before`` + product."""
        return f"smla{self.half + self.word_half if self.half else 'd'} {total}, {x}, {w}, {before}"


@dataclass(frozen=True)
class Tile:
    """The geometry of a kernel: it widens ``lanes`` channels for ``rows`` output rows, which fixes all offsets."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    lanes: int
    rows: int  # output rows for which input rows are widened at a time, at most
    turn: int  # output rows of a turn, 1 or 2; its columns are two

    @property
    def usual_rows(self) -> int:
        """Output rows of a block that is not the last one."""
        return self.rows - 2 if self.rows > 6 else self.rows

    @property
    def span(self) -> int:
        """Input rows under a window."""
        return extent(self.kernel[0], self.dilation[0])

    @property
    def in_rows(self) -> int:
        """Widened rows of a block."""
        return (self.rows - 1) * self.stride[0] + self.span

    @property
    def row_bytes(self) -> int:
        """From a row to the next one below it: the lanes' words of one pair of pixels."""
        return 4 * self.lanes

    @property
    def pitch(self) -> int:
        """Bytes from a pair of pixels to the one at its right."""
        return self.row_bytes * self.in_rows

    def pairs(self, out_w: int) -> int:
        """Pairs of pixels that the windows of a row touch."""
        return ((out_w - 1) * self.stride[1] + extent(self.kernel[1], self.dilation[1]) - 1) // 2 + 1

    def _pixels(self, column: int) -> list[tuple[int, list[tuple[str, int]]]]:
        """The pairs under the window of an output column, each with the halves and their columns of taps."""
        found: dict[int, list[tuple[str, int]]] = {}
        for tap in range(self.kernel[1]):
            pixel = column * self.stride[1] + tap * self.dilation[1]
            found.setdefault(pixel // 2, []).append(("bt"[pixel % 2], tap))
        return sorted(found.items())

    @cached_property
    def words(self) -> list[WordOfTaps]:
        """The words of weights that a turn needs; taps that never are a pair share words."""
        across: list[tuple[int, int]] = []
        alone: list[int] = []
        for column in (0, 1):
            for _, halves in self._pixels(column):
                taps = tuple(tap for _, tap in halves)
                if len(taps) == 2 and taps not in across:
                    across.append((taps[0], taps[1]))
                elif len(taps) == 1 and taps[0] not in alone:
                    alone.append(taps[0])
        paired = {tap for pair in across for tap in pair}
        rows = range(self.kernel[0])
        words: list[WordOfTaps] = [((row, low), (row, high)) for row in rows for low, high in across]
        rest = [(row, tap) for row in rows for tap in alone if tap not in paired]
        return words + [(rest[i], rest[i + 1] if i + 1 < len(rest) else None) for i in range(0, len(rest), 2)]

    def products(self, columns: int) -> list[Product]:
        """Of a turn of ``columns`` outputs in a row, tap row by tap row."""
        places = {taps: index for index, taps in enumerate(self.words)}
        found = []
        for tap_row in range(self.kernel[0]):
            halves_of: dict[int, tuple[int, str]] = {}
            for index, taps in reversed(list(enumerate(self.words))):
                halves_of |= {
                    tap[1]: (index, half) for tap, half in zip(taps, "bt", strict=True) if tap and tap[0] == tap_row
                }
            for output_row in range(self.turn):
                row = output_row * self.stride[0] + tap_row * self.dilation[0]
                for column in range(columns):
                    for pair, halves in self._pixels(column):
                        if len(halves) == 2:
                            half, word, word_half = "", places[(tap_row, halves[0][1]), (tap_row, halves[1][1])], ""
                        else:
                            half, (word, word_half) = halves[0][0], halves_of[halves[0][1]]
                        found.append(Product((output_row, column), tap_row, row, pair, half, word, word_half))
        return sorted(found, key=lambda product: (product.tap_row, product.pair))

    @property
    def packed(self) -> int:
        """Words of a channel's weights in flash, where they are bytes."""
        return -(-len(self.words) // 2)

    def byte_of(self, tap: Tap) -> int:
        """Where the weight of a tap stands among the bytes of a channel (see `pack`)."""
        word = next(index for index, taps in enumerate(self.words) if tap in taps)
        return word // 2 * 4 + word % 2 + 2 * self.words[word].index(tap)

    def pack(self, taps: Array) -> Array:
        """(channels, kernel_h, kernel_w) int8 -> (channels, packed) int32: bytes 0 and 2 of a word of memory are one
        word of weights, bytes 1 and 3 the next one, so that a mask tells them apart.
        """
        data = np.zeros((len(taps), 4 * self.packed), np.int8)
        for index, word in enumerate(self.words):
            for half, tap in enumerate(word):
                if tap is not None:
                    data[:, index // 2 * 4 + index % 2 + 2 * half] = taps[:, tap[0], tap[1]]
        return data.view("<i4")
