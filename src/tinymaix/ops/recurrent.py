"""LSTM, GRU and SIMPLE_RNN in float32: a sequence in, the sequence of hidden states or the last of them out.

Equations as in Hochreiter and Schmidhuber 1997 with a forget gate, and Cho et al. 2014; gates in the order of Keras:
i, f, g, o for an LSTM, z, r, h for a GRU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.float_math import LOGISTIC_F32, TANH_F32
from tinymaix.ops.lookup import RELU_F32
from tinymaix.ops.recurrent_c import (
    GATES_F32,
    HARD_SIGMOID6_F32,
    HARD_SIGMOID_F32,
    LINEAR_F32,
    gru_kernel,
    lstm_kernel,
    rnn_kernel,
)


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.float32(1) / (np.float32(1) + np.exp(-x)))


GATE_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Kernel]] = {
    "tanh": (np.tanh, TANH_F32),
    "sigmoid": (_sigmoid, LOGISTIC_F32),
    "relu": (lambda x: np.maximum(x, np.float32(0)), RELU_F32),
    "hard_sigmoid": (
        lambda x: np.clip(x * np.float32(0.2) + np.float32(0.5), 0, 1).astype(np.float32),
        HARD_SIGMOID_F32,
    ),
    "hard_sigmoid6": (lambda x: np.clip(x + np.float32(3), 0, 6).astype(np.float32) / np.float32(6), HARD_SIGMOID6_F32),
    "linear": (lambda x: x, LINEAR_F32),
}
"""Functions that a gate may apply: (numpy, C kernel of (x, y, n) that may work in place)."""


STATE = 5
"""Index of the input that keeps the states from run to run."""


@dataclass(frozen=True)
class Recurrent(Operator):
    """Inputs: x (batch, steps, features), kernel (gates * units, features), recurrent kernel (gates * units, units),
    optional bias (gates * units). The hidden state begins with zeros, or where the run before ended: then input 5 is a
    state tensor (batch, `states`, units).

    Output: (batch, steps, units) where ``sequences``, else (batch, units). With ``reverse`` the last step is computed
    first; a sequence keeps the order of x.
    """

    activation: str = "tanh"
    sequences: bool = False
    reverse: bool = False

    types: ClassVar[tuple[str, ...]] = ("float32",)
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    """Vectors of ``units`` floats that are kept beside the gates."""

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that it applies, keys of `GATE_FUNCTIONS`."""
        return (self.activation,)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if len(inputs) < 3 or any(t is None for t in inputs[:3]):
            raise ModelError(f"{self.kind} takes an input, a kernel and a recurrent kernel")
        x, kernel, recurrent = (t.shape for t in inputs[:3] if t is not None)
        if len(x) != 3 or len(kernel) != 2 or kernel[1] != x[2] or kernel[0] % self.gates:
            raise ModelError(
                f"an input {list(x)} and a kernel {list(kernel)} do not fit: they must be (batch, steps, features) "
                f"and ({self.gates} * units, features)"
            )
        units = kernel[0] // self.gates
        if recurrent != (kernel[0], units):
            raise ModelError(f"a recurrent kernel {list(recurrent)} must be {[kernel[0], units]}")
        if not self.sequences and not x[1]:
            raise ModelError("a sequence of no steps has no last state")
        state = inputs[STATE] if len(inputs) > STATE else None
        if state is not None and (not state.is_state or state.shape != (x[0], self.states, units)):
            raise ModelError(f"'{state.name}' {list(state.shape)} must be a state of {[x[0], self.states, units]}")
        return [(x[0], x[1], units) if self.sequences else (x[0], units)]

    def problems(self, node: Node) -> list[str]:
        gates = node.input(1).shape[0]
        return super().problems(node) or [
            *(
                f"function '{name}' is not supported in {self.kind}; supported are {', '.join(GATE_FUNCTIONS)}"
                for name in self.functions
                if name not in GATE_FUNCTIONS
            ),
            *(
                f"'{t.name}' must be a float32 constant"
                for t in node.present[1:]
                if (t.data is None and not t.is_state) or t.dtype != np.float32
            ),
            *(
                f"bias '{t.name}' has {t.elements} values; {gates} are needed"
                for t in node.present[3:]
                if not t.is_state and t.elements != gates
            ),
        ]

    def macs(self, node: Node) -> int:
        batch, steps, features = node.input(0).shape
        return batch * steps * node.input(1).shape[0] * (features + node.output.shape[-1])

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, kernel = array(inputs[0]), array(inputs[1])
        kept = array(inputs[STATE]) if len(inputs) > STATE and inputs[STATE] is not None else None
        states = np.zeros((self.states, x.shape[0], kernel.shape[0] // self.gates), np.float32)
        if kept is not None:
            states = np.moveaxis(kept, 1, 0).copy()
        y = np.zeros((*x.shape[:2], states.shape[2]), np.float32)
        for t in reversed(range(x.shape[1])) if self.reverse else range(x.shape[1]):
            states = self.step(x[:, t], states, [None if a is None else array(a) for a in inputs[1:STATE]])
            y[:, t] = states[0]
        if kept is not None:
            kept[...] = np.moveaxis(states, 0, 1)
        return [y if self.sequences else states[0]]

    def step(self, x: Array, states: Array, constants: Sequence[Array | None]) -> Array:
        """One step: x (batch, features) and states (states, batch, units) -> new states, the hidden state first."""
        raise NotImplementedError

    def apply(self, name: str, x: Array) -> Array:
        return GATE_FUNCTIONS[name][0](x)

    def scratch(self, node: Node) -> int:
        kept = 0 if node.states else self.states
        return 4 * (self.scratch_gates + kept) * node.output.shape[-1]

    @property
    def scratch_gates(self) -> int:
        """Gates of one step that are in memory at a time."""
        return self.gates

    def emit(self, node: Node, code: LayerCode) -> None:
        (batch, steps, features), units = node.input(0).shape, node.output.shape[-1]
        code.call(
            self.kernel(),
            x=code.input(0),
            y=code.output(),
            state=code.input(STATE) if node.states else f"(float *){code.scratch} + {self.scratch_gates * units}",
            scratch=f"(float *){code.scratch}",
            weights=code.constant("weights", array(node.input(1).data)),
            recurrent=code.constant("recurrent", array(node.input(2).data)),
            batches=batch,
            steps=steps,
            features=features,
            units=units,
            reverse=int(self.reverse),
            sequences=int(self.sequences),
            keep=int(bool(node.states)),
            **self.biases(node, code),
        )

    def biases(self, node: Node, code: LayerCode) -> dict[str, Argument]:
        return {"bias": code.constant("bias", _bias(node, 3), "float32")}

    def kernel(self) -> Kernel:
        """The C kernel for the functions of the gates."""
        raise NotImplementedError


def _bias(node: Node, index: int) -> Array:
    """A bias, or zeros where there is none."""
    bias = node.optional(index)
    return np.zeros(node.input(1).shape[0], np.float32) if bias is None else array(bias.data)


def _affine(x: Array, weights: Array | None, bias: Array | None) -> Array:
    """x @ weights.T + bias in float32."""
    product: Array = x @ array(weights).T
    return product if bias is None else product + bias.reshape(-1)


@dataclass(frozen=True)
class SimpleRNN(Recurrent):
    """h = f(W x + U h + b)."""

    kind: ClassVar[str] = "SIMPLE_RNN"
    gates: ClassVar[int] = 1

    def step(self, x: Array, states: Array, constants: Sequence[Array | None]) -> Array:
        kernel, recurrent, *bias = constants
        total = _affine(x, kernel, bias[0] if bias else None) + _affine(states[0], recurrent, None)
        return self.apply(self.activation, total)[None]

    def kernel(self) -> Kernel:
        return rnn_kernel(self.activation, (GATES_F32, GATE_FUNCTIONS[self.activation][1]))


@dataclass(frozen=True)
class LSTM(Recurrent):
    """c = f * c + i * g, h = o * activation(c); ``gate`` is the function of i, f and o."""

    gate: str = "sigmoid"

    kind: ClassVar[str] = "LSTM"
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    @property
    def functions(self) -> tuple[str, ...]:
        return self.activation, self.gate

    def step(self, x: Array, states: Array, constants: Sequence[Array | None]) -> Array:
        kernel, recurrent, *bias = constants
        total = _affine(x, kernel, bias[0] if bias else None) + _affine(states[0], recurrent, None)
        i, f, g, o = np.split(total, 4, axis=-1)
        c = self.apply(self.gate, f) * states[1] + self.apply(self.gate, i) * self.apply(self.activation, g)
        return np.stack([self.apply(self.gate, o) * self.apply(self.activation, c), c])

    def kernel(self) -> Kernel:
        return lstm_kernel(self.activation, self.gate, (GATES_F32, *(GATE_FUNCTIONS[f][1] for f in self.functions)))


@dataclass(frozen=True)
class GRU(Recurrent):
    """h = z * h + (1 - z) * candidate; ``gate`` is the function of z and r.

    The reset gate r multiplies U h + recurrent bias where ``reset_after`` (Keras 2 and later, PyTorch), else h before
    the product. Input 4: the optional recurrent bias (gates * units).
    """

    gate: str = "sigmoid"
    reset_after: bool = True

    kind: ClassVar[str] = "GRU"
    gates: ClassVar[int] = 3

    @property
    def functions(self) -> tuple[str, ...]:
        return self.activation, self.gate

    @property
    def scratch_gates(self) -> int:
        return 6  # of the input and of the hidden state

    def step(self, x: Array, states: Array, constants: Sequence[Array | None]) -> Array:
        kernel, recurrent, bias, recurrent_bias = [*constants, None, None][:4]
        weights, h = array(recurrent), states[0]
        units = weights.shape[1]
        split = 2 * units
        given = _affine(x, kernel, bias)
        own = _affine(h, weights, recurrent_bias)
        zr = self.apply(self.gate, given[:, :split] + own[:, :split])
        z, r = zr[:, :units], zr[:, units:]
        if self.reset_after:
            candidate = given[:, split:] + r * own[:, split:]
        else:
            tail = None if recurrent_bias is None else recurrent_bias.reshape(-1)[split:]
            candidate = given[:, split:] + _affine(r * h, weights[split:], tail)
        candidate = self.apply(self.activation, candidate)
        return np.asarray(z * h + (np.float32(1) - z) * candidate)[None]

    def biases(self, node: Node, code: LayerCode) -> dict[str, Argument]:
        return {
            "bias": code.constant("bias", _bias(node, 3), "float32"),
            "recurrent_bias": code.constant("recurrent_bias", _bias(node, 4), "float32"),
        }

    def kernel(self) -> Kernel:
        needs = (GATES_F32, *(GATE_FUNCTIONS[f][1] for f in self.functions))
        return gru_kernel(self.activation, self.gate, self.reset_after, needs)
