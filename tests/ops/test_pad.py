"""PAD and PADV2 against TFLM, LiteRT and compiled C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, ZERO_POINTS, float32, int8, int32, sample, shapes
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, ModelError, Quantization, Tensor
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.read.tflite import read_tflite
from tinymaix.write.tflite import tflite_bytes

SIZES = st.integers(0, 3)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    dtype = draw(st.sampled_from(["int8", "float32", "int32"]))
    shape = draw(shapes())
    pads = tuple(draw(st.tuples(SIZES, SIZES)) for _ in shape)
    value = draw(st.integers(-128, 127))
    op = draw(st.sampled_from([Pad(pads), PadV2(pads, value if dtype != "float32" else value / 7)]))
    zero = draw(ZERO_POINTS)
    tensors = [Tensor("x", shape, np.dtype(dtype)), Tensor("y", (), np.dtype(dtype))]
    tensors[1].shape = op.infer(tensors[:1])[0]
    if dtype == "int8":
        for tensor in tensors:
            tensor.quantization = Quantization.of(0.1, zero)
    return one_op(op, tensors[:1], tensors[1:])


@given(graphs(), SEEDS)
def test_exact(graph: Graph, seed: int) -> None:
    check_exact(graph, random_inputs(graph, seed), tolerance=0.0)


def test_compiled() -> None:
    check_compiled([(graph, [random_inputs(graph)]) for graph in sample(graphs(), 40)])


@given(graphs())
def test_reads_back(graph: Graph) -> None:
    (node,) = read_tflite(tflite_bytes(graph)).nodes
    assert type(node.op) is type(graph.nodes[0].op)
    assert isinstance(node.op, Pad)
    assert node.op.pads == graph.nodes[0].op.pads  # type: ignore[attr-defined]


def test_problems() -> None:
    x, y = int8("x", (2,), 0.1), int8("y", (4,), 0.2)
    node = one_op(Pad(((1, 1),)), [x], [y]).nodes[0]
    assert "'x' has scale 0.1" in node.op.problems(node)[0]
    y.quantization = None
    assert "needs its zero point" in node.op.problems(node)[0]


@pytest.mark.parametrize("pads", [((1, 1),), ((1, 1), (-1, 0))])
def test_pads_that_do_not_fit(pads: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ModelError, match="must be two sizes"):
        Pad(pads).infer([float32("x", (2, 2))])


def test_a_value_of_another_scale() -> None:
    pads = int32("pads", (1, 2), np.array([[1, 1]], np.int32))
    value = int8("value", (1,), 0.3, 0, np.array([5], np.int8))
    with pytest.raises(ModelError, match="quantized as the output"):
        PadV2.from_tflite(None, [int8("x", (2,)), pads, value], [int8("y", (4,))])  # type: ignore[arg-type]
