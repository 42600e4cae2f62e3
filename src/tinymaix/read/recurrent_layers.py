"""Recurrent layers that Keras, ONNX and PyTorch share: weights in the order of the gates here, states that come and go.

A layer that begins with given states, or whose cell state is read, keeps them in a state of the graph, which is
assigned before the layer and read behind it in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.recurrent import STATE
from tinymaix.read.channels_first import Builder
from tinymaix.read.layers import split

Ints = Sequence[int]


def recurrent(
    b: Builder,
    kind: str,
    x: Tensor,
    weights: Sequence[Array | None],
    gates: Ints,
    attributes: dict[str, Any],
    initial: Sequence[Tensor] = (),
    cell: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """LSTM, GRU or RNN over x (batch, steps, features): the sequence, and the last cell state where that is wanted.

    Args:
        weights: of the input, of the state, and their biases (or None), gate by gate.
        gates: the places there of the gates in the order of `tinymaix.ops.recurrent`.
        initial: the first states, each of batch * units elements; none, or all constants of zeros, are zeros.
        cell: whether the last cell state of an LSTM is wanted.
    """
    count = len(gates)
    w, r, bias, own = (None if a is None else np.concatenate([np.split(a, count)[g] for g in gates]) for a in weights)
    zeros = np.zeros(0 if w is None else w.shape[0], np.float32)
    bias, own = (zeros if a is None else a.astype(np.float32) for a in (bias, own))
    arrays = [w, r, bias, own] if kind == "GRU" else [w, r, bias + own]
    constants: list[Tensor | None] = [b.constant(a) for a in arrays if a is not None]
    name = {"RNN": "SIMPLE_RNN"}.get(kind, kind)
    initial = begins(initial)
    if not initial and not cell:
        return b.op(name, x, *constants, **attributes), None
    shape = x.shape[0], 2 if kind == "LSTM" else 1, zeros.size // count
    kept = state(b, shape, initial or [b.constant(np.zeros((shape[0], shape[2]), np.float32))] * shape[1])
    y = b.op(name, x, *constants, *[None] * (STATE - 1 - len(constants)), kept, **attributes)
    return y, states_now(b, kept)[1] if cell else None


def begins(initial: Sequence[Tensor]) -> list[Tensor]:
    """The states that a layer begins with; none where they are all constants of zeros."""
    return [] if all(t.data is not None and not np.any(t.data) for t in initial) else list(initial)


def state(b: Builder, shape: Ints, given: Sequence[Tensor] = ()) -> Tensor:
    """A state (batch, count, units) of a recurrent layer. Where ``given``, one (batch, units) for each of ``count``, it
    begins each run with these, else where the run before ended.

    Raises:
        ModelError: what is given does not fit.
    """
    values = np.zeros(tuple(shape), np.float32)
    made = Tensor(f"{b.label}/state", values.shape, values.dtype, initial=values)
    if given:
        if len(given) != shape[1] or any(t.elements != shape[0] * shape[2] for t in given):
            raise ModelError(
                f"its initial states have the shapes {[list(t.shape) for t in given]}; {shape[1]} of "
                f"{[shape[0], shape[2]]} are needed"
            )
        parts = [b.reshape(t, (shape[0], 1, shape[2])) for t in given]
        first = parts[0] if len(parts) == 1 else b.op("CONCATENATION", *parts, axis=1)
        b.op("ASSIGN_VARIABLE", made, first)
    return made


def states_now(b: Builder, kept: Tensor) -> list[Tensor]:
    """The vectors (batch, units) that are in the state when the nodes so far have run."""
    value = b.op("READ_VARIABLE", kept)
    batch, count, units = value.shape
    return [b.reshape(part, (batch, units)) for part in split(b, value, (1,) * count, 1)]


def last_step(b: Builder, sequence: Tensor, reverse: bool = False) -> Tensor:
    """(batch, units) of the step of (batch, steps, units) that was computed last; one that is alone is returned."""
    if len(sequence.shape) == 2:
        return sequence
    batch, steps, units = sequence.shape
    at = 0 if reverse else steps - 1
    return b.reshape(b.op("SLICE", sequence, begin=(0, at, 0), size=(batch, 1, units)), (batch, units))
