"""What a .tflite has no operator for, in terms of those it has: layer norms, recurrent layers step by step, padding.

The graph computes the same afterwards. What is exact in integers (padding) keeps every bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import array
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.layer_norm import LayerNorm
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.pad import Pad
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.recurrent import GRU, LSTM, STATE, Recurrent
from tinymaix.ops.slice import Slice
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.ops.variables import AssignVariable, ReadVariable
from tinymaix.ops.window import Padding, same_padding
from tinymaix.read import layers
from tinymaix.read.channels_first import Builder

NO_PADDING: Padding = (0, 0, 0, 0)
States = dict[int, list[Tensor]]
"""The vectors (batch, units) in each state by its id, once it has been assigned."""


def in_parts(graph: Graph) -> Graph:
    """The graph in operators that a .tflite knows, as far as there are such.

    Raises:
        ModelError: a layer keeps a state from run to run that a .tflite cannot.
    """
    builder = Builder(graph.name)
    values: dict[int, Tensor] = {}
    states: States = {}
    for node in graph.nodes:
        here = replace(node, inputs=[t if t is None else values.get(id(t), t) for t in node.inputs])
        with builder.named(node.name):
            results = _parts(builder, here, states)
        if results is None:
            builder.nodes.append(here)
            continue
        for wanted, made in zip(node.outputs, results, strict=True):
            values[id(wanted)] = made
            made.name = wanted.name
    return replace(graph, nodes=builder.nodes, outputs=[values.get(id(t), t) for t in graph.outputs])


def _parts(b: Builder, node: Node, states: States) -> list[Tensor] | None:
    """The outputs of a node in parts; None where it stays as it is."""
    match node.op:
        case LayerNorm():
            return [_layer_norm(b, node, node.op)]
        case Recurrent():
            return [_recurrent(b, node, node.op, states)]
        case AssignVariable():
            states[id(node.input(0))] = _vectors(b, node.input(1))
            return [node.output]
        case ReadVariable() if id(node.input(0)) in states:
            return [b.op("PACK", *states[id(node.input(0))], axis=1)]
        case Conv2D() | DepthwiseConv2D() | MaxPool2D() | AveragePool2D():
            return _padded(b, node, node.op)
        case TransposeConv():
            return _cut(b, node, node.op)
    return None


def _layer_norm(b: Builder, node: Node, op: LayerNorm) -> Tensor:
    x = node.input(0)
    axes = tuple(range(len(x.shape) - op.last, len(x.shape)))
    y = layers.normalized(b, x, axes, op.epsilon)
    for kind, values in zip(("MUL", "ADD"), node.inputs[1:], strict=False):
        y = y if values is None else b.op(kind, y, values)
    return y


def _recurrent(b: Builder, node: Node, op: Recurrent, states: States) -> Tensor:
    """One step after the other; the products with the input are one dense layer over all steps."""
    x, kernel, weights = node.input(0), node.input(1), node.input(2)
    batch, steps, _ = x.shape
    state = node.optional(STATE)
    if state is not None and id(state) not in states:
        raise ModelError(
            f"{op.kind} '{node.name}' keeps its state from run to run, which a .tflite does not; compile it to C"
        )
    zeros = b.constant(np.zeros((batch, weights.shape[1]), np.float32))
    vectors = [zeros] * op.states if state is None else states[id(state)]
    given = b.ops(
        "UNPACK", b.op("FULLY_CONNECTED", x, kernel, node.optional(3), keep_num_dims=True), count=steps, axis=1
    )
    outputs = []
    for t in reversed(range(steps)) if op.reverse else range(steps):
        if isinstance(op, LSTM):
            vectors = _lstm_step(b, op, given[t], weights, vectors)
        elif isinstance(op, GRU):
            vectors = _gru_step(b, op, given[t], weights, node.optional(4), vectors)
        else:
            total = b.op("ADD", given[t], b.op("FULLY_CONNECTED", vectors[0], weights))
            vectors = [_function(b, op.activation, total)]
        outputs.append(vectors[0])
    if state is not None:
        states[id(state)] = vectors
    if not op.sequences:
        return outputs[-1]
    return b.op("PACK", *(reversed(outputs) if op.reverse else outputs), axis=1)


def _lstm_step(b: Builder, op: LSTM, given: Tensor, weights: Tensor, vectors: Sequence[Tensor]) -> list[Tensor]:
    h, c = vectors
    i, f, g, o = b.ops("SPLIT", b.op("ADD", given, b.op("FULLY_CONNECTED", h, weights)), count=4, axis=1)
    kept = b.op("MUL", _function(b, op.gate, f), c)
    c = b.op("ADD", kept, b.op("MUL", _function(b, op.gate, i), _function(b, op.activation, g)))
    return [b.op("MUL", _function(b, op.gate, o), _function(b, op.activation, c)), c]


def _gru_step(
    b: Builder, op: GRU, given: Tensor, weights: Tensor, bias: Tensor | None, vectors: Sequence[Tensor]
) -> list[Tensor]:
    """The reset gate multiplies behind the product with the candidate's weights, or in front of it."""
    (h,) = vectors
    z, r, candidate = b.ops("SPLIT", given, count=3, axis=1)
    if op.reset_after:
        own = b.ops("SPLIT", b.op("FULLY_CONNECTED", h, weights, bias), count=3, axis=1)
    else:
        parts = np.split(array(weights.data), 3)
        biases = [None] * 3 if bias is None else np.split(array(bias.data).reshape(-1), 3)
        own = [_dense(b, h, w, v) for w, v in zip(parts[:2], biases[:2], strict=True)]
    z, r = (_function(b, op.gate, b.op("ADD", gate, mine)) for gate, mine in zip((z, r), own[:2], strict=True))
    last = b.op("MUL", r, own[2]) if op.reset_after else _dense(b, b.op("MUL", r, h), parts[2], biases[2])
    candidate = _function(b, op.activation, b.op("ADD", candidate, last))
    rest = b.op("MUL", b.op("SUB", b.constant(np.float32(1)), z), candidate)
    return [b.op("ADD", b.op("MUL", z, h), rest)]


