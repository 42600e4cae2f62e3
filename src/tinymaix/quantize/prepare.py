"""Rewrite float operators that a scheme's types lack into ones that they have, which compute the same.

What stays without an integer form is computed with floats; `tinymaix.quantize.lower` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.layer_norm import LayerNorm
from tinymaix.ops.recurrent import Recurrent
from tinymaix.ops.reduce import Sum
from tinymaix.ops.unidirectional_sequence_lstm import UnidirectionalSequenceLstm
from tinymaix.quantize.recurrent import recurrent
from tinymaix.quantize.scheme import Scheme
from tinymaix.quantize.steps import Steps
from tinymaix.quantize.types import NodeTypes, check_names, node_types
from tinymaix.rewrite import drop_identities, fold_constants


@dataclass(frozen=True)
class Prepared:
    """A float graph whose operators have integer forms, as far as there are such."""

    graph: Graph
    together: list[list[Tensor]]
    """Tensors that are to have one range."""

    wide: frozenset[int]
    """Nodes that compute with int16 unless the scheme says something else of their layer."""


def prepare(graph: Graph, scheme: Scheme) -> Prepared:
    """The same network of operators that the scheme's types have.

    Raises:
        ModelError: the scheme names a layer that is not there.
    """
    check_names(graph, scheme)
    types = node_types(graph, scheme)
    nodes: list[Node] = []
    together: list[list[Tensor]] = []
    wide: set[int] = set()  # ids of outputs
    flat: list[Node] = []
    kernels: dict[int, Tensor] = {}
    notes = list(graph.notes)
    for node in graph.nodes:
        steps = _steps(node, types, scheme, kernels)
        if steps is None:
            nodes.append(node)
            continue
        nodes += steps.nodes
        together += steps.together
        notes += steps.notes
        if steps.wide:
            wide.update(id(n.output) for n in steps.nodes)
        if node.op.kind == "FULLY_CONNECTED":
            flat.append(steps.nodes[-1])
    made = drop_identities(fold_constants(replace(graph, nodes=nodes, notes=notes)))
    _name(made, flat)
    left = {id(t) for node in made.nodes for t in node.outputs}
    together = [[t for t in tensors if id(t) in left] for tensors in together]
    return Prepared(made, together, frozenset(id(n) for n in made.nodes if id(n.outputs[0]) in wide))


def _name(graph: Graph, flat: Sequence[Node]) -> None:
    """Give convolutions whose reshaping to a layer's output could go the name of that output."""
    left = {id(t) for node in graph.nodes for t in node.outputs}
    for reshape in flat:
        if id(reshape.output) not in left:
            reshape.input(0).name = reshape.output.name


def _steps(node: Node, types: NodeTypes, scheme: Scheme, kernels: dict[int, Tensor]) -> Steps | None:
    """What to put in place of a node; None where it stays. ``kernels``: see `_pointwise`."""
    if node.output.dtype != np.float32 or scheme.layers.get(node.name) == "float32":
        return None
    if isinstance(node.op, Recurrent | UnidirectionalSequenceLstm):
        steps = recurrent(node)
        if steps is not None:
            parts = [_pointwise(n, kernels).nodes if n.op.kind == "FULLY_CONNECTED" else [n] for n in steps.nodes]
            steps.nodes = [n for part in parts for n in part]
        return steps
    if node.op.kind == "FULLY_CONNECTED" and types[node] != "float32" and node.input(1).data is not None:
        return _pointwise(node, kernels)
    wanted = types.wanted(node)
    rule = ALWAYS.get(node.op.kind) or (WIDE.get(node.op.kind) if wanted == "int16" else None)
    return None if rule is None else rule(node)


def _pointwise(node: Node, kernels: dict[int, Tensor]) -> Steps:
    """A convolution of 1x1 in place of a fully connected layer: the same sums. TFLM and LiteRT round those of fully
    connected layers differently, and TFLM's have int4 weights of one scale only.

    Args:
        kernels: by id of the weights, so that layers go on sharing them.
    """
    steps = Steps(node)
    x, weights = node.input(0), node.input(1)
    out_c, in_c = weights.shape
    rows = x.elements // in_c
    assert weights.data is not None
    image = steps.op("RESHAPE", x, shape=(1, 1, rows, in_c))
    shape = (out_c, 1, 1, in_c)
    kernel = kernels.setdefault(id(weights), replace(weights, shape=shape, data=weights.data.reshape(shape)))
    activation = node.op.activation  # type: ignore[attr-defined]
    y = steps.op("CONV_2D", image, kernel, *node.inputs[2:3], activation=activation)
    return steps.done(steps.op("RESHAPE", y, shape=node.output.shape))


