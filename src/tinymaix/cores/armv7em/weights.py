"""Weights and constants as one stream of 32-bit words in the order in which the kernels read them.

Output channels come in blocks. A block is: the first value of each sum; the weights, one word of each channel in turn;
of each channel the multiplier of its requantization (see cores/exact_high.py), with its sign where the layer needs it.
Activations are widened four at a time to the pairs (c0, c2) and (c1, c3), which takes no shuffles; so weights are
paired alike: widened, a word holds a pair of halfwords; else a word holds the four bytes, which the loop widens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.cores.exact_high import HighRequant
from tinymaix.graph import Array


def widths(optimize: str) -> tuple[bool, bool]:
    """Whether weights are widened to halfwords: the better guess first."""
    return (True, False) if optimize == "speed" else (False, True)


def padded(taps: int) -> int:
    """Taps of an output with the zeros that fill up the last word of activations."""
    return -(-taps // 4) * 4


def stream(weights: Array, requant: HighRequant, blocks: Sequence[int], wide: bool) -> Array:
    """The words of a layer: ``weights`` (channels, taps) int8, ``blocks`` the channels of each block."""
    channels, taps = weights.shape
    rows = np.zeros((sum(blocks), padded(taps)), np.int8)
    rows[:channels, :taps] = np.where(requant.fixed[:, None], 0, weights)
    words = widened(rows) if wide else rows.view("<i4")
    start, constants = np.zeros(len(rows), np.int64), np.zeros((len(rows), requant.constants.shape[1]), np.int64)
    start[:channels] = requant.start
    constants[:channels] = requant.constants
    parts, at = [], 0
    for size in blocks:
        block = slice(at, at + size)
        parts += [start[block], words[block].T.reshape(-1), constants[block].reshape(-1)]
        at += size
    return np.concatenate(parts).astype(np.int32)


def widened(rows: Array) -> Array:
    """(channels, taps) int8 -> (channels, taps / 2) words: halfwords (w0, w2) and (w1, w3) of every four."""
    order = np.arange(rows.shape[1]).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)
    return np.asarray(np.ascontiguousarray(rows[:, order].astype("<i2")).view("<i4"))
