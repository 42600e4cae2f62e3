"""Operators that only move bytes, against TFLM and LiteRT, and their C against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, int32, shapes
from tests.oracles import check_compiled, check_exact, expect_same, litert, one_op, random_inputs
from tinymaix.graph import Array, Graph, ModelError, Quantization, Shape, Tensor
from tinymaix.ops.base import Operator, Options
from tinymaix.ops.expand_dims import ExpandDims
from tinymaix.ops.gather import Gather
from tinymaix.ops.move import Move
from tinymaix.ops.pack import Pack
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.shape import ShapeOf
from tinymaix.ops.slice import Slice
from tinymaix.ops.split import Split
from tinymaix.ops.split_v import SplitV
from tinymaix.ops.squeeze import Squeeze
from tinymaix.ops.strided_slice import StridedSlice
from tinymaix.ops.transpose import Transpose
from tinymaix.ops.unpack import Unpack

TYPES = st.sampled_from(["int8", "float32"])


def tensor(name: str, shape: Shape, dtype: str = "int8") -> Tensor:
    return Tensor(name, shape, np.dtype(dtype), Quantization.of(0.1, 3) if dtype == "int8" else None)


def graph_of(op: Operator, *inputs: Tensor) -> Graph:
    outputs = [tensor(f"y{i}", shape, inputs[0].dtype.name) for i, shape in enumerate(op.infer(inputs))]
    return one_op(op, inputs, outputs)


def check(op: Operator, shape: Shape, dtype: str, seed: int) -> None:
    graph = graph_of(op, tensor("x", shape, dtype))
    check_exact(graph, random_inputs(graph, seed))


@given(shapes(), TYPES, SEEDS, st.data())
def test_reshape(shape: Shape, dtype: str, seed: int, data: st.DataObject) -> None:
    new = list(data.draw(st.permutations(shape)))
    check(Reshape(tuple(new)), shape, dtype, seed)
    new[data.draw(st.integers(0, len(new) - 1))] = -1
    assert Reshape(tuple(new)).infer([tensor("x", shape)])[0][new.index(-1)] * math.prod(new) == -math.prod(shape)


def test_reshape_refuses_another_number_of_elements() -> None:
    for shape in ((5,), (-1, 5), (-1, -1), (0, -1), (-2, -3)):
        with pytest.raises(ModelError, match="cannot be reshaped"):
            Reshape(shape).infer([tensor("x", (2, 3))])


class NoOptions:
    """An option table in which nothing but ``listed`` is set."""

    def __init__(self, listed: list[int]) -> None:
        self.listed = listed

    def i8(self, slot: int, default: int = 0) -> int:
        return default

    def i32(self, slot: int, default: int = 0) -> int:
        return default

    def f32(self, slot: int, default: float = 0.0) -> float:
        return default

    def flag(self, slot: int, default: bool = False) -> bool:
        return default

    def ints(self, slot: int) -> list[int]:
        return self.listed


def test_reshape_reads_its_shape_from_wherever_it_stands() -> None:
    x, y = tensor("x", (2, 3)), tensor("y", (6, 1))
    nothing: Options = NoOptions([])
    assert Reshape.from_tflite(nothing, [x, int32("s", (2,), np.array([-1, 2], np.int32))], [y]) == Reshape((-1, 2))
    assert Reshape.from_tflite(NoOptions([3, 2]), [x], [y]) == Reshape((3, 2))
    assert Reshape.from_tflite(NoOptions([0]), [x], [y]) == Reshape(())
    assert Reshape.from_tflite(nothing, [x, int32("s", (2,))], [y]) == Reshape((6, 1))
    with pytest.raises(ModelError, match="a new shape is missing"):
        Reshape.from_tflite(nothing, [x], [y])


@given(shapes(range(1, 4)), TYPES, SEEDS, st.data())
def test_squeeze_and_expand_dims(shape: Shape, dtype: str, seed: int, data: st.DataObject) -> None:
    check(ExpandDims(data.draw(st.integers(-len(shape) - 1, len(shape)))), shape, dtype, seed)
    check(Squeeze(), (1, *shape, 1), dtype, seed)
    check(Squeeze((0, -1)), (1, *shape, 1), dtype, seed)
    with pytest.raises(ModelError, match="not of size 1"):
        Squeeze((0,)).infer([tensor("x", (2, 1))])


@given(shapes(range(1, 6)), TYPES, SEEDS, st.data())
def test_transpose(shape: Shape, dtype: str, seed: int, data: st.DataObject) -> None:
    check(Transpose(tuple(data.draw(st.permutations(range(len(shape)))))), shape, dtype, seed)


@st.composite
def slices(draw: st.DrawFn) -> tuple[StridedSlice, Shape]:
    """What TFLM has: one entry an axis, up to four axes, no ellipsis, no new axis; never an empty result."""
    shape = draw(shapes(range(1, 5)))
    begins, ends, strides, shrink = [], [], [], 0
    for axis, size in enumerate(shape):
        begin, stride = draw(st.integers(-size, size - 1)), draw(st.sampled_from([1, 2, 3, -1, -2]))
        if draw(st.integers(0, 3)) == 0:
            shrink, stride = shrink | 1 << axis, 1
        first = begin % size
        last = draw(st.integers(first, size - 1) if stride > 0 else st.integers(0, first))
        end = last + 1 if stride > 0 else (last - 1 if last else -size - draw(st.integers(1, 9)))
        begins.append(begin)
        ends.append(end)
        strides.append(stride)
    begin_mask, end_mask = (draw(st.integers(0, 2 ** len(shape) - 1)) & ~shrink for _ in range(2))
    return StridedSlice(tuple(begins), tuple(ends), tuple(strides), begin_mask, end_mask, 0, 0, shrink), shape


@given(slices(), TYPES, SEEDS)
def test_strided_slice(case: tuple[StridedSlice, Shape], dtype: str, seed: int) -> None:
    op, shape = case
    if 0 not in op.infer([tensor("x", shape)])[0]:  # a mask may leave nothing
        check(op, shape, dtype, seed)


@pytest.mark.parametrize(
    "op",
    [
        StridedSlice((1, 0, 2), (2, 0, 4), (1, 1, 1), ellipsis_mask=0b010),
        StridedSlice((0, 0, 1), (0, 9, 9), (1, 1, 2), ellipsis_mask=0b001, shrink_axis_mask=0b100),
        StridedSlice((0, 1), (1, 2), (1, 1), new_axis_mask=0b01),
        StridedSlice((1, 0, 0), (2, 0, 1), (1, 1, 1), new_axis_mask=0b100, ellipsis_mask=0b010, shrink_axis_mask=0b001),
        StridedSlice((1,), (3,), (1,)),
    ],
    ids=str,
)
def test_strided_slice_with_the_masks_that_only_litert_has(op: StridedSlice) -> None:
    graph = graph_of(op, tensor("x", (3, 2, 4, 5)))
    inputs = random_inputs(graph)
    expect_same(graph.run(inputs), litert(graph, inputs), "numpy and LiteRT")


def test_strided_slice_refuses_what_does_not_fit() -> None:
    x = tensor("x", (3, 2))
    for op, why in (
        (StridedSlice((0,), (1,), (0,)), "stride 0"),
        (StridedSlice((3,), (4,), (1,), shrink_axis_mask=1), "index 3 is outside"),
        (StridedSlice((0, 0, 0), (1, 1, 1), (1, 1, 1)), "does not fit"),
        (StridedSlice((0,), (1, 1), (1,)), "differ in length"),
    ):
        with pytest.raises(ModelError, match=why):
            op.infer([x])


@given(shapes(range(1, 5)), TYPES, SEEDS, st.data())
def test_slice(shape: Shape, dtype: str, seed: int, data: st.DataObject) -> None:
    begin = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    sizes = tuple(data.draw(st.sampled_from([-1, 1, full - first])) for full, first in zip(shape, begin, strict=True))
    check(Slice(begin, sizes), shape, dtype, seed)
    with pytest.raises(ModelError, match="a slice from"):
        Slice(begin, tuple(size + 1 for size in shape)).infer([tensor("x", shape)])


@given(shapes(range(1, 5)), TYPES, SEEDS, st.data())
def test_splits_pack_and_unpack(shape: Shape, dtype: str, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    check(Split(data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0])), axis), shape, dtype, seed)
    first = data.draw(st.integers(0, size - 1))
    check(SplitV((first, -1) if first else (size,), axis), shape, dtype, seed)
    check(Unpack(size, axis), shape, dtype, seed)
    tensors = [tensor(f"x{i}", shape, dtype) for i in range(3)]
    graph = graph_of(Pack(data.draw(st.integers(-len(shape) - 1, len(shape)))), *tensors)
    check_exact(graph, random_inputs(graph, seed))


def test_splits_refuse_what_does_not_fit() -> None:
    x = tensor("x", (3, 4))
    for op in (Split(3, 1), SplitV((1, 2), 1), SplitV((-1, -1), 0), SplitV((5, -1), 1), Unpack(2, 0)):
        with pytest.raises(ModelError, match="cannot be"):
            op.infer([x])
    with pytest.raises(ModelError, match="inputs of one shape"):
        Pack().infer([x, tensor("x2", (4, 3))])


def gather(op: Gather, shape: Shape, indices: Shape, seed: int, dtype: str = "int8", constant: bool = False) -> Graph:
    values = np.random.default_rng(seed).integers(0, shape[op.axis], indices, dtype=np.int32)
    return graph_of(op, tensor("x", shape, dtype), int32("indices", indices, values if constant else None))


@given(shapes(range(1, 5)), shapes(range(1, 3)), TYPES, SEEDS, st.data())
def test_gather(shape: Shape, indices: Shape, dtype: str, seed: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    batch = data.draw(st.integers(0, min(axis, 1)))
    graph = gather(Gather(axis, batch), shape, shape[:batch] + indices, seed, dtype, constant=True)
    check_exact(graph, random_inputs(graph, seed))


def test_gather_refuses_constant_indices_outside_the_axis() -> None:
    graph = graph_of(Gather(0), tensor("x", (3, 2)), int32("indices", (1,), np.array([3], np.int32)))
    assert "leave the axis" in graph.nodes[0].op.problems(graph.nodes[0])[0]


@given(shapes(range(1, 5)), SEEDS)
def test_shape(shape: Shape, seed: int) -> None:
    graph = one_op(ShapeOf(), [tensor("x", shape)], [int32("y", (len(shape),))])
    check_exact(graph, random_inputs(graph, seed))


def test_any_type_moves_but_none_changes() -> None:
    for dtype in ("uint8", "int16", "int32", "int64", "bool"):
        graph = graph_of(Transpose((1, 0)), tensor("x", (2, 3), dtype))
        assert graph.nodes[0].op.problems(graph.nodes[0]) == []
    graph.outputs[0].dtype = np.dtype(np.int8)
    assert "'x' is bool" in graph.nodes[0].op.problems(graph.nodes[0])[0]


def test_compiled() -> None:
    shape = (2, 3, 4, 5)
    moves: list[Move] = [
        Transpose((0, 3, 1, 2)), Transpose((3, 2, 1, 0)), Transpose((0, 1, 2, 3)), Transpose((1, 0, 2, 3)),
        StridedSlice((0, -1, 1, 4), (2, -9, 4, -9), (1, -2, 2, -1)), StridedSlice((1,), (2,), (1,), shrink_axis_mask=1),
        StridedSlice((0, 0), (0, 2), (1, 2), ellipsis_mask=1), Slice((1, 0, 2, 1), (1, -1, 2, 3)),
        Split(2, 2), Split(3, 1), SplitV((1, -1, 2), -1), Unpack(3, 1), Unpack(5, -1),
    ]  # fmt: skip
    graphs = [graph_of(op, tensor("x", shape, dtype)) for op in moves for dtype in ("int8", "float32", "int64")]
    graphs += [graph_of(Transpose((4, 2, 0, 3, 1)), tensor("x", (2, 3, 2, 3, 2), dtype)) for dtype in ("int8", "int16")]
    for axis in (0, 1, -1):
        graphs.append(graph_of(Pack(axis), *(tensor(f"x{i}", (3, 4), "int32") for i in range(3))))
    graphs.append(gather(Gather(2, 1), shape, (2, 3), 0, "float32", constant=True))
    graphs.append(one_op(ShapeOf(), [tensor("x", shape)], [int32("y", (4,))]))
    cases: list[tuple[Graph, list[list[Array]]]] = [(graph, [random_inputs(graph)]) for graph in graphs]
    runtime = gather(Gather(-1), shape, (6,), 0)
    cases.append((runtime, [[random_inputs(runtime)[0], np.array([-7, 0, 4, 5, 99, 2], np.int32)]]))
    check_compiled(cases)
