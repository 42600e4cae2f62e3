"""Recurrent layers of Keras: LSTM, GRU and SimpleRNN, one way or both ways."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.recurrent import STATE
from tinymaix.read.keras_layer import Layer, rank, weight_shape
from tinymaix.read.keras_weights import Weights

KINDS = {"SimpleRNN": ("SIMPLE_RNN", 1), "LSTM": ("LSTM", 4), "GRU": ("GRU", 3)}
"""(operator, gates) of each layer."""


def recurrent(layer: Layer, x: Tensor) -> Tensor:
    """The sequence, or its last state. A layer that goes backwards gives the sequence in the order of its steps, a
    stateful one goes on where the run before ended."""
    sequences = layer.flag("return_sequences", False)
    backwards = layer.flag("go_backwards", False)
    if backwards and sequences:
        x, backwards = _reversed(layer, x), False
    return _one_way(layer, x, sequences, backwards, layer.weights.child("cell"))


def bidirectional(layer: Layer, x: Tensor) -> Tensor:
    """Both ways, merged. The backward sequence is turned around, so that both have the order of the input."""
    forward = _wrapped(layer, "layer")
    backward = _wrapped(layer, "backward_layer") if layer.config.get("backward_layer") else forward
    outputs = []
    for way, prefix, reverse in ((forward, "forward_", False), (backward, "backward_", True)):
        weights = layer.weights.child(f"{prefix}layer", prefix).child("cell")
        sequences = way.flag("return_sequences", False)
        if way is backward is not forward and sequences != forward.flag("return_sequences", False):
            raise ModelError("its two layers differ in return_sequences")
        outputs.append(_one_way(way, x, sequences, reverse, weights))
    merge = layer.choice("merge_mode", ("concat", "sum", "mul", "ave"))
    if outputs[0].shape[:-1] != outputs[1].shape[:-1]:
        raise ModelError("its two layers give different shapes")
    match merge:
        case "concat":
            return layer.op("CONCATENATION", *outputs, axis=len(outputs[0].shape) - 1)
        case "mul":
            return layer.op("MUL", *outputs)
        case "sum":
            return layer.op("ADD", *outputs)
    return layer.op("MUL", layer.op("ADD", *outputs), layer.constant("half", 0.5))


def _wrapped(layer: Layer, key: str) -> Layer:
    kind, config = layer.wrapped(key)
    if kind not in KINDS:
        raise ModelError(f"it wraps a layer {kind}; {', '.join(KINDS)} are supported")
    return layer.inside(kind, config, layer.weights)


def _one_way(layer: Layer, x: Tensor, sequences: bool, reverse: bool, weights: Weights) -> Tensor:
    rank(x, 3)
    kind, gates = KINDS[layer.kind]
    if layer.flag("return_state", False):
        raise ModelError("it returns its state (return_state=True), which is not supported")
    if layer.flag("time_major", False):
        raise ModelError("it is time_major, which is not supported; put the batch first")
    units = layer.size("units")
    attributes = {"activation": _function(layer, "activation", "tanh"), "sequences": sequences, "reverse": reverse}
    if kind != "SIMPLE_RNN":
        attributes["gate"] = _function(layer, "recurrent_activation", "sigmoid" if layer.keras > 1 else "hard_sigmoid")
    after = kind == "GRU" and layer.flag("reset_after", False)
    if kind == "GRU":
        attributes["reset_after"] = after
    names = ["bias"] if layer.flag("use_bias", True) else []
    kernel, recurrent_kernel, *bias = weights.take("kernel", "recurrent_kernel", *names)
    kernel = weight_shape(kernel, (x.shape[2], gates * units), "kernel")
    recurrent_kernel = weight_shape(recurrent_kernel, (units, gates * units), "recurrent kernel")
    constants = [layer.constant("kernel", kernel.T), layer.constant("recurrent_kernel", recurrent_kernel.T)]
    for values in bias:
        rows = weight_shape(values, (2, gates * units) if after else (gates * units,), "bias")
        constants += [layer.constant(f"bias{i}", row) for i, row in enumerate(np.atleast_2d(rows))]
    if layer.flag("stateful", False):
        values = np.zeros((x.shape[0], 2 if kind == "LSTM" else 1, units), np.float32)
        state = Tensor(f"{layer.name}/state", values.shape, values.dtype, initial=values)
        return layer.op(kind, x, *constants, *[None] * (STATE - 1 - len(constants)), state, **attributes)
    return layer.op(kind, x, *constants, **attributes)


def _function(layer: Layer, key: str, default: str) -> str:
    """The name of a gate's function as the operators spell it."""
    name = layer.text(key, default)
    if name == "hard_sigmoid" and layer.keras >= 3:
        return "hard_sigmoid6"
    return name


def _reversed(layer: Layer, x: Tensor) -> Tensor:
    rank(x, 3)
    return layer.op("STRIDED_SLICE", x, begin=(0, 0, 0), end=(0, 0, 0), strides=(1, -1, 1), begin_mask=7, end_mask=7)
