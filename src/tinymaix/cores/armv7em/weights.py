"""Weights and constants as one stream of 32-bit words in the order in which a kernel of one column reads them.

Output channels come in blocks. A block is: the first value of each sum; the weights, one word of each channel in turn;
of each channel the multiplier of its requantization (see cores/exact_high.py), with its sign where the layer needs it.

Weights are packed, or else widened to halfwords. Packed, four fill a word as two halfwords w0 + 256 w1 and w2 + 256 w3.
The product of such a halfword with c1 is 256 c1 w1 and, too much, c1 w0. SXTB16 leaves w0, and its product with
256 c0 - c1 is 256 c0 w0 and as much too little. So two products and one instruction between them take four weights,
where each product of unpacked bytes takes an instruction before it. 256 c0 - c1 + 127 fits 16 bits for all bytes c0 and
c1; 127 w0 too much is known, and left out of the first value of the sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.cores.exact_high import HighRequant
from tinymaix.graph import Array

OFFSET = 127
"""That keeps 256 c0 - c1 within 16 bits."""


def padded(taps: int) -> int:
    """Taps of an output with the zeros that fill up the last word of activations."""
    return -(-taps // 4) * 4


def packs(weights: Array) -> bool:
    """Whether weights (channels, taps) int8 can be packed: not where -128 comes behind a negative one."""
    behind = weights[:, 1::2]
    return not bool(((behind == -128) & (weights[:, 0::2][:, : behind.shape[1]] < 0)).any())


def stream(weights: Array, requant: HighRequant, blocks: Sequence[int], packed: bool) -> Array:
    """The words of a layer: ``weights`` (channels, taps) int8, ``blocks`` the channels of each block."""
    channels, taps = weights.shape
    rows = np.zeros((sum(blocks), padded(taps)), np.int64)
    rows[:channels, :taps] = np.where(requant.fixed[:, None], 0, weights)
    words = (rows[:, 0::2] + 256 * rows[:, 1::2]).astype("<i2").view("<i4") if packed else widened(rows)
    start, constants = np.zeros(len(rows), np.int64), np.zeros((len(rows), requant.constants.shape[1]), np.int64)
    start[:channels] = requant.start
    start -= OFFSET * rows[:, 0::2].sum(axis=1) * packed
    constants[:channels] = requant.constants
    parts, at = [], 0
    for size in blocks:
        block = slice(at, at + size)
        parts += [start[block], words[block].T.reshape(-1), constants[block].reshape(-1)]
        at += size
    return np.concatenate(parts).astype(np.int32)


def widened(rows: Array) -> Array:
    """(channels, taps) -> (channels, taps / 2) words: halfwords (w0, w2) and (w1, w3) of every four.

    Activations are widened to the pairs (c0, c2) and (c1, c3), which takes no shuffles.
    """
    order = np.arange(rows.shape[1]).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)
    return np.asarray(np.ascontiguousarray(rows[:, order].astype("<i2")).view("<i4"))
