"""The functions that this family has better ones for than the portable C, by the name of the portable one."""

from __future__ import annotations

from collections.abc import Mapping

from tinymaix.cores.narrow import MUL_HIGH
from tinymaix.ops.emit import Kernel

KERNELS: Mapping[str, Kernel] = {"mul_high": MUL_HIGH}
