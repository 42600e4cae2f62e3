"""Operators that move elements by tables: against TFLM, or LiteRT where TFLM lacks them, and their C against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.make import float32, int8
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Shape, Tensor
from tinymaix.ops.batch_to_space import BatchToSpace, SpaceToBatch
from tinymaix.ops.rearrange import (
    BroadcastTo,
    DepthToSpace,
    MirrorPad,
    Reverse,
    SpaceToDepth,
    Tile,
)
from tinymaix.ops.tables import TableMove

CASES: list[tuple[TableMove, Shape]] = [
    (DepthToSpace(2), (2, 3, 2, 8)), (DepthToSpace(3), (1, 2, 2, 9)), (SpaceToDepth(2), (2, 4, 6, 3)),
    (SpaceToDepth(3), (1, 3, 6, 1)), (BatchToSpace((2, 2), ((0, 0), (0, 0))), (8, 2, 3, 2)),
    (BatchToSpace((2, 3), ((1, 0), (1, 2))), (6, 2, 3, 2)), (SpaceToBatch((2, 2), ((0, 0), (0, 0))), (2, 4, 6, 2)),
    (SpaceToBatch((2, 3), ((1, 2), (1, 0))), (1, 3, 5, 2)), (BroadcastTo((4, 2, 3)), (2, 1)),
    (BroadcastTo((2, 3, 4)), (3, 1)), (MirrorPad(((0, 0), (1, 2), (2, 1), (0, 0))), (1, 4, 3, 2)),
    (MirrorPad(((2, 1), (0, 3)), symmetric=True), (2, 3)), (Reverse((1,)), (2, 3, 4)), (Reverse((-1, 0)), (2, 3)),
    (Tile((2, 1, 3)), (2, 3, 2)), (Tile((1, 2)), (3, 4)),
]  # fmt: skip
LITERT_ONLY = ("TILE", "REVERSE_V2")


def graph_of(op: TableMove, shape: Shape, dtype: str) -> Graph:
    def make(name: str, size: Shape) -> Tensor:
        return {"int8": lambda: int8(name, size, 0.05, -7), "float32": lambda: float32(name, size)}.get(
            dtype, lambda: Tensor(name, size, np.dtype(dtype))
        )()

    x = make("x", shape)
    return one_op(op, [x], [make("y", op.infer([x])[0])])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(("op", "shape"), CASES, ids=str)
def test_exact(op: TableMove, shape: Shape, dtype: str) -> None:
    graph = graph_of(op, shape, dtype)
    inputs = random_inputs(graph)
    if op.kind in LITERT_ONLY or (isinstance(op, SpaceToBatch) and dtype == "int8"):
        expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT")
    else:
        check_exact(graph, inputs, litert_too=op.kind != "BROADCAST_TO")


def test_compiled() -> None:
    graphs = [graph_of(op, shape, dtype) for op, shape in CASES for dtype in ("int8", "float32", "int16")]
    check_compiled([(graph, [random_inputs(graph, 2)]) for graph in graphs])


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (DepthToSpace(2), (1, 2, 2, 3)), (SpaceToDepth(2), (1, 3, 2, 1)), (Tile((2,)), (2, 2)),
        (Tile((1 << 30,)), (2,)),
        (BatchToSpace((2, 2), ((0, 0), (0, 0))), (3, 1, 1, 1)), (MirrorPad(((3, 0),)), (3,)), (Reverse((2,)), (1, 1)),
        (SpaceToBatch((2,), ((0, 0),)), (1, 3, 1)), (BatchToSpace((2,), ((4, 4),)), (2, 3, 1)),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: TableMove, shape: Shape) -> None:
    with pytest.raises(ModelError):
        op.infer([float32("x", shape)])
