"""The Plan: where in one arena every tensor and every scratch buffer stands, and in which order the nodes run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinymaix.graph import Graph, Node
from tinymaix.plan.liveness import Buffer, buffers_of, live_bytes
from tinymaix.plan.order import better_order
from tinymaix.plan.place import place


@dataclass(frozen=True, eq=False)
class Plan:
    """A placement of a graph's activations in one arena. All sizes and offsets are in bytes.

    Views stand where their source stands. Inputs are consumed: once their last reader ran, other values take their
    place. A constant that is an output of the graph has a place too, which is its own during the whole run: the code
    that runs the graph copies it there.
    """

    graph: Graph
    order: list[Node]  # the order in which the nodes must run; the graph's own unless another one saves memory
    alignment: int
    arena: int
    bound: int  # the most bytes alive in any step of this order: no placement can need less
    offsets: Mapping[int, int]  # id(tensor) -> offset, for every tensor but constants that are no output
    scratch: Mapping[int, int]  # id(node) -> offset of its scratch, where it needs any
    lifetimes: Mapping[int, tuple[int, int]]  # id(tensor) -> (first, last) step of its bytes; -1: filled by the caller
    live: Sequence[int]  # bytes alive at each step of `order`


def plan(graph: Graph, *, alignment: int = 4, in_place: bool = True) -> Plan:
    """Place a graph's activations.

    Args:
        alignment: every offset is a multiple of it, in bytes.
        in_place: let outputs overwrite inputs where the operator allows it.

    Raises:
        ModelError: the graph's nodes are not in an order in which they can run.
    """
    best = _plan(graph, graph.nodes, alignment, in_place)
    order = better_order(graph, alignment, in_place)
    if order is not None:
        other = _plan(graph, order, alignment, in_place)
        best = other if other.arena < best.arena else best
    return best


def _plan(graph: Graph, order: Sequence[Node], alignment: int, in_place: bool) -> Plan:
    buffers = buffers_of(graph, order, alignment, in_place)
    live = live_bytes(buffers)
    bound = max(live.values(), default=0)
    offsets = place(buffers, bound)
    placed = list(zip(buffers, offsets, strict=True))
    return Plan(
        graph=graph,
        order=list(order),
        alignment=alignment,
        arena=max((offset + b.size for b, offset in placed), default=0),
        bound=bound,
        offsets={id(t): offset for b, offset in placed for t in b.tensors},
        scratch={id(b.node): offset for b, offset in placed if b.node is not None},
        lifetimes=_lifetimes(buffers),
        live=[live.get(step, 0) for step in range(len(order))],
    )


def _lifetimes(buffers: Sequence[Buffer]) -> dict[int, tuple[int, int]]:
    return {id(t): (b.first, b.last) for b in buffers for t in b.tensors}
