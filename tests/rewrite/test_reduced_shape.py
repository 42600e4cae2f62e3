"""Reductions take in the views around them, and every output stays as it was bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.graph import Graph, Node, Quantization, Shape, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.ops.mean import Mean
from tinymaix.ops.reshape import Reshape
from tinymaix.rewrite.reduced_shape import fuse_reduced_shape


def _graph(shapes: list[Shape], axes: tuple[int, ...], keep: bool, dtype: str = "float32", kind: str = "MEAN") -> Graph:
    """An input of the first shape, a view of the second, its reduction, and a view of the third."""
    quantization = None if dtype == "float32" else Quantization.of(0.1, 3)
    operator: Any = OPERATORS[kind]
    tensors = [Tensor("x", shapes[0], np.dtype(dtype), quantization)]
    nodes: list[Node] = []
    for op in (Reshape(shapes[1]), operator(axes=axes, keep_dims=keep), Reshape(shapes[2])):
        x = tensors[-1]
        tensors.append(Tensor(f"t{len(nodes)}", op.infer([x])[0], x.dtype, quantization))
        nodes.append(Node(op, [x], [tensors[-1]], f"n{len(nodes)}"))
    return Graph(nodes, tensors[:1], tensors[-1:])


@pytest.mark.parametrize(
    ("shapes", "axes", "keep", "fused"),
    [
        ([(1, 7, 5, 8), (1, 7, 5, 8), (1, 8)], (1, 2), True, Mean((1, 2), False)),  # PyTorch's pooling and flattening
        ([(1, 1, 15, 8), (1, 15, 8), (1, 8)], (1,), False, Mean((1, 2), False)),  # a 1-D model
        ([(1, 1, 15, 8), (1, 15, 8), (1, 1, 8)], (1,), True, Mean((2,), False)),
        ([(1, 15, 8), (1, 15, 8), (1, 1, 8)], (-2,), False, Mean((1,), True)),
    ],
)
def test_known_forms(shapes: list[Shape], axes: tuple[int, ...], keep: bool, fused: Mean) -> None:
    graph = fuse_reduced_shape(_graph(shapes, axes, keep))
    assert [node.op for node in graph.nodes if node.input(0).shape != node.output.shape] == [fused]
    assert graph.outputs[0].shape == shapes[2]


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [([(1, 6, 8), (1, 2, 3, 8), (16,)], (2,)), ([(1, 4, 6), (1, 4, 6), (1, 2, 2)], (2,))],
)
def test_views_that_split_stay(shapes: list[Shape], axes: tuple[int, ...]) -> None:
    graph = _graph(shapes, axes, keep=False)
    assert Mean(axes, False) in [node.op for node in fuse_reduced_shape(graph).nodes]
    assert fuse_reduced_shape(graph).outputs[0].shape == shapes[2]


def test_views_that_add_axes_stay_in_integer_models() -> None:
    graph = _graph([(1, 3, 3, 8), (1, 3, 3, 8), (1, 1, 1, 8)], (1, 2), keep=False, dtype="int8")
    assert [node.op for node in fuse_reduced_shape(graph).nodes][-1] == Reshape((1, 1, 1, 8))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Views that add and drop axes of size 1, and one that flattens."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))

    def with_ones(sizes: list[int]) -> Shape:
        ones = draw(st.lists(st.integers(0, 3), max_size=2))
        shape = [size for size in sizes if size != 1]
        for at in ones:
            shape.insert(at, 1)
        return tuple(shape)

    first, second = with_ones(sizes), with_ones(sizes)
    axes = draw(st.sets(st.integers(0, len(second) - 1), min_size=1)) if second else set()
    rest = [size for axis, size in enumerate(second) if axis not in axes]
    last = draw(st.sampled_from([with_ones(rest), (int(np.prod(rest, dtype=int)),)]))
    dtype, kind = draw(st.sampled_from([("int8", "MEAN"), ("float32", "MEAN"), ("float32", "REDUCE_MAX")]))
    return _graph([first, second, last], tuple(axes), draw(st.booleans()), dtype, kind)


@given(graphs(), st.integers(0, 9))
def test_no_bit_changes(graph: Graph, seed: int) -> None:
    x = graph.inputs[0]
    rng = np.random.default_rng(seed)
    data = rng.integers(-128, 128, x.shape, np.int8) if x.dtype == np.int8 else rng.normal(size=x.shape)
    fused = fuse_reduced_shape(graph)
    assert len(fused.nodes) <= len(graph.nodes)
    (expected,), (found,) = graph.run([data.astype(x.dtype)]), fused.run([data.astype(x.dtype)])
    np.testing.assert_array_equal(found, expected, strict=True)
