"""ATen's lstm, gru and rnn, of any number of layers, as the recurrent operators of this project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.read.channels_first import constant_data
from tinymaix.read.layers import take
from tinymaix.read.recurrent_layers import last_step, recurrent
from tinymaix.read.torch_layer import TorchLayer

GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}
"""Places of the gates i f c o, z r h among PyTorch's i f g o, r z n."""


def _recurrent(kind: str, activation: str = "tanh") -> Callable[[TorchLayer], list[Tensor]]:
    """Outputs: the sequence, then the last hidden and cell states (layers * directions, batch, units)."""

    def lower(n: TorchLayer) -> list[Tensor]:
        states = n.tensors("hx") if isinstance(n.arguments.get("hx"), list) else [n.tensor("hx")]
        wanted = kind == "LSTM" and n.is_read(2)
        parameters = [constant_data(t, "a weight") for t in n.tensors("params")]
        directions = 2 if n.flag("bidirectional") else 1
        each = 4 if n.flag("has_biases", True) else 2
        if len(parameters) != each * directions * n.integer("num_layers", 1):
            raise ModelError("weights with projections (proj_size) are not supported")
        first = n.flag("batch_first")
        x = n.x if first else n.b.transpose(n.x, (1, 0, 2))
        last: list[Tensor] = []
        cells: list[Tensor] = []
        for at in range(0, len(parameters), each * directions):
            parts = []
            for d in range(directions):
                weights: list[Array | None] = [*parameters[at + d * each : at + (d + 1) * each], None, None]
                attributes: dict[str, Any] = {"activation": activation, "sequences": True, "reverse": d == 1}
                initial = [take(n.b, state, n.b.constant(len(last)), 0) for state in states]
                y, cell = recurrent(n.b, kind, x, weights[:4], GATES[kind], attributes, initial, wanted)
                parts.append(y)
                end = last_step(n.b, y, reverse=d == 1)
                last.append(n.b.reshape(end, (1, *end.shape)))
                cells += [] if cell is None else [n.b.reshape(cell, (1, *cell.shape))]
            x = parts[0] if directions == 1 else n.b.op("CONCATENATION", *parts, axis=2)
        ends = [_joined(n, parts) for parts in (last, cells) if parts]
        return [x if first else n.b.transpose(x, (1, 0, 2)), *ends]

    return lower


def _joined(n: TorchLayer, parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else n.b.op("CONCATENATION", *parts, axis=0)


LAYERS: dict[str, Callable[[TorchLayer], list[Tensor]]] = {
    "aten.lstm": _recurrent("LSTM"), "aten.gru": _recurrent("GRU"), "aten.rnn_tanh": _recurrent("RNN"),
    "aten.rnn_relu": _recurrent("RNN", "relu"),
}  # fmt: skip
