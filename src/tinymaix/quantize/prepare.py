"""Rewrite float operators that a scheme's types lack into ones that they have, which compute the same.

What stays without an integer form is computed with floats; `tinymaix.quantize.lower` says so.
"""

from __future__ import annotations

from collections.abc import Callable
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
from tinymaix.quantize.types import NodeTypes, node_types
from tinymaix.rewrite import fold_constants


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
    types = node_types(graph, scheme)
    nodes: list[Node] = []
    together: list[list[Tensor]] = []
    wide: set[int] = set()
    notes = list(graph.notes)
    for node in graph.nodes:
        steps = _steps(node, types, scheme)
        if steps is None:
            nodes.append(node)
            continue
        nodes += steps.nodes
        together += steps.together
        notes += steps.notes
        if steps.wide:
            wide.update(id(n) for n in steps.nodes)
    return Prepared(fold_constants(replace(graph, nodes=nodes, notes=notes)), together, frozenset(wide))


def _steps(node: Node, types: NodeTypes, scheme: Scheme) -> Steps | None:
    """What to put in place of a node; None where it stays."""
    if node.output.dtype != np.float32 or scheme.layers.get(node.name) == "float32":
        return None
    if isinstance(node.op, Recurrent | UnidirectionalSequenceLstm):
        return recurrent(node)
    if node.op.kind == "FULLY_CONNECTED" and types.bits(node) == 4 and scheme.per_channel:
        return _pointwise(node)
    wanted = types.wanted(node)
    rule = ALWAYS.get(node.op.kind) or (WIDE.get(node.op.kind) if wanted == "int16" else None)
    return None if rule is None else rule(node)


def _pointwise(node: Node) -> Steps:
    """A convolution of 1x1 in place of a fully connected layer, which in TFLM has int4 weights of one scale only."""
    steps = Steps(node)
    x, weights = node.input(0), node.input(1)
    out_c, in_c = weights.shape
    rows = x.elements // in_c
    assert weights.data is not None
    image = steps.op("RESHAPE", x, shape=(1, 1, rows, in_c))
    kernel = replace(weights, shape=(out_c, 1, 1, in_c), data=weights.data.reshape(out_c, 1, 1, in_c))
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
