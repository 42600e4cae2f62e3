"""Which operators have kernels of their own on Armv7E-M: the choosers by the kind of operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tinymaix.cores.armv7em.conv import choose_conv_2d
from tinymaix.cores.armv7em.depthwise import choose_depthwise_conv_2d
from tinymaix.cores.armv7em.dot import DOT_WIDE, DOT_WORDS
from tinymaix.cores.armv7em.elementwise import LOOKUP_QUADS, choose_sum, choose_with_constant
from tinymaix.cores.armv7em.fully_connected import choose_fully_connected
from tinymaix.cores.armv7em.int4 import choose_int4
from tinymaix.cores.armv7em.multiply import choose_mul
from tinymaix.cores.armv7em.pooling import choose_average_pool_2d, choose_max_pool_2d, choose_mean
from tinymaix.cores.core import Core
from tinymaix.graph import Node
from tinymaix.ops.emit import Implementation, Kernel

CHOOSERS: Mapping[str, Callable[[Node, Core, str], Sequence[Implementation]]] = {
    "CONV_2D": choose_conv_2d,
    "DEPTHWISE_CONV_2D": choose_depthwise_conv_2d,
    "FULLY_CONNECTED": choose_fully_connected,
    "ADD": choose_sum,
    "SUB": choose_sum,
    "MUL": choose_mul,
    "AVERAGE_POOL_2D": choose_average_pool_2d,
    "MAX_POOL_2D": choose_max_pool_2d,
    "MEAN": choose_mean,
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), choose_with_constant),
}

INT4_CHOOSERS: Mapping[str, Callable[[Node, Core, str], Sequence[Implementation]]] = {"CONV_2D": choose_int4}
"""For layers whose weights are int4."""

KERNELS: Mapping[str, Kernel] = {kernel.name: kernel for kernel in (LOOKUP_QUADS, DOT_WORDS, DOT_WIDE)}
"""In place of the portable functions of these names."""
