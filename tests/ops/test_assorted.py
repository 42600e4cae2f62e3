"""Casts, selections, sums, moves by indices, fills, matrix products, L2_POOL_2D and ARG_MIN: against TFLM, or LiteRT
where TFLM lacks them, and their C against numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SCALES, SEEDS, ZERO_POINTS, float32, int8
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op, random_inputs
from tinymaix.graph import Array, Graph, ModelError, Shape, Tensor
from tinymaix.ops.arg_max import ArgMin
from tinymaix.ops.base import Operator
from tinymaix.ops.batch_matmul import BatchMatMul
from tinymaix.ops.cast import TYPES, Cast
from tinymaix.ops.cumsum import AddN, Cumsum
from tinymaix.ops.fill import Fill, ZerosLike
from tinymaix.ops.gather_nd import GatherNd, ReverseSequence
from tinymaix.ops.l2_pool_2d import L2Pool2D
from tinymaix.ops.select import Select, SelectV2


def tensor(name: str, shape: Shape, dtype: str) -> Tensor:
    if dtype == "int8":
        return int8(name, shape, 0.05, 3)
    return float32(name, shape) if dtype == "float32" else Tensor(name, shape, np.dtype(dtype))


def graph_of(op: Operator, inputs: Sequence[Tensor], dtype: str) -> Graph:
    return one_op(op, list(inputs), [tensor("y", op.infer(list(inputs))[0], dtype)])


def cast(x: str, y: str) -> Graph:
    source, target = (Tensor(name, (3, 50), np.dtype(kind)) for name, kind in (("x", x), ("y", y)))
    return one_op(Cast(), [source], [target])


def castable(graph: Graph, seed: int) -> list[Array]:
    """Values that every type holds."""
    return [np.random.default_rng(seed).uniform(0, 120, t.shape).astype(t.dtype) for t in graph.inputs]


SELECTS: list[tuple[Operator, tuple[Shape, Shape, Shape]]] = [
    (Select(), ((2, 3, 4), (2, 3, 4), (2, 3, 4))), (Select(), ((2,), (2, 3), (2, 3))),
    (SelectV2(), ((2, 1, 4), (3, 1), (2, 3, 4))), (SelectV2(), ((), (2, 3), (3,))),
]  # fmt: skip


def select(op: Operator, shapes: tuple[Shape, Shape, Shape], dtype: str) -> Graph:
    condition, a, b = shapes
    return graph_of(op, [tensor("c", condition, "bool"), tensor("a", a, dtype), tensor("b", b, dtype)], dtype)


def indexed(dtype: str) -> list[Graph]:
    """GATHER_ND by constants and at run time, and REVERSE_SEQUENCE along both orders of axes."""
    fixed = np.array([[[0, 1], [2, 3]], [[1, 0], [0, 0]]], np.int32)
    constant = Tensor("i", fixed.shape, fixed.dtype, None, fixed)
    single = np.array([[2], [0]], np.int32)
    x = tensor("x", (3, 4, 2), dtype)
    lengths = Tensor("n", (3,), np.dtype(np.int64), None, np.array([2, 0, 4]))
    across = Tensor("n", (4,), np.dtype(np.int32), None, np.array([3, 1, 2, 0], np.int32))
    return [
        graph_of(GatherNd(), [x, constant], dtype),
        graph_of(GatherNd(), [x, Tensor("i", single.shape, single.dtype, None, single)], dtype),
        graph_of(ReverseSequence(1, 0), [x, lengths], dtype),
        graph_of(ReverseSequence(0, 1), [x, across], dtype),
    ]


MATRICES: list[tuple[Shape, Shape, bool, bool]] = [
    ((3, 4), (4, 5), False, False), ((2, 3, 4), (2, 4, 5), False, False), ((2, 4, 3), (2, 4, 5), True, False),
    ((2, 3, 4), (2, 5, 4), False, True), ((1, 3, 4), (2, 4, 5), False, False), ((2, 4, 3), (1, 5, 4), True, True),
]  # fmt: skip


def matmul(a: Shape, b: Shape, adjoint_a: bool, adjoint_b: bool, dtype: str) -> Graph:
    graph = graph_of(BatchMatMul(adjoint_a, adjoint_b), [tensor("a", a, dtype), tensor("b", b, dtype)], dtype)
    if dtype == "int8":
        graph.outputs[0] = graph.nodes[0].outputs[0] = int8("y", graph.outputs[0].shape, 0.9, -5)
    return graph


def sums() -> list[Graph]:
    graphs = [
        graph_of(Cumsum(axis, exclusive, reverse), [tensor("x", (2, 3, 4), dtype)], dtype)
        for axis in (0, 1, -1) for exclusive in (False, True) for reverse in (False, True)
        for dtype in ("float32", "int32")
    ]  # fmt: skip
    return [*graphs, graph_of(AddN(), [tensor(name, (2, 5), "float32") for name in "abc"], "float32")]


@pytest.mark.parametrize("y", ["int8", "int16", "int32", "float32"])
@pytest.mark.parametrize("x", ["int8", "int16", "int32", "float32", "bool"])
def test_cast(x: str, y: str) -> None:
    graph = cast(x, y)
    expect_same(graph.run(castable(graph, 1)), litert(graph, castable(graph, 1)), "numpy and LiteRT")


def test_cast_saturates_in_c_as_in_numpy() -> None:
    values = np.array([-3e9, -129, -128.5, -0.9, 0, 0.9, 127.5, 128, 255.9, 256, 3e9, 1e30, -1e30, np.nan, np.inf])
    x = float32("x", (15,))
    graphs = [one_op(Cast(), [x], [Tensor("y", (15,), np.dtype(kind))]) for kind in TYPES]
    check_compiled([(graph, [[values.astype(np.float32)]]) for graph in graphs])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(("op", "shapes"), SELECTS, ids=str)
def test_select(op: Operator, shapes: tuple[Shape, Shape, Shape], dtype: str) -> None:
    graph = select(op, shapes, dtype)
    inputs = random_inputs(graph)
    if op.kind == "SELECT_V2":
        check_exact(graph, inputs)
    else:  # TFLM has no such operator
        expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_indexed(dtype: str) -> None:
    for graph in indexed(dtype):
        inputs = random_inputs(graph)
        if graph.nodes[0].op.kind == "GATHER_ND":
            check_exact(graph, inputs)
        elif dtype == "float32":  # LiteRT's is for floats and some integers
            expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT")


@pytest.mark.parametrize(("a", "b", "adjoint_a", "adjoint_b"), MATRICES, ids=str)
def test_float_matmul(a: Shape, b: Shape, adjoint_a: bool, adjoint_b: bool) -> None:
    graph = matmul(a, b, adjoint_a, adjoint_b, "float32")
    check_exact(graph, random_inputs(graph))


@given(SEEDS, st.sampled_from(MATRICES), SCALES, ZERO_POINTS)
def test_int8_matmul_is_exact(seed: int, case: tuple[Shape, Shape, bool, bool], scale: float, zero: int) -> None:
    graph = matmul(*case, "int8")
    graph.outputs[0] = graph.nodes[0].outputs[0] = int8("y", graph.outputs[0].shape, 10 * scale, zero)
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


def test_sums() -> None:
    for graph in sums():
        inputs = random_inputs(graph) if graph.inputs[0].dtype == np.float32 else castable(graph, 2)
        if graph.inputs[0].dtype == np.int32:  # TFLM has floats only
            expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT")
        else:
            check_exact(graph, inputs)


def test_fill_and_zeros() -> None:
    graph = graph_of(Fill((2, 3)), [tensor("v", (), "float32")], "float32")
    check_exact(graph, random_inputs(graph))
    zeros = graph_of(ZerosLike(), [tensor("x", (2, 3), "float32")], "float32")
    check_exact(zeros, random_inputs(zeros))


def pool() -> Graph:
    return graph_of(L2Pool2D((2, 3), (1, 2), (0, 1, 0, 1), "relu6"), [tensor("x", (2, 5, 6, 3), "float32")], "float32")


def test_l2_pool() -> None:
    check_exact(pool(), random_inputs(pool()))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_arg_min(dtype: str) -> None:
    graph = graph_of(ArgMin(1), [tensor("x", (3, 7, 2), dtype)], "int32")
    check_exact(graph, random_inputs(graph))
    check_compiled([(graph, [random_inputs(graph)])])


def test_compiled() -> None:
    graphs = [cast(x, y) for x in TYPES for y in TYPES]
    graphs += [select(op, shapes, dtype) for op, shapes in SELECTS for dtype in ("int8", "float32", "int16")]
    graphs += [graph for dtype in ("int8", "float32") for graph in indexed(dtype)]
    graphs += [matmul(*case, dtype) for case in MATRICES for dtype in ("int8", "float32")]
    graphs += [*sums(), pool(), graph_of(Fill((2, 3)), [tensor("v", (1,), "int16")], "int16")]
    graphs += [graph_of(ZerosLike(), [tensor("x", (2, 3), "int32")], "int32")]
    check_compiled([(g, [random_inputs(g) if "CAST" not in g.nodes[0].op.kind else castable(g, 3)]) for g in graphs])


def test_indices_at_run_time_stay_inside() -> None:
    indices = Tensor("i", (4, 1), np.dtype(np.int32))
    graph = graph_of(GatherNd(), [tensor("x", (3, 2), "int8"), indices], "int8")
    check_compiled([(graph, [[random_inputs(graph)[0], np.array([[-5], [2], [3], [1 << 30]], np.int32)]])])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="do not multiply"):
        BatchMatMul().infer([float32("a", (2, 3)), float32("b", (4, 2))])
    with pytest.raises(ModelError, match="not one for each"):
        ReverseSequence(1, 0).infer([float32("x", (2, 3)), Tensor("n", (3,), np.dtype(np.int32))])
