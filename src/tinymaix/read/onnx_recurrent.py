"""ONNX LSTM, GRU and RNN as the recurrent operators of this project, whose gates stand in the order of Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.read.layers import take
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.recurrent_layers import last_step, recurrent

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""Places of the gates i f c o, z r h among ONNX's i o f c, z r h."""
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
NAMES = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Affine": "linear"}


def _recurrent(n: OnnxLayer) -> list[Tensor]:
    """Outputs Y (steps, directions, batch, units), Y_h and of an LSTM Y_c (directions, batch, units)."""
    n.zeros(7, "peepholes")
    cell = len(n.node.outputs) > 2 and bool(n.node.outputs[2])
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
    parts, cells = [], []
    for i, reverse in enumerate(backward):
        attributes = {**_functions(n, i), "sequences": whole, "reverse": reverse}
        if n.kind == "GRU":
            attributes["reset_after"] = n.integer("linear_before_reset", 0) != 0
        bias, own = np.split(b[i], 2)
        arrays, gates = (w[i], r[i], bias, own), GATES[n.kind]
        y, c = recurrent(n.b, n.kind, x, arrays, gates, attributes, _initial(n, i, 0 if first else 1), cell)
        parts.append(y)
        cells += [] if c is None else [c]
    ends = [_stacked(n, cells, 0 if first else 1)] if cells else []
    if not whole:
        return [x, _stacked(n, parts, 0 if first else 1), *ends]
    last = [last_step(n.b, part, reverse) for part, reverse in zip(parts, backward, strict=True)]
    steps = [n.b.transpose(part, (1, 0, 2)) if first else part for part in parts]
    return [_stacked(n, steps, 1 if first else 2), _stacked(n, last, 0 if first else 1), *ends]


def _initial(n: OnnxLayer, direction: int, axis: int) -> list[Tensor]:
    """The first states of a direction, the cell state after the hidden one."""
    given = [n.optional(5), n.optional(6) if n.kind == "LSTM" else None]
    if all(t is None for t in given):
        return []
    other = next(t for t in given if t is not None)
    zeros = n.b.constant(np.zeros(other.shape, np.float32))
    states = [zeros if t is None else t for t in given[: 2 if n.kind == "LSTM" else 1]]
    return [take(n.b, t, n.b.constant(direction), axis) for t in states]


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
