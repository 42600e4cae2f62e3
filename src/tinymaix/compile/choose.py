"""Node + core -> the ways to compute it: the kernels of the core that serve, and the portable one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from tinymaix.compile.layers import kernels_in_order
from tinymaix.cores import Core
from tinymaix.graph import Node
from tinymaix.ops.emit import Call, Implementation, Kernel
from tinymaix.ops.int4 import has_int4_weights
from tinymaix.plan import row_lead

FEW = 1024
"""Weights up to which packing saves less flash than it is worth."""

Chooser = Callable[[Node, Core, str], Sequence[Implementation]]
"""(node, core, optimize) -> the core's own ways to compute the node, the best guess first; none where only the
portable kernel serves."""


def kernels_module(core: Core) -> ModuleType | None:
    """``cores/<family>/kernels.py``, which a family that is content with the portable kernels does not have.

    It may define ``KERNELS``: functions by the name of the portable function that each replaces, with its prototype and
    its bits; ``CHOOSERS``: a `Chooser` by the kind of operator; and ``INT4_CHOOSERS``, for layers of int4 weights.
    """
    module = f"tinymaix.cores.{core.family}.kernels"
    return import_module(module) if find_spec(module) else None


def core_kernels(core: Core) -> Mapping[str, Kernel]:
    """The core's replacements of portable functions by name."""
    return getattr(kernels_module(core), "KERNELS", {})


def variants(node: Node, core: Core, optimize: str) -> list[Implementation]:
    """Every way to compute the node on the core, the best guess first, the portable one last.

    Weights of 4 bits stand in flash as int8, for the core's kernels for those, where they are few or speed is all that
    counts.
    """
    packed = has_int4_weights(node) and optimize != "speed" and (optimize == "flash" or node.input(1).elements > FEW)
    choosers: Mapping[str, Chooser] = getattr(kernels_module(core), "INT4_CHOOSERS" if packed else "CHOOSERS", {})
    chooser = choosers.get(node.op.kind)
    return [*(chooser(node, core, optimize) if chooser else ()), portable(node)]


def portable(node: Node) -> Implementation:
    """The operator's own kernel, which computes row by row."""
    return Implementation(partial(node.op.emit, node), node.op.scratch(node), row_lead(node), portable=True)


def title(calls: Sequence[Call]) -> str:
    """The functions of a layer for a report, each once, with the functions that are handed to them."""
    names = []
    for call in calls:
        known = {kernel.name for kernel in kernels_in_order([call], {})}
        given = [argument for argument in call.arguments if argument in known]
        names.append(call.kernel.name + (f"({', '.join(given)})" if given else ""))
    return ", ".join(dict.fromkeys(names))
