"""ATen's lstm, gru and rnn, of any number of layers, as the recurrent operators of this project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.read.channels_first import constant_data
from tinymaix.read.layers import recurrent
from tinymaix.read.torch_layer import TorchLayer

GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}
"""Places of the gates i f c o, z r h among PyTorch's i f g o, r z n."""


def _recurrent(kind: str, activation: str = "tanh") -> Callable[[TorchLayer], list[Tensor]]:
    """Outputs: the sequence, then the last hidden states (layers * directions, batch, units)."""

    def lower(n: TorchLayer) -> list[Tensor]:
        states = n.arguments.get("hx")
        for state in states if isinstance(states, list) else [states]:
            if not isinstance(state, Tensor) or state.data is None or np.any(state.data):
                raise ModelError("its initial state is not a constant of zeros; only a start from zero is supported")
        parameters = [constant_data(t, "a weight") for t in n.tensors("params")]
        directions = 2 if n.flag("bidirectional") else 1
        each = 4 if n.flag("has_biases", True) else 2
        if len(parameters) != each * directions * n.integer("num_layers", 1):
            raise ModelError("weights with projections (proj_size) are not supported")
        first = n.flag("batch_first")
        x = n.x if first else n.b.transpose(n.x, (1, 0, 2))
        last: list[Tensor] = []
        for at in range(0, len(parameters), each * directions):
            parts = []
            for d in range(directions):
                weights: list[Array | None] = [*parameters[at + d * each : at + (d + 1) * each], None, None]
                attributes: dict[str, Any] = {"activation": activation, "sequences": True, "reverse": d == 1}
                parts.append(recurrent(n.b, kind, x, weights[:4], GATES[kind], attributes))
                batch, steps, units = parts[-1].shape
                end = n.b.op("SLICE", parts[-1], begin=(0, 0 if d else steps - 1, 0), size=(batch, 1, units))
                last.append(n.b.reshape(end, (1, batch, units)))
            x = parts[0] if directions == 1 else n.b.op("CONCATENATION", *parts, axis=2)
        hidden = last[0] if len(last) == 1 else n.b.op("CONCATENATION", *last, axis=0)
        return [x if first else n.b.transpose(x, (1, 0, 2)), hidden]

    return lower


LAYERS: dict[str, Callable[[TorchLayer], list[Tensor]]] = {
    "aten.lstm": _recurrent("LSTM"), "aten.gru": _recurrent("GRU"), "aten.rnn_tanh": _recurrent("RNN"),
    "aten.rnn_relu": _recurrent("RNN", "relu"),
}  # fmt: skip
