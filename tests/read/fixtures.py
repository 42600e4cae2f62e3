"""Fixtures of tests/data: a model, and one input with the output that its framework computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinymaix.graph import Array, Graph, Tensor
from tinymaix.read import read_model
from tinymaix.rewrite import simplify

DATA = Path(__file__).parents[1] / "data"


def channels_last(array: Array, tensor: Tensor) -> Array:
    """A framework's NCHW as the graph has it, quantized where the graph takes int8."""
    array = array if array.shape == tensor.shape else np.ascontiguousarray(np.moveaxis(array, 1, -1))
    if tensor.dtype != np.int8:
        return array
    return np.asarray(np.clip(np.rint(array / tensor.q.s) + tensor.q.z, -128, 127), np.int8)


def check_fixture(file: str, tolerance: float) -> Graph:
    """Read and simplify a model, and compare its output; the tolerance is in steps where the output is int8."""
    graph = simplify(read_model(DATA / file))
    assert [problem for node in graph.nodes for problem in node.op.problems(node)] == []
    with np.load((DATA / file).with_suffix(".npz")) as stored:
        x, y = stored["x"], stored["y"]
    (result,) = graph.run([channels_last(x, graph.inputs[0])])
    output = graph.outputs[0]
    expected = y if y.shape == output.shape else np.moveaxis(y, 1, -1)
    if output.dtype == np.int8:
        expected = expected / output.q.s + output.q.z
    assert np.abs(result.astype(np.float64) - expected).max() < tolerance
    return graph
