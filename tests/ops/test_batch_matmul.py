"""BATCH_MATMUL against numpy's matmul and TFLM, and its C."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.make import float32
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Shape
from tinymaix.ops.batch_matmul import BatchMatMul

CASES: list[tuple[bool, bool, Shape, Shape]] = [
    (False, False, (1, 2, 3, 4), (1, 2, 4, 5)),
    (False, True, (2, 3, 4), (2, 5, 4)),
    (True, False, (2, 4, 3), (1, 4, 5)),
    (True, True, (4, 3), (5, 4)),
    (False, False, (1, 3, 2, 6), (2, 1, 6, 1)),
]


def _graph(adjoint_a: bool, adjoint_b: bool, a: Shape, b: Shape) -> Graph:
    op = BatchMatMul(adjoint_a, adjoint_b)
    inputs = [float32("a", a), float32("b", b)]
    return one_op(op, inputs, [float32("y", op.infer(inputs)[0])])


@pytest.mark.parametrize("case", CASES)
def test_is_matmul(case: tuple[bool, bool, Shape, Shape]) -> None:
    graph = _graph(*case)
    a, b = random_inputs(graph)
    expected = (a.swapaxes(-1, -2) if case[0] else a) @ (b.swapaxes(-1, -2) if case[1] else b)
    np.testing.assert_allclose(graph.run([a, b])[0], expected, atol=1e-6)


def test_is_tflm_s() -> None:
    for case in CASES[:3]:
        graph = _graph(*case)
        check_exact(graph, random_inputs(graph))


def test_compiled() -> None:
    graphs = [_graph(*case) for case in CASES]
    check_compiled([(graph, [random_inputs(graph)]) for graph in graphs])


@pytest.mark.parametrize(("a", "b"), [((3,), (3, 2)), ((2, 3), (2, 3)), ((2, 3, 4), (3, 4, 5))])
def test_refuses(a: Shape, b: Shape) -> None:
    with pytest.raises(ModelError, match=r"two axes|do not multiply|broadcast"):
        BatchMatMul().infer([float32("a", a), float32("b", b)])
