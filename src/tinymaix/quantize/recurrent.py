"""Recurrent layers in integers: an LSTM as TFLite's int8 LSTM with an int16 cell, others unrolled over their steps.

The steps of an unrolled layer compute with int16, since errors of a state go on from step to step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Quantization, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.recurrent import GRU, LSTM, STATE, Recurrent
from tinymaix.ops.unidirectional_sequence_lstm import (
    BIASES,
    GATES,
    RECURRENT,
    WEIGHTS,
    UnidirectionalSequenceLstm,
    X,
)
from tinymaix.quantize.ranges import Range
from tinymaix.quantize.steps import Steps

LONGEST = 128
"""Steps that are unrolled at most; each is a dozen calls in the emitted C."""


@dataclass(frozen=True)
class LstmWithCell(LSTM):
    """An LSTM over a whole sequence that gives its cells too: (batch, steps, units), so that they can be observed.
    ``clip`` bounds the cells where it is above 0."""

    clip: float = 0.0

    kind: ClassVar[str] = ""

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return super().infer(inputs) * 2

    def step(self, x: Array, states: Array, constants: Sequence[Array | None]) -> Array:
        hidden, cell = super().step(x, states, constants)
        if self.clip <= 0 or np.abs(cell).max(initial=0) <= self.clip:
            return np.stack([hidden, cell])
        bounded = np.clip(cell, np.float32(-self.clip), np.float32(self.clip))
        out = np.divide(hidden, np.tanh(cell), out=np.zeros_like(hidden), where=bounded != cell)
        return np.stack([np.where(bounded != cell, out * np.tanh(bounded), hidden), bounded])

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        states = np.zeros((2, x.shape[0], node.input(2).shape[1]), np.float32)
        made = np.zeros((2, *x.shape[:2], states.shape[2]), np.float32)
        for t in range(x.shape[1]):
            states = self.step(x[:, t], states, [None if a is None else array(a) for a in inputs[1:STATE]])
            made[:, :, t] = states
        return [made[0], made[1]]


def recurrent(node: Node) -> Steps | None:
    """What to put in place of a recurrent layer; None where it has to stay."""
    op = node.op
    if isinstance(op, UnidirectionalSequenceLstm):
        return _tflite_lstm(node, op)
    if not isinstance(op, Recurrent) or node.states or (node.input(0).shape[1] > LONGEST and not _is_plain(op)):
        return None
    return _lstm(node) if _is_plain(op) else _unrolled(node)


def _is_plain(op: Recurrent) -> bool:
    """Whether it is an LSTM with the functions that TFLite's has."""
    return isinstance(op, LSTM) and op.functions == ("tanh", "sigmoid")


def _lstm(node: Node) -> Steps:
    op, steps = node.op, Steps(node)
    assert isinstance(op, LSTM)
    batch, count, _ = node.input(0).shape
    units = node.output.shape[-1]
    x = steps.op("REVERSE_V2", node.input(0), axes=(1,)) if op.reverse else node.input(0)
    inputs = [x, *node.inputs[1:STATE]]
    made = [Tensor(f"{node.output.name}_{n}", (batch, count, units), np.dtype(np.float32)) for n in ("all", "cell")]
    steps.nodes.append(Node(LstmWithCell(sequences=True), inputs, made, node.name))
    y = made[0]
    if not op.sequences:
        return steps.done(steps.op("RESHAPE", steps.slice(y, 1, count - 1, 1), shape=(batch, units)))
    if op.reverse:
        return steps.done(steps.op("REVERSE_V2", y, axes=(1,)))
    return steps.done(steps.op("RESHAPE", y, shape=y.shape))