def _dense(b: Builder, x: Tensor, weights: Array, bias: Array | None) -> Tensor:
    return b.op("FULLY_CONNECTED", x, b.constant(weights), None if bias is None else b.constant(bias))


def _function(b: Builder, name: str, x: Tensor) -> Tensor:
    """The function of a gate, see `tinymaix.ops.recurrent.GATE_FUNCTIONS`."""
    plain = {"tanh": "TANH", "sigmoid": "LOGISTIC", "relu": "RELU"}
    if name in plain:
        return b.op(plain[name], x)
    if name == "linear":
        return x
    return layers.hard_sigmoid(b, x, 1 / 6 if name == "hard_sigmoid6" else 0.2, 0.5)


def _vectors(b: Builder, value: Tensor) -> list[Tensor]:
    """(batch, count, units) as count tensors (batch, units)."""
    return b.ops("UNPACK", value, count=value.shape[1], axis=1)


def _padded(b: Builder, node: Node, op: Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D) -> list[Tensor] | None:
    """Padding that is neither SAME nor none as an operator of its own. An average is of what is inside the image: the
    one over the padded image is corrected, which is exact enough for floats only."""
    x = node.input(0)
    pool = isinstance(op, MaxPool2D | AveragePool2D)
    window = op.window() if isinstance(op, MaxPool2D | AveragePool2D) else op.window(node)
    padding = window.padding
    if padding in (NO_PADDING, same_padding(x.shape[1], x.shape[2], window.kernel, window.stride, window.dilation)):
        return None
    floats = x.dtype.kind == "f"
    if isinstance(op, AveragePool2D) and (not floats or op.activation != "none"):
        return None
    pads = ((0, 0), padding[:2], padding[2:], (0, 0))
    lowest = float(np.finfo(np.float32).min) if floats else int(np.iinfo(x.dtype).min)
    pad = PadV2(pads, lowest) if isinstance(op, MaxPool2D) else Pad(pads)
    wide = Tensor(f"{node.name}/pad", pad.infer([x])[0], x.dtype, x.quantization)
    y = replace(node.output)
    b.nodes.append(Node(pad, [x], [wide], wide.name))
    b.nodes.append(replace(node, op=replace(op, padding=NO_PADDING), inputs=[wide, *node.inputs[1:]], outputs=[y]))
    if not pool or isinstance(op, MaxPool2D):
        return [y]
    inside = np.pad(np.ones(x.shape[1:3], np.float32), (padding[:2], padding[2:]))[None, :, :, None]
    ones = Tensor("inside", inside.shape, x.dtype, None, inside)
    share = replace(op, padding=NO_PADDING).reference(Node(replace(op, padding=NO_PADDING), [ones], [y]), [inside])[0]
    return [b.op("MUL", y, b.constant(np.float32(1) / share))]


def _cut(b: Builder, node: Node, op: TransposeConv) -> list[Tensor] | None:
    """A transposed convolution of the whole image, of which the padding is cut off."""
    (top, bottom, left, right), (height, width) = op.padding, op.size
    kernel = node.input(1).shape[1:3]
    if op.padding in (NO_PADDING, same_padding(height, width, (kernel[0], kernel[1]), op.stride)):
        return None
    y = node.output
    size = height + top + bottom, width + left + right
    whole = replace(y, name=f"{y.name}/whole", shape=(y.shape[0], *size, y.shape[3]))
    b.nodes.append(replace(node, op=replace(op, size=size, padding=NO_PADDING), outputs=[whole]))
    cut = replace(y)
    b.nodes.append(Node(Slice((0, top, left, 0), y.shape), [whole], [cut], node.name))
    return [cut]
