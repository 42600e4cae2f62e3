"""RV64's own kernels: tiles of four channels by three pixels, whose sums fit the 31 registers."""

from __future__ import annotations

from tinymaix.cores.tiles import Tile, choosers

CHOOSERS = choosers(Tile(4, 3))
