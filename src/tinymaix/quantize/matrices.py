"""Layers as matrix products: what learns from calibration data sees rows of inputs times a matrix of weights.

Grouped and depthwise convolutions are several products side by side: rows are (groups, rows, taps), weights
(groups, outputs, taps).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.quantize.agreement import raw_values, real_values
from tinymaix.quantize.float_run import Values, run_node, stack_inputs

MATRIX_LAYERS = (Conv2D, DepthwiseConv2D, FullyConnected)
SAMPLES, ROWS = 256, 20_000
"""Samples that are learned from, and rows of each layer's input, drawn evenly from all, so that memory has an end."""
PART = 16
"""Samples that run together."""


def is_product(node: Node) -> bool:
    """Whether the node is a layer with constant weights that this file can spell as matrix products."""
    return isinstance(node.op, MATRIX_LAYERS) and all(t.is_constant for t in node.present[1:])


def before_products(graph: Graph, inputs: Sequence[Sequence[Array]]) -> Iterator[tuple[Node, Array]]:
    """Run up to `SAMPLES` samples; stop before each product with the value of its input, (samples, *shape), in reals.

    The node may be given other constants before the run goes on, and is then run with those.
    """
    drawn_ones = (inputs[i] for i in drawn(len(inputs), SAMPLES))
    chosen = [[raw_values(t, a) for t, a in zip(graph.inputs, sample, strict=True)] for sample in drawn_ones]
    values = {id(t): v for t, v in zip(graph.inputs, stack_inputs(graph, chosen), strict=True)}
    last = {id(t): node for node in graph.nodes for t in node.activations}
    for node in graph.nodes:
        if is_product(node):
            yield node, real_values(node.input(0), values[id(node.input(0))])
        values.update(_run(node, values, len(chosen)))
        for tensor in (*node.activations, *node.outputs):
            if last.get(id(tensor), node) is node:
                values.pop(id(tensor), None)


def _run(node: Node, values: Values, count: int) -> Values:
    """`run_node` in parts."""
    computed = [id(t) for t in node.activations]
    parts = []
    for start in range(0, count, PART):
        size = min(PART, count - start)
        parts.append(run_node(node, {i: values[i][start : start + size] for i in computed}, size))
    return {id(t): np.concatenate([part[id(t)] for part in parts]) for t in node.outputs}


def drawn(count: int, most: int) -> Array:
    """Indices of ``most`` of ``count`` things, in order, the same every time; all where they are no more."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def copied(graph: Graph) -> Graph:
    """The graph with nodes of its own, so that their inputs can be replaced."""
    return replace(graph, nodes=[replace(node, inputs=list(node.inputs)) for node in graph.nodes])


def rows_of(node: Node, x: Array) -> Array:
    """Up to `ROWS` rows that the weights are multiplied with: (groups, rows, taps), for real inputs (samples, *shape).

    They are the same ones for every input of that shape.
    """
    if isinstance(node.op, FullyConnected):
        rows = x.reshape(1, -1, node.input(1).shape[1])
        return rows[:, drawn(rows.shape[1], ROWS)]
    assert isinstance(node.op, Conv2D | DepthwiseConv2D)
    windows = node.op.window(node).views(x.reshape(-1, *node.input(0).shape[1:]), 0)
    *places, channels, kh, kw = windows.shape
    groups = channels if isinstance(node.op, DepthwiseConv2D) else channels // node.input(1).shape[3]
    taken = windows[np.unravel_index(drawn(int(np.prod(places)), ROWS), places)]
    split = taken.reshape(len(taken), groups, channels // groups, kh * kw)
    return np.ascontiguousarray(split.transpose(1, 0, 3, 2)).reshape(groups, len(taken), -1)


def sample_means(node: Node, x: Array) -> Array:
    """The mean of those rows of each sample: (groups, samples, taps)."""
    places = node.output.elements // node.output.shape[-1]
    origin = drawn(len(x) * places, ROWS) // places
    starts = np.flatnonzero(np.diff(origin, prepend=-1))
    sums = np.add.reduceat(rows_of(node, x), starts, axis=1, dtype=np.float64)
    return np.asarray(sums / np.diff(starts, append=len(origin))[:, None])


def matrix_of(node: Node, weights: Array) -> Array:
    """Weights of a layer, in the shape of its tensor, as (groups, outputs of a group, taps)."""
    if isinstance(node.op, DepthwiseConv2D):
        channels = node.input(0).shape[3]
        return np.moveaxis(weights.reshape(-1, channels, weights.shape[3] // channels), 0, 2)
    groups = node.input(0).shape[3] // weights.shape[3] if isinstance(node.op, Conv2D) else 1
    return weights.reshape(groups, weights.shape[0] // groups, -1)


def weights_of(node: Node, matrix: Array) -> Array:
    """The inverse of `matrix_of`."""
    shape = node.input(1).shape
    if isinstance(node.op, DepthwiseConv2D):
        return np.ascontiguousarray(np.moveaxis(matrix, 2, 0)).reshape(shape)
    return matrix.reshape(shape)


def by_output(node: Node, values: Array) -> Array:
    """One value, or one for each output channel, as (groups, outputs of a group, 1)."""
    groups, outputs = matrix_of(node, np.zeros(node.input(1).shape, np.int8)).shape[:2]
    return np.broadcast_to(values.reshape(-1), (groups * outputs,)).reshape(groups, outputs, 1)
