"""Run a graph over many samples at once: matrix products for float layers, references on whole batches for the rest.

Values have one axis more in front, of samples: a tensor of shape (1, 8, 8, 3) over 50 samples is (50, 1, 8, 8, 3).
Float results differ from `Graph.run` by the order of their sums; integer nodes give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops.accumulate import finish
from tinymaix.ops.base import array
from tinymaix.ops.batch_matmul import BatchMatMul
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.elementwise import Binary
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.lookup import Unary
from tinymaix.ops.pooling import Pool2D
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.recurrent import Recurrent
from tinymaix.ops.reduction import Reduction
from tinymaix.ops.resize import Resize
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.transpose_conv import TransposeConv

Values = dict[int, Array]
"""By id of the tensor: (samples, *shape)."""

CHUNK_BYTES = 64 << 20
"""Room for the values of the samples that are run together."""

BY_ROWS = (Conv2D, DepthwiseConv2D, TransposeConv, Pool2D, Unary, Softmax, Resize, Quantize, Recurrent)
"""Operators of one computed input that treat each index of the first axis alike and apart."""


def run_float(
    graph: Graph, inputs: Sequence[Sequence[Array]], keep: Collection[Tensor] | None = None, sequence: bool = False
) -> Values:
    """The values of the graph's tensors for each sample: of all that are computed, or of those in ``keep``.

    Args:
        sequence: states go on from sample to sample, as in a stream; else each sample begins with the initial ones.

    Raises:
        ModelError: there are no samples, or one does not fit the graph.
    """
    kept = None if keep is None else {id(t) for t in keep}
    values = {id(t): v for t, v in zip(graph.inputs, stack_inputs(graph, inputs), strict=True)}
    result = {i: v for i, v in values.items() if kept is None or i in kept}
    for _, made in steps(graph, inputs, sequence):
        result.update((i, v) for i, v in made.items() if kept is None or i in kept)
    return result


def chunks(
    graph: Graph, inputs: Sequence[Sequence[Array]], sequence: bool = False
) -> Iterator[Sequence[Sequence[Array]]]:
    """The samples in parts whose values fit `CHUNK_BYTES`; all at once where states go on from one to the next."""
    largest = sum(t.nbytes for t in graph.tensors if not t.is_constant)
    size = len(inputs) if sequence else max(1, CHUNK_BYTES // max(largest, 1))
    for start in range(0, len(inputs), max(size, 1)):
        yield inputs[start : start + size]


def stack_inputs(graph: Graph, inputs: Sequence[Sequence[Array]]) -> list[Array]:
    """Each input of the graph over all samples. Raises ModelError where there are none or one does not fit."""
    if not inputs:
        raise ModelError("there are no samples")
    rows = [graph.check_inputs(sample) for sample in inputs]
    return [np.stack([row[i] for row in rows]) for i in range(len(graph.inputs))]


def steps(graph: Graph, inputs: Sequence[Sequence[Array]], sequence: bool = False) -> Iterator[tuple[Node, Values]]:
    """Each node with the values of its outputs; values are let go of once all their readers have run."""
    if graph.states:
        yield from _steps_with_states(graph, inputs, sequence)
        return
    values = {id(t): v for t, v in zip(graph.inputs, stack_inputs(graph, inputs), strict=True)}
    last = {id(t): node for node in graph.nodes for t in node.activations}
    for node in graph.nodes:
        made = run_node(node, values, len(inputs))
        yield node, made
        values.update(made)
        for tensor in (*node.activations, *node.outputs):
            if last.get(id(tensor), node) is node:
                values.pop(id(tensor), None)


def _steps_with_states(
    graph: Graph, inputs: Sequence[Sequence[Array]], sequence: bool
) -> Iterator[tuple[Node, Values]]:
    states = graph.initial_states()
    collected: list[dict[int, list[Array]]] = [{} for _ in graph.nodes]
    stack_inputs(graph, inputs)
    for sample in inputs:
        if not sequence:
            states = graph.initial_states()
        values = {**states, **{id(t): v for t, v in zip(graph.inputs, sample, strict=True)}}
        for k, (_, made) in enumerate(graph.steps(values)):
            values.update(made)
            for i, value in made.items():
                collected[k].setdefault(i, []).append(np.array(value))
    for node, lists in zip(graph.nodes, collected, strict=True):
        yield node, {i: np.stack(arrays) for i, arrays in lists.items()}


def run_node(node: Node, values: Mapping[int, Array], samples: int) -> Values:
    """The outputs of one node, which has no states."""
    arrays = [None if t is None else t.data if t.data is not None else values[id(t)] for t in node.inputs]
    op = node.op
    if op.is_view and len(node.outputs) == 1:
        return {id(node.output): array(arrays[0]).reshape(samples, *node.output.shape)}
    fast = FAST.get(op.kind)
    if fast is not None and node.output.dtype == np.float32 and node.input(1).is_constant:
        return {id(node.output): fast(node, arrays).reshape(samples, *node.output.shape)}
    if not node.activations:
        return {
            id(t): np.broadcast_to(a, (samples, *a.shape))
            for t, a in zip(node.outputs, op.reference(node, arrays), strict=True)
        }
    if _by_rows(node):
        return _run_rows(node, arrays, samples)
    each = [op.reference(node, [_sample(t, a, k) for t, a in zip(node.inputs, arrays, strict=True)])
            for k in range(samples)]  # fmt: skip
    return {id(t): np.stack([outputs[i] for outputs in each]) for i, t in enumerate(node.outputs)}


def _sample(tensor: Tensor | None, value: Array | None, k: int) -> Array | None:
    return value if tensor is None or value is None or tensor.is_constant else value[k]


def _by_rows(node: Node) -> bool:
    """Whether samples may stand behind one another along the first axis."""
    if isinstance(node.op, FullyConnected):
        return True
    if isinstance(node.op, BY_ROWS):
        return len(node.input(0).shape) > 1 and len(node.activations) == 1
    if isinstance(node.op, Reduction):
        rank = len(node.input(0).shape)
        return rank > 1 and 0 not in node.op.reduced(rank)
    if isinstance(node.op, Binary | BatchMatMul):
        rank = len(node.output.shape)
        least = 2 if isinstance(node.op, Binary) else 3
        return rank >= least and all(
            (len(t.shape) < rank or t.shape[0] == 1) if t.is_constant else t.shape[:1] == (1,) and len(t.shape) == rank
            for t in node.present
        )
    return False


def _run_rows(node: Node, arrays: Sequence[Array | None], samples: int) -> Values:
    """The reference of the node as it were for a batch of ``samples`` times its first axis."""
    inputs, given = [], []
    for tensor, value in zip(node.inputs, arrays, strict=True):
        if tensor is None or value is None or tensor.is_constant:
            inputs.append(tensor)
            given.append(value)
            continue
        shape = (samples * tensor.shape[0], *tensor.shape[1:])
        inputs.append(replace(tensor, shape=shape))
        given.append(value.reshape(shape))
    outputs = [replace(t, shape=(samples * t.shape[0], *t.shape[1:])) for t in node.outputs]
    made = node.op.reference(replace(node, inputs=inputs, outputs=outputs), given)
    return {id(t): a.reshape(samples, *t.shape) for t, a in zip(node.outputs, made, strict=True)}


def _conv(node: Node, arrays: Sequence[Array | None]) -> Array:
    """im2col and a matrix product for each group."""
    op, weights = node.op, array(arrays[1])
    assert isinstance(op, Conv2D)
    x = array(arrays[0]).reshape(-1, *node.input(0).shape[1:])
    groups = x.shape[3] // weights.shape[3]
    windows = op.window(node).views(x, 0)
    parts = []
    for part, w in zip(np.split(windows, groups, axis=3), np.split(weights, groups), strict=True):
        columns = part.transpose(0, 1, 2, 4, 5, 3).reshape(-1, math.prod(w.shape[1:]))
        parts.append((columns @ w.reshape(len(w), -1).T).reshape(*windows.shape[:3], len(w)))
    return finish(node, parts[0] if groups == 1 else np.concatenate(parts, -1), _bias(arrays), op.activation)


def _depthwise(node: Node, arrays: Sequence[Array | None]) -> Array:
    op, weights = node.op, array(arrays[1])
    assert isinstance(op, DepthwiseConv2D)
    x = array(arrays[0]).reshape(-1, *node.input(0).shape[1:])
    windows = op.window(node).views(x, 0)
    taps = weights.reshape(*weights.shape[1:3], x.shape[3], -1)
    total = np.zeros((*windows.shape[:4], taps.shape[3]), np.float32)
    for ky, kx in np.ndindex(*taps.shape[:2]):
        total += windows[..., ky, kx, None] * taps[ky, kx]
    return finish(node, total.reshape(*windows.shape[:3], -1), _bias(arrays), op.activation)


def _fully_connected(node: Node, arrays: Sequence[Array | None]) -> Array:
    op, weights = node.op, array(arrays[1])
    assert isinstance(op, FullyConnected)
    return finish(node, array(arrays[0]).reshape(-1, weights.shape[1]) @ weights.T, _bias(arrays), op.activation)


def _bias(arrays: Sequence[Array | None]) -> Array | None:
    return arrays[2] if len(arrays) > 2 else None


FAST: dict[str, Callable[[Node, Sequence[Array | None]], Array]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
}
"""Float layers by kind: the output, in any shape of the right order of elements."""