def _layer_norm(node: Node) -> Steps:
    op = node.op
    assert isinstance(op, LayerNorm)
    steps = Steps(node)
    x, gamma, beta = (*node.inputs, None, None)[:3]
    assert x is not None
    axes = tuple(range(len(x.shape) - op.last, len(x.shape)))
    centred = steps.op("SUB", x, steps.op("MEAN", x, axes=axes, keep_dims=True))
    variance = steps.op("MEAN", steps.op("MUL", centred, centred), axes=axes, keep_dims=True)
    root = steps.op("RSQRT", steps.op("ADD", variance, steps.constant(op.epsilon)))
    y = steps.op("MUL", centred, root)
    y = y if gamma is None else steps.op("MUL", y, gamma)
    return steps.done(y if beta is None else steps.op("ADD", y, beta))


def _square(node: Node) -> Steps:
    steps = Steps(node)
    return steps.done(steps.op("MUL", node.input(0), node.input(0)))


def _sum(node: Node) -> Steps:
    """A mean times its elements: LiteRT's reference kernel for int8 gives no sums, as TFLM's does."""
    op, steps = node.op, Steps(node)
    assert isinstance(op, Sum)
    mean = steps.op("MEAN", node.input(0), axes=op.axes, keep_dims=op.keep_dims)
    return steps.done(steps.op("MUL", mean, steps.constant(float(op.count(node)))))


def _neg(node: Node) -> Steps:
    steps = Steps(node)
    return steps.done(steps.op("MUL", node.input(0), steps.constant(-1.0)))


def _div(node: Node) -> Steps | None:
    """A product with the reciprocals of constants."""
    steps, b = Steps(node), node.input(1)
    if b.data is None or not np.all(b.data):
        return None
    activation = node.op.activation  # type: ignore[attr-defined]
    return steps.done(steps.op("MUL", node.input(0), steps.constant(1 / b.data), activation=activation))


def _add_n(node: Node) -> Steps | None:
    steps = Steps(node)
    if len(node.present) < 2:
        return None
    total = node.input(0)
    for other in node.present[1:]:
        total = steps.op("ADD", total, other)
    return steps.done(total)


def _clamp(low: float, high: float | None) -> Callable[[Node], Steps]:
    """Operators that both TFLM and LiteRT have in place of a clamp that one of them lacks."""

    def rule(node: Node) -> Steps:
        steps = Steps(node)
        y = steps.op("MAXIMUM", node.input(0), steps.constant(low))
        return steps.done(y if high is None else steps.op("MINIMUM", y, steps.constant(high)))

    return rule


def _hard_swish(node: Node) -> Steps:
    steps = Steps(node)
    gate = steps.op("ADD", node.input(0), steps.constant(3.0), activation="relu6")
    return steps.done(steps.op("MUL", node.input(0), steps.op("MUL", gate, steps.constant(1 / 6))))


def _squared_difference(node: Node) -> Steps:
    steps = Steps(node)
    difference = steps.op("SUB", node.input(0), node.input(1))
    return steps.done(steps.op("MUL", difference, difference))


def _prelu(node: Node) -> Steps:
    steps = Steps(node)
    zero = steps.constant(0.0)
    below = steps.op("MUL", steps.op("MINIMUM", node.input(0), zero), node.input(1))
    return steps.done(steps.op("ADD", steps.op("MAXIMUM", node.input(0), zero), below))


Rule = Callable[[Node], Steps | None]
ALWAYS: dict[str, Rule] = {
    "LAYER_NORM": _layer_norm,
    "SQUARE": _square,
    "SUM": _sum,
    "NEG": _neg,
    "DIV": _div,
    "ADD_N": _add_n,
    "RELU_N1_TO_1": _clamp(-1.0, 1.0),
}
"""By kind, for every type."""

WIDE: dict[str, Rule] = {
    "RELU": _clamp(0.0, None),
    "RELU6": _clamp(0.0, 6.0),
    "HARD_SWISH": _hard_swish,
    "SQUARED_DIFFERENCE": _squared_difference,
    "PRELU": _prelu,
}
"""By kind, for int16."""
