"""ADD, SUB, MUL, MAXIMUM and MINIMUM against TFLM and LiteRT: broadcasting, constants, scales, fused activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import ACTIVATIONS, SCALES, SEEDS, ZERO_POINTS, constant, float32, int8, int32, sample, shapes
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.elementwise import Arithmetic, Binary
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.minimum import Minimum
from tinymaix.ops.mul import Mul
from tinymaix.ops.sub import Sub

ARITHMETIC = st.sampled_from([Add, Sub, Mul])


@st.composite
def operand_shapes(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Two shapes that broadcast: some sizes are 1 in one of them, and one may lack leading axes."""
    full = draw(shapes())
    shape = tuple(draw(st.sampled_from([size, size, 1])) for size in full)[draw(st.integers(0, len(full) - 1)) :]
    return (full, shape) if draw(st.booleans()) else (shape, full)


@st.composite
def graphs(draw: st.DrawFn, dtype: str, op: Binary, one_scale: bool = False) -> Graph:
    rng = np.random.default_rng(draw(SEEDS))
    quantizations = [(draw(SCALES), draw(ZERO_POINTS)) for _ in range(3)]
    if one_scale:
        quantizations = quantizations[:1] * 3

    def tensor(i: int, shape: Shape) -> Tensor:
        if dtype == "int8":
            return int8("aby"[i], shape, *quantizations[i])
        return float32("aby"[i], shape) if dtype == "float32" else int32("aby"[i], shape)

    inputs = [tensor(i, shape) for i, shape in enumerate(draw(operand_shapes()))]
    fixed = draw(st.sampled_from([None, None, 0, 1]))
    if fixed is not None:
        constant(rng, inputs[fixed])
    return one_op(op, inputs, [tensor(2, op.infer(inputs)[0])])


def arithmetic(dtype: str, activations: st.SearchStrategy[str] = ACTIVATIONS) -> st.SearchStrategy[Graph]:
    return st.tuples(ARITHMETIC, activations).flatmap(lambda pair: graphs(dtype, pair[0](pair[1])))


@given(arithmetic("int8"), SEEDS)
def test_int8_arithmetic_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed))


@given(arithmetic("float32"), SEEDS)
def test_float32_arithmetic_is_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


@given(arithmetic("int32", st.just("none")) | ACTIVATIONS.flatmap(lambda a: graphs("int32", Mul(a))), SEEDS)
def test_int32_arithmetic_is_exact(graph: Graph, seed: int) -> None:
    inputs = [array >> 16 for array in random_inputs(graph, seed)]
    check_exact(graph, inputs)


@given(st.data(), st.sampled_from([Maximum(), Minimum()]), st.sampled_from(["int8", "float32", "int32"]), SEEDS)
def test_maximum_and_minimum_are_exact(data: st.DataObject, op: Binary, dtype: str, seed: int) -> None:
    graph = data.draw(graphs(dtype, op, one_scale=True))
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


@pytest.mark.parametrize("op", [Add(), Sub(), Mul()])
def test_every_pair_of_int8(op: Arithmetic) -> None:
    values = np.arange(-128, 128, dtype=np.int8)
    a, b = int8("a", (256, 1), 0.03, -5), int8("b", (256,), 0.021, 17)
    graph = one_op(op, [a, b], [int8("y", (256, 256), 0.02, 3)])
    check_exact(graph, [values.reshape(256, 1), values])


def test_compiled() -> None:
    cases = [graph for dtype in ("int8", "float32", "int32") for graph in sample(arithmetic(dtype), 12)]
    cases += [
        graph
        for dtype in ("int8", "float32", "int32")
        for op in (Maximum(), Minimum())
        for graph in sample(graphs(dtype, op, one_scale=True), 4)
    ]
    check_compiled([(graph, [random_inputs(graph)]) for graph in cases])


def test_one_tensor_twice() -> None:
    x = int8("x", (3, 4), 0.1, 7)
    graph = one_op(Add(), [x, x], [int8("y", (3, 4), 0.2, 7)])
    assert len(graph.inputs) == 1
    check_exact(graph, random_inputs(graph))


def test_only_inputs_of_the_output_s_size_are_overwritten() -> None:
    full, row, y = int8("a", (2, 3)), int8("b", (3,)), int8("y", (2, 3))
    assert Add().overwrites(one_op(Add(), [full, row], [y]).nodes[0]) == [0]
    assert Add().overwrites(one_op(Add(), [row, full], [y]).nodes[0]) == [1]
    fixed = constant(np.random.default_rng(0), int8("c", (2, 3)))
    assert Add().overwrites(one_op(Add(), [fixed, full], [y]).nodes[0]) == [1]


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ModelError, match="do not broadcast"):
        Add().infer([int8("a", (2, 3)), int8("b", (2,))])
    with pytest.raises(ModelError, match="two inputs"):
        Add().infer([int8("a", (2, 3))])


def test_problems() -> None:
    a, y = int8("a", (2,), 0.1), int8("y", (2,), 0.1)
    raw = Tensor("c", (2,), np.dtype(np.int8), None, np.zeros(2, np.int8))
    assert (
        "without one scale"
        in one_op(Add(), [a, raw], [y]).nodes[0].op.problems(one_op(Add(), [a, raw], [y]).nodes[0])[0]
    )
    wide = Tensor("c", (2,), np.dtype(np.int32), Quantization.of(0.1), np.zeros(2, np.int32))
    assert "'c' is int32" in Add().problems(one_op(Add(), [a, wide], [y]).nodes[0])[0]
    other = int8("b", (2,), 0.2)
    assert "'b' has scale 0.2" in Maximum().problems(one_op(Maximum(), [a, other], [y]).nodes[0])[0]
    assert Add().problems(one_op(Add(), [a, other], [y]).nodes[0]) == []
    count = int32("n", (2,))
    assert (
        "TFLM ignores the fused relu"
        in Add("relu").problems(one_op(Add("relu"), [count, count], [int32("m", (2,))]).nodes[0])[0]
    )
