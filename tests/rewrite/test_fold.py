"""Constant folding, dead nodes and identities, on operators made for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.rewrite import drop_dead, drop_identities, fold_constants, simplify
from tinymaix.rewrite.fold import LIMIT


class Shaped(Operator):
    """Stands for SHAPE. Its kind is set after the class, so that it does not register itself; so for the others."""

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        assert inputs[0] is not None
        return [(len(inputs[0].shape),)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.asarray(array(inputs[0]).shape, node.output.dtype)]


@dataclass(frozen=True)
class Twice(Operator):
    limit: int = 10**9

    types = ("int32", "int8")

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        assert inputs[0] is not None
        return [inputs[0].shape]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        if array(inputs[0]).max(initial=0) > self.limit:
            raise IndexError("too large")
        return [array(inputs[0]) * 2]


class Broadcast(Operator):
    types = ("int32",)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        assert inputs[1] is not None
        if inputs[1].data is None:
            raise ModelError("the shape is not known")
        return [tuple(int(v) for v in inputs[1].data)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.broadcast_to(array(inputs[0]), tuple(array(inputs[1])))]


@dataclass(frozen=True)
class View(Operator):
    shape: Shape

    is_view = True

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [self.shape]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [array(inputs[0]).reshape(self.shape)]


class Requantize(Twice):
    pass


Shaped.kind = "SHAPE"
Twice.kind = "TEST_TWICE"
Broadcast.kind = "TEST_BROADCAST"
View.kind = "TEST_VIEW"
Requantize.kind = "QUANTIZE"


def tensor(name: str, shape: Shape, dtype: str = "int32", scale: float | None = None) -> Tensor:
    return Tensor(name, shape, np.dtype(dtype), None if scale is None else Quantization.of(scale))


def constant(name: str, data: Any) -> Tensor:
    values = np.asarray(data, np.int32)
    return Tensor(name, values.shape, values.dtype, data=values)


def test_shape_of_an_input_and_what_follows_from_it_become_constants() -> None:
    x, s, d, y = tensor("x", (2, 3)), tensor("s", (2,)), tensor("d", (2,)), tensor("y", (4, 6))
    one = constant("one", [[1]])
    nodes = [Node(Shaped(), [x], [s]), Node(Twice(), [s], [d]), Node(Broadcast(), [one, d], [y])]
    graph = Graph(nodes, [x], [y])
    result = fold_constants(graph)
    assert result.nodes == []
    assert result.outputs[0].name == "y"
    assert np.array_equal(array(result.outputs[0].data), np.ones((4, 6)))
    assert result.inputs == [x]
    assert graph.nodes == nodes
    assert graph.outputs == [y]
    assert not y.is_constant


def test_a_reader_of_a_folded_tensor_is_copied_and_the_rest_is_shared() -> None:
    x, s, y, z = tensor("x", (2,)), tensor("s", (1,)), tensor("y", (2,)), tensor("z", (2,))
    shape, user, last = Node(Shaped(), [x], [s]), Node(Broadcast(), [x, s], [y], "user"), Node(Twice(), [y], [z])
    result = fold_constants(Graph([shape, user, last], [x], [z]))
    assert [n.name for n in result.nodes] == ["user", ""]
    assert result.nodes[0] is not user
    assert result.nodes[0].inputs[0] is x
    assert result.nodes[0].input(1).is_constant
    assert result.nodes[0].output is y
    assert result.nodes[1] is last
    assert user.inputs[1] is s


def test_what_is_huge_stays() -> None:
    shape, one = constant("shape", [LIMIT // 4 + 1]), constant("one", [1])
    y = tensor("y", (LIMIT // 4 + 1,))
    assert len(fold_constants(Graph([Node(Broadcast(), [one, shape], [y])], [], [y])).nodes) == 1


def test_the_limit_holds_for_all_nodes_together() -> None:
    size = LIMIT // 12
    shape, one = constant("shape", [size]), constant("one", [1])
    outputs = [tensor(f"y{i}", (size,)) for i in range(5)]
    nodes = [Node(Broadcast(), [one, shape], [y]) for y in outputs]
    assert len(fold_constants(Graph(nodes, [], outputs)).nodes) == 2


def test_a_node_that_lies_about_its_shape_stays_and_nothing_is_computed() -> None:
    shape, one, y = constant("shape", [10**9, 10**9]), constant("one", [1]), tensor("y", (1, 1))
    assert len(fold_constants(Graph([Node(Broadcast(), [one, shape], [y])], [], [y])).nodes) == 1


def test_a_node_that_cannot_be_computed_stays() -> None:
    c, y, z = constant("c", [5]), tensor("y", (1,)), tensor("z", (1,), "int16")
    assert len(fold_constants(Graph([Node(Twice(limit=4), [c], [y])], [], [y])).nodes) == 1
    assert len(fold_constants(Graph([Node(Twice(), [c], [z])], [], [z])).nodes) == 1


def test_dead_nodes_are_dropped_backwards() -> None:
    x, a, b, y = (tensor(name, (1,)) for name in "xaby")
    nodes = [Node(Twice(), [x], [a]), Node(Twice(), [a], [b]), Node(Twice(), [x], [y])]
    assert drop_dead(Graph(nodes, [x], [y])).nodes == [nodes[2]]


def test_views_in_a_row_read_the_first_source() -> None:
    x, a, b, y = tensor("x", (2, 2)), tensor("a", (4,)), tensor("b", (1, 4)), tensor("y", (1, 4))
    nodes = [Node(View((4,)), [x], [a]), Node(View((1, 4)), [a], [b]), Node(Twice(), [b], [y])]
    result = drop_identities(Graph(nodes, [x], [y]))
    assert [n.op.kind for n in result.nodes] == ["TEST_VIEW", "TEST_TWICE"]
    assert result.nodes[0].inputs == [x]
    assert result.nodes[0].output is b
    assert nodes[1].inputs == [a]


def test_an_identity_goes_unless_it_makes_an_output() -> None:
    x, a, y = tensor("x", (2,)), tensor("a", (2,)), tensor("y", (2,))
    nodes = [Node(View((2,)), [x], [a]), Node(Twice(), [a], [y])]
    assert drop_identities(Graph(nodes, [x], [y])).nodes[0].inputs == [x]
    assert drop_identities(Graph(nodes[:1], [x], [a])).nodes == nodes[:1]
    assert len(drop_identities(Graph(nodes, [x], [a, y])).nodes) == 2


def test_quantize_goes_where_the_scale_stays() -> None:
    x, same, other = (tensor(n, (2,), "int8", s) for n, s in (("x", 0.5), ("same", 0.5), ("other", 0.25)))
    y = tensor("y", (2,), "int8", 0.5)
    for middle, left in ((same, 1), (other, 2)):
        nodes = [Node(Requantize(), [x], [middle]), Node(Twice(), [middle], [y])]
        assert len(simplify(Graph(nodes, [x], [y])).nodes) == left


def test_simplify_keeps_the_result() -> None:
    x, s, a, b, y = tensor("x", (2, 2)), tensor("s", (2,)), tensor("a", (4,)), tensor("b", (2, 2)), tensor("y", (2, 2))
    nodes = [
        Node(Shaped(), [x], [s]),
        Node(View((4,)), [x], [a]),
        Node(View((2, 2)), [a], [b]),
        Node(Broadcast(), [b, s], [y]),
    ]
    graph = Graph(nodes, [x], [y], notes=["a note"])
    result = simplify(graph)
    value = np.arange(4, dtype=np.int32).reshape(2, 2)
    assert [n.op.kind for n in result.nodes] == ["TEST_BROADCAST"]
    assert result.notes == ["a note"]
    assert np.array_equal(result.run([value])[0], graph.run([value])[0])
