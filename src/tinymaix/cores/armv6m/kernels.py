"""Armv6-M's own kernels: four channels by two pixels; by one where there is one or RAM is scarce, since only eight
registers take part in all arithmetic."""

from __future__ import annotations

from tinymaix.cores.armv6m.pairs import pairs
from tinymaix.cores.tiles import Tile, choosers

CHOOSERS = choosers(Tile(4, 1, pairs))
