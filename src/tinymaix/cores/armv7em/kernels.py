"""Which operators have kernels of their own on Armv7E-M: the choosers by the kind of operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tinymaix.cores.core import Core
from tinymaix.graph import Node
from tinymaix.ops.emit import Implementation

CHOOSERS: Mapping[str, Callable[[Node, Core, str], Implementation | None]] = {}