def _tflite_lstm(node: Node, op: UnidirectionalSequenceLstm) -> Steps | None:
    """TFLite's float LSTM from a state of zeros, its gates in one."""
    steps, x = Steps(node), node.input(X)
    if any(np.any(t.initial) for t in node.states) or (op.time_major and x.shape[1] > 1):
        return None
    parts = [[array(node.input(first + g).data) for g in GATES] for first in (WEIGHTS, RECURRENT, BIASES)]
    constants = [steps.constant(np.concatenate(arrays)) for arrays in parts]
    whole = (x.shape[1], x.shape[0], x.shape[2]) if op.time_major else x.shape  # one sequence lies alike both ways
    made = [Tensor(f"{node.output.name}_{n}", (*whole[:2], node.output.shape[2]), x.dtype) for n in ("all", "cell")]
    given = steps.op("RESHAPE", x, shape=whole)
    layer = LstmWithCell(sequences=True, clip=op.cell_clip)
    steps.nodes.append(Node(layer, [given, *constants], made, node.name))
    return steps.done(steps.op("RESHAPE", made[0], shape=node.output.shape))


def integer_lstm(node: Node, x: Tensor, y: Tensor, cell: Range) -> Node:
    """The int8 LSTM for an `LstmWithCell`, by TFLite's rules: weights with one scale for each gate, a cell whose scale
    is a power of two, a hidden state with the output's scale."""
    batch, units = y.shape[0], y.shape[-1]
    kernels, recurrents = (np.split(array(node.input(i).data), 4) for i in (1, 2))
    bias = node.optional(3)
    biases = np.split(np.zeros(4 * units) if bias is None else array(bias.data).reshape(-1), 4)
    weights = [_weights(f"{node.name}_kernel{g}", w) for g, w in enumerate(kernels)]
    own = [_weights(f"{node.name}_recurrent{g}", w) for g, w in enumerate(recurrents)]
    sums = [
        _bias(f"{node.name}_bias{g}", b, x.q.s * w.q.s) for g, (b, w) in enumerate(zip(biases, weights, strict=True))
    ]
    hidden = Tensor(f"{node.name}_hidden", (batch, units), np.dtype(np.int8), y.quantization)
    hidden.initial = np.full(hidden.shape, y.q.z, np.int8)
    reach = max(-cell.low, cell.high, 1.0)  # of a gate times tanh, which is added before it is clipped
    scale = 2.0 ** (np.ceil(np.log2(reach)) - 15)
    kept = Tensor(f"{node.name}_cell", (batch, units), np.dtype(np.int16), Quantization.of(scale))
    kept.initial = np.zeros(kept.shape, np.int16)
    absent: list[None] = [None]
    op = node.op
    assert isinstance(op, LstmWithCell)
    inputs = [x, *weights, *own, *absent * 3, *sums, *absent * 2, hidden, kept, *absent * 4]
    return Node(UnidirectionalSequenceLstm(op.clip), inputs, [y], node.name)


def _weights(name: str, data: Array) -> Tensor:
    scale = max(float(np.abs(data).max(initial=0)), float(np.finfo(np.float32).tiny) * 127) / 127
    raw = np.clip(np.rint(data / np.float64(np.float32(scale))), -127, 127).astype(np.int8)
    return Tensor(name, raw.shape, raw.dtype, Quantization.of(scale), raw)


def _bias(name: str, data: Array, scale: float) -> Tensor:
    raw = np.clip(np.rint(data / scale), -(2**30), 2**30).astype(np.int32)
    return Tensor(name, raw.shape, raw.dtype, Quantization.of(scale), raw)


def _unrolled(node: Node) -> Steps:
    """One step after another, each of the operators that TFLM has in int16."""
    op, steps = node.op, Steps(node, wide=True)
    assert isinstance(op, Recurrent)
    x, kernel, weights, bias, own_bias = (*node.inputs, None, None)[:5]
    assert x is not None
    assert kernel is not None
    assert weights is not None
    (batch, count, features), gates, units = x.shape, kernel.shape[0], node.output.shape[-1]
    rows = steps.op("RESHAPE", x, shape=(batch * count, features))
    given = steps.op("RESHAPE", steps.op("FULLY_CONNECTED", rows, kernel, bias), shape=(batch, count, gates))
    states = [steps.constant(np.zeros((batch, units)))] * op.states
    results: dict[int, Tensor] = {}
    each: list[list[Tensor]] = []
    for t in reversed(range(count)) if op.reverse else range(count):
        before = len(steps.nodes)
        now = steps.op("RESHAPE", steps.slice(given, 1, t, 1), shape=(batch, gates))
        states = STEPS[type(op).__name__](steps, op, now, states, weights, own_bias)
        results[t] = states[0]
        each.append([n.output for n in steps.nodes[before:]])
    steps.notes = [
        f"{op.kind} '{node.name}' is unrolled into {count} steps of int16, since TFLite has no such operator"
    ]
    steps.together = [list(tensors) for tensors in zip(*each, strict=True)]
    if not op.sequences:
        return steps.done(states[0])
    return steps.done(steps.op("PACK", *(results[t] for t in range(count)), axis=1))


