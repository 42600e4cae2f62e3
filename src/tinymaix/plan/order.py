"""Find an order of the nodes that needs fewer bytes at its peak than the one the model file has.

A beam search over sets of nodes that ran, level by level: which bytes are alive depends only on that set, so all orders
that lead to it are one state. While no level is wider than the beam, the result is the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinymaix.graph import Graph, Node
from tinymaix.plan.liveness import Rules, Value, align, savings, values_of

BUDGET = 3000  # states kept over all levels; it decides the worst case of the planning time


@dataclass(frozen=True)
class _Step:
    """What running one node changes. Sets of nodes are bit masks."""

    needs: int  # nodes that must have run
    followers: list[int]  # indices of the nodes that read what this one makes
    made: int  # bytes of new values and scratch during the step
    lost: int  # bytes that die right after it: scratch and values that nothing reads
    reads: list[tuple[int, int]]  # (size, readers) of values that die once all readers ran
    savings: list[tuple[int, int]]  # (bytes saved, readers) of values that the output may replace
    least: int  # bytes that are alive during this step in any order

    def run(self, done: int, live: int) -> tuple[int, int]:
        """(bytes during the step, bytes after it). ``done`` includes the node itself."""
        saved = max((size for size, readers in self.savings if not readers & ~done), default=0)
        freed = sum(size for size, readers in self.reads if not readers & ~done)
        return live + self.made - saved, live + self.made - self.lost - freed


_Path = tuple[int, "_Path"] | None  # the last node, and the path before it


def better_order(graph: Graph, rules: Rules) -> list[Node] | None:
    """An order with a lower peak than the graph's own, or None where none was found.

    A graph with states keeps its order, since the order of their changes is part of its meaning.
    """
    if graph.states:
        return None
    values = values_of(graph, rules.alignment)
    steps = _steps(graph, values, rules)
    first = _unique([values[id(t)] for t in (*graph.inputs, *(t for t in graph.outputs if t.is_constant))])
    start = sum(v.size for v in first if v.readers or v.is_output)
    peak, live, done = 0, start, 0
    for i, step in enumerate(steps):
        done |= 1 << i
        during, live = step.run(done, live)
        peak = max(peak, during)
    if peak <= max([start, live, *(step.least for step in steps)]):
        return None
    ready = [i for i, step in enumerate(steps) if not step.needs]
    path = _beam(steps, start, sum(1 << i for i in ready), peak)
    return None if path is None else [graph.nodes[i] for i in path]


def _beam(steps: list[_Step], start: int, ready: int, limit: int) -> list[int] | None:
    """The path with the lowest peak below ``limit`` that the beam finds."""
    width = max(4, BUDGET // len(steps))
    level: dict[int, tuple[int, int, int, _Path]] = {0: (0, start, ready, None)}  # done -> (peak, live, ready, path)
    for _ in steps:
        following: dict[int, tuple[int, int, int, _Path]] = {}
        for done, (peak, live, ready, path) in level.items():
            left = ready
            while left:
                bit = left & -left
                left ^= bit
                i = bit.bit_length() - 1
                during, after = steps[i].run(done | bit, live)
                highest = max(peak, during)
                known = following.get(done | bit)
                if highest < limit and (known is None or highest < known[0]):
                    now = sum(1 << k for k in steps[i].followers if not steps[k].needs & ~(done | bit))
                    following[done | bit] = (highest, after, ready ^ bit | now, (i, path))
        best = sorted(following.items(), key=lambda item: item[1][:2])
        level = dict(best[:width])
    return next((_unroll(path) for _, _, _, path in level.values()), None)


def _unroll(path: _Path) -> list[int]:
    nodes: list[int] = []
    while path is not None:
        nodes.append(path[0])
        path = path[1]
    return nodes[::-1]


def _steps(graph: Graph, values: dict[int, Value], rules: Rules) -> list[_Step]:
    index = {id(node): i for i, node in enumerate(graph.nodes)}
    maker = {id(t): i for i, node in enumerate(graph.nodes) for t in node.outputs}
    readers = {id(v): sum({1 << index[id(n)] for n in v.readers}) for v in values.values()}
    there = {id(values[id(t)]) for t in graph.inputs}  # values made so far
    needs = [sum({1 << maker[id(t)] for t in node.activations if id(t) in maker}) for node in graph.nodes]
    steps = []
    for i, node in enumerate(graph.nodes):
        scratch = align(node.op.scratch(node), rules.alignment)
        read = _unique([values[id(t)] for t in node.activations])
        new = [v for v in _unique([values[id(t)] for t in node.outputs]) if id(v) not in there]
        there.update(id(v) for v in new)
        saved = [(saving.size, readers[id(saving.value)]) for saving in savings(node, values, rules)]
        made = scratch + sum(v.size for v in new)
        steps.append(
            _Step(
                needs=needs[i],
                followers=[k for k in range(i + 1, len(needs)) if needs[k] >> i & 1],
                made=made,
                lost=scratch + sum(v.size for v in new if not v.readers and not v.is_output),
                reads=[(v.size, readers[id(v)]) for v in read if not v.is_output],
                savings=saved,
                least=made + sum(v.size for v in read) - max((size for size, _ in saved), default=0),
            )
        )
    return steps


def _unique(values: list[Value]) -> list[Value]:
    return list({id(v): v for v in values}.values())
