"""Convolutions and fully connected layers on cores that multiply one pair of numbers at a time: tiles in registers.

A tile is a few output channels by a few pixels. Of every tap it loads a weight of each channel and a byte of each
pixel, and each of those serves a whole side of the tile: 16 products of 4 by 4 take 8 loads, where a dot product alone
takes 32. It is plain C, which compilers turn into what it says, as long as the sums fit into the registers.

Weights stay bytes, those of a block of channels side by side for every tap. Sums are finished by one product where that
is proven exact (cores/exact_high.py); the factor of 256 that it wants is one shift here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinymaix.cores.core import Core
from tinymaix.cores.finish import clamped
from tinymaix.cores.gather import window
from tinymaix.cores.tiles_c import rows_kernel, tile_kernel, windows_kernel
from tinymaix.cores.tiles_depthwise import choose_depthwise_conv_2d
from tinymaix.cores.tiles_finish import Finish, finish_of
from tinymaix.cores.tiles_winograd import serves, winograd
from tinymaix.graph import Array, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.emit import Argument, Implementation, LayerCode
from tinymaix.ops.fixed_point import quantized_range
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.plan import row_lead

Chooser = Callable[[Node, Core, str], Sequence[Implementation]]
Own = Callable[[Node, Conv2D | None, Finish, int | None], Implementation]
"""From a layer, its window unless pixels are rows in memory, how sums are finished and by what the input must lead."""


@dataclass(frozen=True)
class Tile:
    """Sums that are computed together."""

    channels: int
    pixels: int
    own: Own | None = None
    """The family's own kernel for it; None where the C of tiles_c.py serves."""


def choosers(tile: Tile) -> Mapping[str, Chooser]:
    """The choosers of a family of cores whose registers hold the tile."""
    return {
        "CONV_2D": partial(_choose_conv_2d, tile),
        "FULLY_CONNECTED": partial(_choose_fully_connected, tile),
        "DEPTHWISE_CONV_2D": choose_depthwise_conv_2d,
    }


def _choose_conv_2d(tile: Tile, node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    op = node.op
    assert isinstance(op, Conv2D)
    if node.input(0).shape[3] != node.input(1).shape[3]:
        return ()
    pointwise = node.input(1).shape[1:3] == (1, 1) and op.stride == (1, 1) and op.padding == (0, 0, 0, 0)
    return _tiled(tile, node, core, optimize, op.activation, None if pointwise else op)


def _choose_fully_connected(tile: Tile, node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    op = node.op
    assert isinstance(op, FullyConnected)
    return _tiled(tile, node, core, optimize, op.activation, None)


def _tiled(
    tile: Tile, node: Node, core: Core, optimize: str, activation: str, op: Conv2D | None
) -> Sequence[Implementation]:
    """The tiled kernel, none where the portable one serves. op: None where pixels are rows of taps in memory."""
    weights = node.input(1).data
    if node.output.dtype != np.int8 or optimize == "flash" or "mul" not in core.features or weights is None:
        return ()
    finish = finish_of(node, activation, 0, core)
    out_c, taps = len(weights), weights[0].size
    pixels = node.output.elements // out_c
    blocks = -(-out_c // tile.channels)
    served = Tile(-(-out_c // blocks), min(tile.pixels, pixels))  # blocks alike: the last is filled up with little
    reason = f"{served.channels} channels by {served.pixels} pixels a turn, {finish.reason}"
    emit = partial(_emit, node, finish, served, op)
    lead = _lead(pixels, served.pixels, taps, out_c) if op is None else row_lead(node)
    if tile.own is not None:
        way = tile.own(node, op, finish, lead)
    else:
        scratch = 0 if op is None else -(-served.pixels * _even(taps) // 4) * 4
        way = Implementation(emit, scratch, lead, reason)
    fast = [winograd(node, op, finish)] if op is not None and optimize != "ram" and serves(node, op) else []
    ways = [*fast, way] if optimize == "speed" else [way, *fast]
    return [clamped(each, node, finish.clamp, quantized_range(activation, node.output)) for each in ways]


def _even(taps: int) -> int:
    return taps + taps % 2


def _lead(pixels: int, together: int, taps: int, out_c: int) -> int:
    """Bytes by which the input must begin above the output: a turn reads its pixels until it has written them all."""
    turns = range(0, pixels, together)
    return max(0, *(min(first + together, pixels) * out_c - first * taps for first in turns))


def blocked(weights: Array, channels: int) -> Array:
    """(out channels, taps) int8 -> blocks of so many channels, side by side for every tap; 0 fills the last block."""
    out_c, taps = weights.shape
    rows = np.zeros((-(-out_c // channels) * channels, taps), np.int8)
    rows[:out_c] = weights
    return np.ascontiguousarray(rows.reshape(-1, channels, taps).transpose(0, 2, 1))


def _emit(node: Node, finish: Finish, tile: Tile, op: Conv2D | None, code: LayerCode) -> None:
    weights = node.input(1).data
    assert weights is not None
    out_c = len(weights)
    rows = np.where(finish.fixed[:, None], 0, weights.reshape(out_c, -1)).astype(np.int8)
    if op is not None:
        rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    turn = tile_kernel(tile.channels, tile.pixels, 2 - rows.shape[1] % 2, finish)
    given: dict[str, Argument] = {
        "x": code.input(0),
        "y": code.output(),
        "weights": code.constant("weights", blocked(rows, tile.channels)),
        "constants": code.constant("constants", finish.constants),
        "turn": turn.name,
        "turns": tile.pixels,
        "out_c": out_c,
        "center": finish.center,
    }
    if op is None:
        code.call(rows_kernel(turn), **given, taps=rows.shape[1], pixels=node.output.elements // out_c)
    else:
        scratch = f"(int8_t *){code.scratch}"
        code.call(windows_kernel(turn), **given, bytes=scratch, zero_x=node.input(0).q.z, **window(node, op))
