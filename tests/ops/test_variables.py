"""States: read and assigned in the reference, in C, and from run to run."""

from __future__ import annotations

import numpy as np

from tests.ops.make import int8
from tests.oracles import check_compiled
from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.strided_slice import StridedSlice
from tinymaix.ops.variables import AssignVariable, ReadVariable
from tinymaix.read.tflite_states import read_late
from tinymaix.rewrite import simplify

SHAPE = (1, 3, 4)


def delay_line(initial: Array) -> Graph:
    """Output: the last three inputs of (1, 1, 4), the oldest first, which is also what the state holds."""
    x, both, y = int8("x", (1, 1, 4)), int8("both", (1, 4, 4)), int8("y", SHAPE)
    state, before = int8("state", SHAPE), int8("before", SHAPE)
    state.initial = initial
    nodes = [
        Node(ReadVariable(), [state], [before], "read"),
        Node(Concatenation(1), [before, x], [both], "join"),
        Node(StridedSlice((0, 1, 0), (1, 4, 4), (1, 1, 1)), [both], [y], "newest"),
        Node(AssignVariable(), [state, y], [Tensor("none", (0,), np.dtype(np.int8))], "assign"),
    ]
    return Graph(nodes, [x], [y])


def test_state_goes_on_from_run_to_run_and_begins_anew() -> None:
    graph = delay_line(np.full(SHAPE, 7, np.int8))
    steps = [np.full((1, 1, 4), value, np.int8) for value in (1, 2, 3, 4)]
    outputs = graph.run_sequence([step] for step in steps)
    assert [y[0, :, 0].tolist() for (y,) in outputs] == [[7, 7, 1], [7, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert graph.run(steps[:1])[0][0, :, 0].tolist() == [7, 7, 1]
    assert graph.states[0].initial is not None
    assert (graph.states[0].initial == 7).all()


def test_rewrites_keep_what_changes_a_state() -> None:
    graph = simplify(delay_line(np.zeros(SHAPE, np.int8)))
    assert [node.op.kind for node in graph.nodes][-1] == "ASSIGN_VARIABLE"
    assert graph.states


def test_variables_are_read_where_they_are_needed() -> None:
    nodes = delay_line(np.zeros(SHAPE, np.int8)).nodes
    other = delay_line(np.zeros(SHAPE, np.int8)).nodes
    ordered = read_late([nodes[0], other[0], *nodes[1:3], other[3], *other[1:3], nodes[3]])
    assert ordered == [*nodes[:3], other[0], other[3], *other[1:3], nodes[3]]


def test_compiled() -> None:
    rng = np.random.default_rng(1)
    steps = [[rng.integers(-128, 128, (1, 1, 4)).astype(np.int8)] for _ in range(5)]
    same, different = np.full(SHAPE, -128, np.int8), rng.integers(-128, 128, SHAPE).astype(np.int8)
    check_compiled([(delay_line(same), steps), (delay_line(different), steps)])
