"""Armv6-M's own kernels: eight channels of a pixel, in assembly: few registers take part in all arithmetic."""

from __future__ import annotations

from tinymaix.cores.armv6m.single import single
from tinymaix.cores.tiles import Tile, choosers

CHOOSERS = choosers(Tile(8, 1, single))
