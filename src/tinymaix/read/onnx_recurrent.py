"""ONNX LSTM, GRU and RNN as the recurrent operators of this project, whose gates stand in the order of Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.read.layers import last_step, recurrent
from tinymaix.read.onnx_attributes import OnnxLayer

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""Places of the gates i f c o, z r h among ONNX's i o f c, z r h."""
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
NAMES = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Affine": "linear"}


def _recurrent(n: OnnxLayer) -> list[Tensor]:
    """Outputs Y (steps, directions, batch, units) and Y_h (directions, batch, units)."""
    if len(n.node.outputs) > 2 and n.node.outputs[2]:
        raise ModelError("the last cell state of an LSTM as an output is not supported")
    n.zeros(5, "the initial state")
    n.zeros(6, "the initial cell state")
    n.zeros(7, "peepholes")
    lengths = n.optional(4)
    first = n.integer("layout", 0) == 0  # steps before batch
    x = n.b.transpose(n.x, (1, 0, 2)) if first else n.x
    if lengths is not None and (lengths.data is None or np.any(lengths.data != x.shape[1])):
        raise ModelError("sequences shorter than the input are not supported")
    if n.integer("input_forget", 0) or n.node.attributes.get("clip") is not None:
        raise ModelError("input_forget and clip are not supported")
    w, r = n.constant(1, "its weights"), n.constant(2, "its recurrent weights")
    b = np.zeros((w.shape[0], 2 * w.shape[1])) if n.optional(3) is None else n.constant(3, "its bias")
    direction = n.text("direction", "forward")
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(direction)
    if backward is None or not len(backward) == w.shape[0] == r.shape[0] == b.shape[0]:
        raise ModelError(f"direction '{direction}' does not fit weights {list(w.shape)}")
    whole = bool(n.node.outputs[0])
    parts = []
    for i, reverse in enumerate(backward):
        attributes = {**_functions(n, i), "sequences": whole, "reverse": reverse}
        if n.kind == "GRU":
            attributes["reset_after"] = n.integer("linear_before_reset", 0) != 0
        bias, own = np.split(b[i], 2)
        parts.append(recurrent(n.b, n.kind, x, (w[i], r[i], bias, own), GATES[n.kind], attributes))
    if not whole:
        return [x, _stacked(n, parts, 0 if first else 1)]
    last = [last_step(n.b, part, reverse) for part, reverse in zip(parts, backward, strict=True)]
    steps = [n.b.transpose(part, (1, 0, 2)) if first else part for part in parts]
    return [_stacked(n, steps, 1 if first else 2), _stacked(n, last, 0 if first else 1)]


def _functions(n: OnnxLayer, direction: int) -> dict[str, Any]:
    names = n.node.attributes.get("activations") or FUNCTIONS[n.kind] * 2
    count = len(FUNCTIONS[n.kind])
    own = [NAMES.get(name, str(name)) for name in names[direction * count : (direction + 1) * count]]
    if n.kind == "RNN":
        return {"activation": own[0]}
    if own[1:] != own[1:2] * (count - 1):
        raise ModelError(f"different functions for the candidate and the output ({', '.join(own)}) are not supported")
    return {"gate": own[0], "activation": own[1]}


def _stacked(n: OnnxLayer, parts: list[Tensor], axis: int) -> Tensor:
    """The directions along a new axis."""
    shape = list(parts[0].shape)
    shape.insert(axis, 1)
    each = [n.b.reshape(part, shape) for part in parts]
    return each[0] if len(each) == 1 else n.b.op("CONCATENATION", *each, axis=axis)


LAYERS: dict[str, Callable[[OnnxLayer], list[Tensor]]] = {"LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent}
