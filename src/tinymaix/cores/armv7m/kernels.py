"""Armv7-M's own kernels: tiles of two channels by three pixels."""

from __future__ import annotations

from tinymaix.cores.tiles import Tile, choosers

CHOOSERS = choosers(Tile(2, 3))
