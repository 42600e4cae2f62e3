"""Graph + core -> how each node is computed: by a kernel of the core where one serves, else by the portable one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from tinymaix.cores import Core
from tinymaix.graph import Graph, Node
from tinymaix.ops.emit import Implementation, Kernel
from tinymaix.plan import row_lead

Chooser = Callable[[Node, Core, str], "Implementation | None"]
"""(node, core, optimize) -> the core's own way to compute the node, None where the portable kernel serves."""


def kernels_module(core: Core) -> ModuleType | None:
    """``cores/<family>/kernels.py``, which a family that is content with the portable kernels does not have.

    It may define ``KERNELS``: functions by the name of the portable function that each replaces, with its prototype and
    its bits; and ``CHOOSERS``: a `Chooser` by the kind of operator.
    """
    module = f"tinymaix.cores.{core.family}.kernels"
    return import_module(module) if find_spec(module) else None


def core_kernels(core: Core) -> Mapping[str, Kernel]:
    """The core's replacements of portable functions by name."""
    return getattr(kernels_module(core), "KERNELS", {})


def choose(graph: Graph, core: Core, optimize: str) -> dict[int, Implementation]:
    """An implementation for each node, by id of node."""
    choosers: Mapping[str, Chooser] = getattr(kernels_module(core), "CHOOSERS", {})
    chosen = {}
    for node in graph.nodes:
        chooser = choosers.get(node.op.kind)
        own = chooser(node, core, optimize) if chooser else None
        chosen[id(node)] = own or portable(node)
    return chosen


def portable(node: Node) -> Implementation:
    """The operator's own kernel, which computes row by row."""
    return Implementation(partial(node.op.emit, node), node.op.scratch(node), row_lead(node), portable=True)
