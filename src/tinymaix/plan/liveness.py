"""When each value is alive: tensors that share bytes become one Value, values that replace each other one Buffer.

Steps are counted along the order of the nodes: -1 is the caller filling the inputs, n (after n nodes) is the caller
reading the outputs. A node's inputs, outputs and scratch are all alive during its step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tinymaix.graph import Graph, ModelError, Node, Tensor


@dataclass(eq=False)
class Value:
    """Bytes computed once: a tensor with all its views, or a constant output's copy."""

    size: int
    tensors: list[Tensor]
    readers: list[Node] = field(default_factory=list)  # views of it count as readers
    is_output: bool = False


@dataclass(frozen=True)
class Span:
    """``size`` bytes are in use from step ``first`` to step ``last``, both included."""

    first: int
    last: int
    size: int


@dataclass(eq=False)
class Buffer:
    """A place in the arena. Its spans follow each other; the next one begins at the step where the one before ends."""

    spans: list[Span]
    tensors: list[Tensor]
    node: Node | None = None  # the node whose scratch this is
    behind: Behind | None = None  # the input that its first value may run into

    @property
    def first(self) -> int:
        return self.spans[0].first

    @property
    def last(self) -> int:
        return self.spans[-1].last

    @property
    def size(self) -> int:
        return max(span.size for span in self.spans)

    def size_during(self, first: int, last: int) -> int:
        """The most bytes in use in any step from ``first`` to ``last``."""
        return max((s.size for s in self.spans if s.first <= last and first <= s.last), default=0)


@dataclass(frozen=True, eq=False)
class Behind:
    """In the step where ``source`` ends, it may be overwritten where it begins ``lead`` bytes or more above."""

    source: Buffer
    lead: int
    saved: int  # bytes that both together need less than apart


@dataclass(frozen=True, eq=False)
class Saving:
    """A value that an output may replace at the same offset, or from ``lead`` bytes below it on."""

    value: Value
    size: int  # bytes saved
    lead: int | None = None


@dataclass(frozen=True)
class Rules:
    """What a plan may do: see `tinymaix.plan.plan`."""

    alignment: int
    in_place: bool
    lead: Callable[[Node], int | None] | None
    scratch: Callable[[Node], int] = lambda node: node.op.scratch(node)


def align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def values_of(graph: Graph, alignment: int) -> dict[int, Value]:
    """The value behind every tensor that needs bytes in the arena, by id of tensor. It holds in any order of the nodes.

    Raises:
        ModelError: a node or output reads a tensor that nothing before it computes.
    """
    values: dict[int, Value] = {}

    def add(tensor: Tensor) -> None:
        values[id(tensor)] = Value(align(tensor.nbytes, alignment), [tensor])

    for tensor in graph.inputs:
        if id(tensor) not in values:
            add(tensor)
    for node in graph.nodes:
        for tensor in node.activations:
            if id(tensor) not in values:
                reader = f"{node.op.kind} '{node.name}'"
                raise ModelError(f"{reader} reads '{tensor.name}', which nothing before it computes")
            values[id(tensor)].readers.append(node)
        shared = shared_by_view(node)
        for tensor in node.outputs:
            if id(tensor) in values:
                raise ModelError(f"{node.op.kind} '{node.name}' computes '{tensor.name}', which was there before")
            if shared is not None and tensor is node.output:
                values[id(tensor)] = values[id(shared)]
                values[id(tensor)].tensors.append(tensor)
            else:
                add(tensor)
    for tensor in graph.outputs:
        if tensor.is_constant and id(tensor) not in values:
            add(tensor)
        if id(tensor) not in values:
            raise ModelError(f"the output '{tensor.name}' is not computed by any node")
        values[id(tensor)].is_output = True
    return values


def shared_by_view(node: Node) -> Tensor | None:
    """The input whose bytes the first output is, where the node is a view of something in the arena."""
    source = node.optional(0) if node.op.is_view else None
    return source if source is not None and not source.is_constant else None


def savings(node: Node, values: dict[int, Value], rules: Rules) -> list[Saving]:
    """What the first output may share with an input if this node is the last to read it, the largest saving first."""
    if node.op.is_view or not node.outputs:
        return []
    output = values[id(node.output)]
    readings = [(i, values[id(t)]) for i, t in enumerate(node.inputs) if t is not None and id(t) in values]
    found = {}
    indices = set(node.op.overwrites(node)) if rules.in_place else set()
    lead = rules.lead(node) if rules.lead else None
    for i, value in readings:
        if value is output or value.is_output:
            continue
        if all(k in indices for k, other in readings if other is value):
            found[id(value)] = Saving(value, min(value.size, output.size))
        elif i == 0 and lead is not None and all(k == 0 for k, other in readings if other is value):
            distance = align(lead, rules.alignment)
            both = max(distance + value.size, output.size)
            if both < value.size + output.size:
                found[id(value)] = Saving(value, value.size + output.size - both, distance)
    return sorted(found.values(), key=lambda saving: -saving.size)


def buffers_of(graph: Graph, order: Sequence[Node], rules: Rules) -> list[Buffer]:
    """Everything that needs bytes in the arena when the nodes run in ``order``."""
    values = values_of(graph, rules.alignment)
    step = {id(node): i for i, node in enumerate(order)}
    buffers: dict[int, Buffer] = {}  # by id of value
    scratch: list[Buffer] = []

    def end(value: Value, first: int) -> int:
        return len(order) if value.is_output else max((step[id(n)] for n in value.readers), default=first)

    def start(tensor: Tensor, first: int, shared: Saving | None = None) -> None:
        value = values[id(tensor)]
        if id(value) in buffers:
            return
        buffer = Buffer([], [])
        if shared is not None and shared.lead is None:
            buffer = buffers[id(shared.value)]
        elif shared is not None and shared.lead is not None:
            buffer.behind = Behind(buffers[id(shared.value)], shared.lead, shared.size)
        buffers[id(value)] = buffer
        buffer.spans.append(Span(first, end(value, first), value.size))
        buffer.tensors.extend(value.tensors)

    for tensor in graph.inputs:
        start(tensor, -1)
    for i, node in enumerate(order):
        dying = next((s for s in savings(node, values, rules) if end(s.value, i) == i), None)
        for tensor in node.outputs:
            start(tensor, i, dying if tensor is node.output else None)
        if size := rules.scratch(node):
            scratch.append(Buffer([Span(i, i, align(size, rules.alignment))], [], node))
    for tensor in graph.outputs:
        start(tensor, 0)  # a constant, which the run function copies at any time
    return [*{id(b): b for b in buffers.values()}.values(), *scratch]


def live_bytes(buffers: Sequence[Buffer]) -> dict[int, int]:
    """Bytes in use at each step: their maximum is the least that any placement needs."""
    live: dict[int, int] = {}
    for buffer in buffers:
        for i, span in enumerate(buffer.spans):
            for step in range(span.first, span.last + 1):
                live[step] = live.get(step, 0) + span.size
            if i:  # the step where one value replaces another needs only the larger of both
                live[span.first] -= min(span.size, buffer.spans[i - 1].size)
        if buffer.behind is not None:
            live[buffer.first] -= buffer.behind.saved
    return live
