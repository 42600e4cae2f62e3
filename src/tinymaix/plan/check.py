"""Prove that a plan is right by running it on names instead of numbers, without a look at how it was made."""

from __future__ import annotations

from tinymaix.graph import Node, Tensor
from tinymaix.plan.arena import Plan


class PlanError(AssertionError):
    """A plan under which a value would be lost before it is read."""


def verify(plan: Plan) -> None:
    """Follow every write and every read of one run.

    Raises:
        PlanError: a buffer is misaligned or outside the arena, a node runs too early, or a value is overwritten before
            its last reader.
    """
    if len(plan.order) != len(plan.graph.nodes) or {id(n) for n in plan.order} != {id(n) for n in plan.graph.nodes}:
        raise PlanError("the order does not hold each node once")
    memory = _Memory(plan)
    for tensor in plan.graph.inputs:
        memory.write(tensor)
    for tensor in plan.graph.outputs:
        if tensor.is_constant:
            memory.write(tensor)
    for node in plan.order:
        _step(memory, node)
    for tensor in plan.graph.outputs:
        memory.read(tensor, "the caller")


def _step(memory: _Memory, node: Node) -> None:
    name = f"{node.op.kind} '{node.name}'"
    reads = node.activations
    for tensor in reads:
        memory.read(tensor, name)
    scratch = memory.scratch(node)
    inputs = [memory.range(tensor) for tensor in reads]
    written: list[tuple[int, int]] = [scratch]
    for index, tensor in enumerate(node.outputs):
        view = index == 0 and node.op.is_view and node.input(0) in reads
        if view and memory.offset(tensor) != memory.offset(node.input(0)):
            raise PlanError(f"{name} is a view but stands elsewhere than its input")
        if not view:
            written.append(memory.range(tensor))
        may = set(node.op.overwrites(node)) if index == 0 else set()
        for i, source in enumerate(node.inputs):
            if source is None or source.is_constant or source.is_state or view:
                continue
            distance = memory.offset(source) - memory.offset(tensor)
            replaced = i in may and distance == 0
            if i == 0 == index and id(node) in memory.plan.leads:
                replaced = replaced or distance >= memory.plan.leads[id(node)]
            if not replaced and _overlap(memory.range(source), memory.range(tensor)):
                raise PlanError(f"{name} writes '{tensor.name}' over its input '{source.name}'")
    for a, first in enumerate(written):
        if any(_overlap(first, second) for second in written[a + 1 :]):
            raise PlanError(f"scratch and outputs of {name} overlap")
    if any(_overlap(scratch, used) for used in inputs):
        raise PlanError(f"the scratch of {name} overlaps an input")
    memory.clear(*scratch)
    for index, tensor in enumerate(node.outputs):
        if index == 0 and node.op.is_view and node.input(0) in reads:
            memory.alive[id(tensor)] = memory.range(tensor)
        else:
            memory.write(tensor)


class _Memory:
    """Which tensors' bytes are intact."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.alive: dict[int, tuple[int, int]] = {}

    def offset(self, tensor: Tensor) -> int:
        if id(tensor) not in self.plan.offsets:
            raise PlanError(f"'{tensor.name}' has no place")
        return self.plan.offsets[id(tensor)]

    def range(self, tensor: Tensor) -> tuple[int, int]:
        return self._checked(self.offset(tensor), tensor.nbytes, f"'{tensor.name}'")

    def scratch(self, node: Node) -> tuple[int, int]:
        size = self.plan.scratch_bytes.get(id(node), 0)
        if size and id(node) not in self.plan.scratch:
            raise PlanError(f"the scratch of {node.op.kind} '{node.name}' has no place")
        return self._checked(self.plan.scratch[id(node)], size, f"the scratch of '{node.name}'") if size else (0, 0)

    def read(self, tensor: Tensor, reader: str) -> None:
        if id(tensor) not in self.alive:
            raise PlanError(f"{reader} reads '{tensor.name}' when its bytes are not there or overwritten")

    def write(self, tensor: Tensor) -> None:
        self.clear(*self.range(tensor))
        self.alive[id(tensor)] = self.range(tensor)

    def clear(self, first: int, end: int) -> None:
        self.alive = {key: used for key, used in self.alive.items() if not _overlap(used, (first, end))}

    def _checked(self, offset: int, size: int, what: str) -> tuple[int, int]:
        if offset % self.plan.alignment:
            raise PlanError(f"{what} at {offset} is not aligned to {self.plan.alignment} bytes")
        if offset < 0 or offset + size > self.plan.arena:
            raise PlanError(f"{what} at {offset} leaves the arena of {self.plan.arena} bytes")
        return offset, offset + size


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])
