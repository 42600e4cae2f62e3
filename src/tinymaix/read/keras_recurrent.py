"""Recurrent layers of Keras: LSTM, GRU and SimpleRNN, alone, as cells of an RNN, one way or both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.recurrent import STATE
from tinymaix.read.keras_layer import Layer, rank, weight_shape
from tinymaix.read.keras_weights import Weights
from tinymaix.read.recurrent_layers import begins, last_step, states_now
from tinymaix.read.recurrent_layers import state as state_of

KINDS = {"SimpleRNN": ("SIMPLE_RNN", 1), "LSTM": ("LSTM", 4), "GRU": ("GRU", 3)}
"""(operator, gates) of each layer."""
OF_THE_SEQUENCE = ("return_sequences", "return_state", "go_backwards", "stateful", "time_major")
"""What the config of an RNN says beside its cell."""


def recurrent(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The sequence, or its last state; then the states, where they are asked for. A layer that goes backwards gives the
    sequence in the order of its steps, a stateful one goes on where the run before ended."""
    x, initial = _input_and_states(layer, inputs)
    sequences = layer.flag("return_sequences", False)
    backwards = layer.flag("go_backwards", False)
    if backwards and sequences:
        x, backwards = _reversed(layer, x), False
    return _one_way(layer, x, initial, sequences, backwards, layer.weights.child("cell"))


def rnn(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """An RNN of one cell, or of several on top of each other: the layers of these."""
    x, initial = _input_and_states(layer, inputs)
    kind, config = layer.wrapped("cell")
    if kind != "StackedRNNCells":
        return recurrent(_of_cell(layer, kind, config, layer.weights), inputs)
    if initial or layer.flag("return_state", False):
        raise ModelError("initial_state and return_state of stacked cells are not supported; use a layer for each cell")
    cells = [replace(layer, config={"cell": cell}).wrapped("cell") for cell in config.get("cells") or []]
    weights = layer.weights.child("cell")
    stored = weights.children("cells", [(kind, str(config.get("name"))) for kind, config in cells])
    for i, ((kind, config), own) in enumerate(zip(cells, stored, strict=True)):
        inner = _of_cell(layer, kind, config, own)
        last = i == len(cells) - 1
        inner = replace(inner, config={**inner.config, **({} if last else {"return_sequences": True})})
        x, backwards = _reversed(layer, x) if i == 0 and layer.flag("go_backwards", False) else x, False
        (x,) = _one_way(inner, x, [], inner.flag("return_sequences", False), backwards, own)
    return [x]


def _of_cell(layer: Layer, kind: str, config: dict[str, object], weights: Weights) -> Layer:
    """The layer that an RNN of a cell is."""
    name = kind.removesuffix("Cell")
    if name not in KINDS:
        raise ModelError(f"its cell is a {kind}; {', '.join(f'{each}Cell' for each in KINDS)} are supported")
    given = {key: layer.config[key] for key in OF_THE_SEQUENCE if key in layer.config}
    return layer.inside(name, {**config, **given}, weights)


def bidirectional(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Both ways, merged. The backward sequence is turned around, so that both have the order of the input."""
    x, initial = _input_and_states(layer, inputs)
    forward = _wrapped(layer, "layer")
    backward = _wrapped(layer, "backward_layer") if layer.config.get("backward_layer") else forward
    halves = initial[: len(initial) // 2], initial[len(initial) // 2 :]
    outputs, states = [], []
    for way, prefix, reverse, given in (
        (forward, "forward_", False, halves[0]),
        (backward, "backward_", True, halves[1]),
    ):
        weights = layer.weights.child(f"{prefix}layer", prefix).child("cell")
        sequences = way.flag("return_sequences", False)
        if way is backward is not forward and sequences != forward.flag("return_sequences", False):
            raise ModelError("its two layers differ in return_sequences")
        y, *last = _one_way(way, x, given, sequences, reverse, weights)
        outputs.append(y)
        states += last
    if layer.config.get("merge_mode", "concat") is None:
        return [*outputs, *states]
    merge = layer.choice("merge_mode", ("concat", "sum", "mul", "ave"))
    if outputs[0].shape[:-1] != outputs[1].shape[:-1]:
        raise ModelError("its two layers give different shapes")
    if merge == "concat":
        return [layer.op("CONCATENATION", *outputs, axis=len(outputs[0].shape) - 1), *states]
    y = layer.op("MUL" if merge == "mul" else "ADD", *outputs)
    return [layer.op("MUL", y, layer.constant("half", 0.5)) if merge == "ave" else y, *states]


def _wrapped(layer: Layer, key: str) -> Layer:
    kind, config = layer.wrapped(key)
    if kind not in KINDS:
        raise ModelError(f"it wraps a layer {kind}; {', '.join(KINDS)} are supported")
    return layer.inside(kind, config, layer.weights)


def _input_and_states(layer: Layer, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The sequence, and the states that the call begins with; none where they are all zeros."""
    wrong = [name for name in layer.call.names if name not in ("", "sequences", "inputs", "initial_state")]
    if not inputs or wrong:
        raise ModelError(f"it is called with {wrong or 'nothing'}; a sequence and initial_state are taken")
    return inputs[0], begins(inputs[1:])


def _one_way(
    layer: Layer, x: Tensor, initial: Sequence[Tensor], sequences: bool, reverse: bool, weights: Weights
) -> list[Tensor]:
    """The output, and the last states where the layer returns them."""
    rank(x, 3)
    kind, gates = KINDS[layer.kind]
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
    padding = [None] * (STATE - 1 - len(constants))
    returns = layer.flag("return_state", False)
    if not (layer.flag("stateful", False) or initial or (returns and kind == "LSTM")):
        y = layer.op(kind, x, *constants, **attributes)
        return [y, last_step(layer.b, y, reverse)] if returns else [y]
    count = 2 if kind == "LSTM" else 1
    given = (
        initial
        if initial or layer.flag("stateful", False)
        else [layer.constant("zero", np.zeros((x.shape[0], units)))] * count
    )
    state = state_of(layer.b, (x.shape[0], count, units), given)
    y = layer.op(kind, x, *constants, *padding, state, **attributes)
    return [y, *states_now(layer.b, state)] if returns else [y]


def _function(layer: Layer, key: str, default: str) -> str:
    """The name of a gate's function as the operators spell it."""
    name = layer.text(key, default)
    if name == "hard_sigmoid" and layer.keras >= 3:
        return "hard_sigmoid6"
    return name


def _reversed(layer: Layer, x: Tensor) -> Tensor:
    rank(x, 3)
    return layer.op("STRIDED_SLICE", x, begin=(0, 0, 0), end=(0, 0, 0), strides=(1, -1, 1), begin_mask=7, end_mask=7)
