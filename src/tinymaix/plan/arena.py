"""The Plan: where in one arena every tensor and every scratch buffer stands, and in which order the nodes run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tinymaix.graph import Graph, Node
from tinymaix.plan.liveness import Buffer, Rules, align, buffers_of, live_bytes
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
    leads: Mapping[int, int]  # id(node) -> bytes that its first input begins above its output, which may run into it
    scratch: Mapping[int, int]  # id(node) -> offset of its scratch, where it needs any
    scratch_bytes: Mapping[int, int]  # id(node) -> bytes of its scratch, where it needs any
    lifetimes: Mapping[int, tuple[int, int]]  # id(tensor) -> (first, last) step of its bytes; -1: filled by the caller
    live: Sequence[int]  # bytes alive at each step of `order`
    states: Mapping[int, int]  # id(state) -> offset in the block of all states, which is apart from the arena
    state_bytes: int


def plan(
    graph: Graph,
    *,
    alignment: int = 4,
    in_place: bool = True,
    lead: Callable[[Node], int | None] | None = None,
    scratch: Callable[[Node], int] | None = None,
) -> Plan:
    """Place a graph's activations.

    Args:
        alignment: every offset is a multiple of it, in bytes.
        in_place: let outputs overwrite inputs where the operator allows it.
        lead: lets outputs run into the end of the first input where a node's kernel allows it: the bytes by which the
            input must begin above the output, or None. `row_lead` gives them for kernels that compute row by row.
        scratch: bytes of working memory of a node, where its kernel needs other than the operator says.

    Raises:
        ModelError: the graph's nodes are not in an order in which they can run.
    """
    rules = Rules(alignment, in_place, lead, scratch) if scratch else Rules(alignment, in_place, lead)
    best = _plan(graph, graph.nodes, rules)
    order = better_order(graph, rules)
    if order is not None:
        other = _plan(graph, order, rules)
        best = other if other.arena < best.arena else best
    return best


def _plan(graph: Graph, order: Sequence[Node], rules: Rules) -> Plan:
    buffers = buffers_of(graph, order, rules)
    live = live_bytes(buffers)
    bound = max(live.values(), default=0)
    offsets = place(buffers, bound)
    placed = list(zip(buffers, offsets, strict=True))
    starts = [0, *accumulate(align(state.nbytes, rules.alignment) for state in graph.states)]
    return Plan(
        graph=graph,
        order=list(order),
        alignment=rules.alignment,
        arena=max((offset + b.size for b, offset in placed), default=0),
        bound=bound,
        offsets={id(t): offset for b, offset in placed for t in b.tensors},
        leads=_leads(buffers, order),
        scratch={id(b.node): offset for b, offset in placed if b.node is not None},
        scratch_bytes={id(b.node): b.size for b in buffers if b.node is not None},
        lifetimes=_lifetimes(buffers),
        live=[live.get(step, 0) for step in range(len(order))],
        states=dict(zip(map(id, graph.states), starts, strict=False)),
        state_bytes=starts[-1],
    )


def _lifetimes(buffers: Sequence[Buffer]) -> dict[int, tuple[int, int]]:
    return {id(t): (b.first, b.last) for b in buffers for t in b.tensors}


def _leads(buffers: Sequence[Buffer], order: Sequence[Node]) -> dict[int, int]:
    return {id(order[b.first]): b.behind.lead for b in buffers if b.behind is not None}