def _rnn_step(
    steps: Steps, op: Recurrent, given: Tensor, states: list[Tensor], weights: Tensor, bias: Tensor | None
) -> list[Tensor]:
    own = steps.op("FULLY_CONNECTED", states[0], weights, bias)
    return [_apply(steps, op.activation, steps.op("ADD", given, own))]


def _gru_step(
    steps: Steps, op: Recurrent, given: Tensor, states: list[Tensor], weights: Tensor, bias: Tensor | None
) -> list[Tensor]:
    """h = candidate + z * (h - candidate)."""
    assert isinstance(op, GRU)
    h, units = states[0], states[0].shape[1]
    split = 2 * units
    own = steps.op("FULLY_CONNECTED", h, weights, bias) if op.reset_after else None
    if own is None:
        own_zr = steps.op("FULLY_CONNECTED", h, *_rows(steps, weights, bias, 0, split))
    else:
        own_zr = steps.slice(own, 1, 0, split)
    zr = _apply(steps, op.gate, steps.op("ADD", steps.slice(given, 1, 0, split), own_zr))
    z, r = steps.slice(zr, 1, 0, units), steps.slice(zr, 1, units, units)
    if own is None:
        part = steps.op(
            "FULLY_CONNECTED", steps.op("MUL", r, h), *_rows(steps, weights, bias, split, split + units)
        )  # fmt: skip
    else:
        part = steps.op("MUL", r, steps.slice(own, 1, split, units))
    candidate = _apply(steps, op.activation, steps.op("ADD", steps.slice(given, 1, split, units), part))
    return [steps.op("ADD", candidate, steps.op("MUL", z, steps.op("SUB", h, candidate)))]


def _lstm_step(
    steps: Steps, op: Recurrent, given: Tensor, states: list[Tensor], weights: Tensor, bias: Tensor | None
) -> list[Tensor]:
    assert isinstance(op, LSTM)
    h, c = states
    units = h.shape[1]
    total = steps.op("ADD", given, steps.op("FULLY_CONNECTED", h, weights, bias))
    i, f, g, o = (steps.slice(total, 1, k * units, units) for k in range(4))
    kept = steps.op("MUL", _apply(steps, op.gate, f), c)
    c = steps.op("ADD", kept, steps.op("MUL", _apply(steps, op.gate, i), _apply(steps, op.activation, g)))
    return [steps.op("MUL", _apply(steps, op.gate, o), _apply(steps, op.activation, c)), c]


STEPS = {"SimpleRNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}


def _rows(steps: Steps, weights: Tensor, bias: Tensor | None, start: int, end: int) -> list[Tensor | None]:
    """A part of the gates' weights and biases."""
    part = None if bias is None else steps.constant(array(bias.data).reshape(-1)[start:end])
    return [steps.constant(array(weights.data)[start:end]), part]


def _apply(steps: Steps, function: str, x: Tensor) -> Tensor:
    """A function of `tinymaix.ops.recurrent.GATE_FUNCTIONS`."""
    if function in ("tanh", "sigmoid"):
        return steps.op({"tanh": "TANH", "sigmoid": "LOGISTIC"}[function], x)
    if function == "linear":
        return x
    if function == "relu":
        return steps.op("MAXIMUM", x, steps.constant(0.0))
    slope = {"hard_sigmoid": 0.2, "hard_sigmoid6": 1 / 6}[function]
    line = steps.op("ADD", steps.op("MUL", x, steps.constant(slope)), steps.constant(0.5))
    return steps.op("MINIMUM", steps.op("MAXIMUM", line, steps.constant(0.0)), steps.constant(1.0))
