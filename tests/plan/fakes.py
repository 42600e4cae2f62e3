"""Graphs of operators that only say what they need, to plan without computing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.base import Operator


@dataclass(frozen=True)
class Fake(Operator):
    """Its kind is set after the class, so that it does not register itself among the real operators."""

    replaces: tuple[int, ...] = ()
    working: int = 0
    ahead: int | None = None

    def overwrites(self, node: Node) -> list[int]:
        return list(self.replaces)

    def scratch(self, node: Node) -> int:
        return self.working


class FakeView(Fake):
    is_view = True


def lead(node: Node) -> int | None:
    assert isinstance(node.op, Fake)
    return node.op.ahead


Fake.kind = "TEST_FAKE"
FakeView.kind = "TEST_VIEW"


AHEAD = st.sampled_from([None, None, 0, 3, 10, 50])


def tensor(size: int, name: str = "t") -> Tensor:
    return Tensor(name, (size,), np.dtype(np.int8))


def constant(size: int) -> Tensor:
    return Tensor("constant", (size,), np.dtype(np.int8), data=np.zeros(size, np.int8))


def chain(*sizes: int) -> Graph:
    """A graph in which each tensor is computed from the one before."""
    tensors = [tensor(size, f"t{i}") for i, size in enumerate(sizes)]
    nodes = [Node(Fake(), [a], [b], f"n{i}") for i, (a, b) in enumerate(pairwise(tensors))]
    return Graph(nodes, tensors[:1], tensors[-1:])


@st.composite
def graphs(draw: st.DrawFn, most_nodes: int = 12) -> Graph:
    """Any graph: branches, views, in-place operators, scratch, constants and inputs as outputs, unread outputs."""
    sizes = st.integers(0, 40)
    inputs = [tensor(draw(sizes), f"input{i}") for i in range(draw(st.integers(1, 3)))]
    known = [*inputs, constant(draw(sizes))]
    nodes = []
    for i in range(draw(st.integers(0, most_nodes))):
        sources: list[Tensor | None] = list(draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)))
        view = draw(st.booleans()) and draw(st.booleans())
        first = sources[0]
        assert first is not None
        outputs = [tensor(first.nbytes if view else draw(sizes), f"t{i}")]
        if view:
            op: Fake = FakeView()
        else:
            replaces = tuple(draw(st.sets(st.integers(0, len(sources) - 1))))
            op = Fake(replaces, draw(st.sampled_from([0, 0, 0, 5, 20])), draw(AHEAD))
            outputs += [tensor(draw(sizes), f"t{i}.{k}") for k in range(draw(st.sampled_from([0, 0, 0, 1, 2])))]
            sources.append(None)
        nodes.append(Node(op, sources, outputs, f"n{i}"))
        known.extend(outputs)
    outputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
    return Graph(nodes, inputs, outputs)
