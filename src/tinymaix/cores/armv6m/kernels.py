"""Armv6-M's own kernels: tiles of four channels by one pixel, since only eight registers take part in arithmetic."""

from __future__ import annotations

from tinymaix.cores.tiles import Tile, choosers

CHOOSERS = choosers(Tile(4, 1))
