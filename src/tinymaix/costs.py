"""What an integer graph costs: on a chip, built and emulated; without one, its constants and its arena."""

from __future__ import annotations

from collections.abc import Callable

from tinymaix.graph import Graph
from tinymaix.quantize.auto import Cost


def measure(graph: Graph, chip: str | None = None, progress: Callable[[str], None] | None = None) -> Cost:
    """Flash, RAM and cycles of one inference.

    Args:
        chip: a name of `tinymaix chips`; None counts the constants as flash and the arena as RAM, and no cycles.

    Raises: as `tinymaix.bench`.
    """
    if chip is None:
        from tinymaix.plan import plan

        placed = plan(graph)
        return Cost(sum(t.nbytes for t in graph.constants), placed.arena + placed.state_bytes)
    from tinymaix import api

    figures = api.bench(graph, chip, progress=progress)
    return Cost(figures.flash.total, figures.ram.total, figures.cycles)
