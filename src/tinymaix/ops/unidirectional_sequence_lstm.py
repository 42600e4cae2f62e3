"""UNIDIRECTIONAL_SEQUENCE_LSTM as TFLM has it: int8 with an int16 cell, or float32. No peepholes, no projection.

Each gate is sigmoid or tanh of W x + b + R h; the cell is forget * cell + input * update, the hidden state output *
tanh(cell). Hidden and cell states live from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.emit import Argument, LayerCode
from tinymaix.ops.fixed_point import FLOAT32_MAX, quantize_multiplier, requantize
from tinymaix.ops.lstm_c import LSTM_F32, LSTM_S8
from tinymaix.ops.sigmoid16 import TABLE, logistic16, power_of_two, tanh16

X, WEIGHTS, RECURRENT, PEEPHOLES, BIASES, PROJECTION, HIDDEN, CELL, NORMS = 0, 1, 5, 9, 12, 16, 18, 19, 20
"""First index of each kind of input. Where there are four, they are those of the gates in the order of `GATES`."""
GATES = INPUT, FORGET, UPDATE, OUTPUT = range(4)
TANH = 4
"""TFLite's code of the activation of the update gate."""
GATE_SCALE = 2.0**-12
"""Scale of what goes into sigmoid and tanh of a gate."""


@dataclass(frozen=True)
class UnidirectionalSequenceLstm(Operator):
    """x: (batches, steps, in_c), or (steps, batches, in_c) where ``time_major``. The output has in_c replaced by cells.

    Inputs as TFLite orders them: x; weights of input, forget, update and output gate, each (cells, in_c); recurrent
    weights, each (cells, cells); three peepholes (absent); four biases; projection (absent, twice); hidden and cell
    state, each (batches, cells); four norms (absent). ``cell_clip`` bounds the cell where it is above 0.
    """

    cell_clip: float = 0.0
    time_major: bool = False

    kind: ClassVar[str] = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    tflite: ClassVar[tuple[int, int]] = (44, 71)
    takes_states: ClassVar[bool] = True

    @classmethod
    def from_tflite(
        cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> UnidirectionalSequenceLstm:
        if options.i8(0) != TANH:
            raise ModelError(f"its activation has code {options.i8(0)}; only tanh ({TANH}) is supported")
        if options.flag(5):
            raise ModelError("diagonal recurrent weights are not supported")
        return cls(options.f32(1), options.flag(3))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        fields: OptionFields = {0: ("i8", TANH), 1: ("f32", self.cell_clip), 3: ("flag", self.time_major)}
        return fields, list(node.inputs)

    def tflite_intermediates(self, node: Node) -> list[Tensor]:
        """What goes into the gates, and the hidden state, of an integer LSTM."""
        if node.output.dtype == np.float32:
            return []
        gate = Quantization.of(GATE_SCALE)
        name = f"{node.output.name}_intermediate"
        gates = [Tensor(f"{name}{g}", (0,), np.dtype(np.int16), gate) for g in GATES]
        return [*gates, Tensor(f"{name}_hidden", (0,), np.dtype(np.int8), node.input(HIDDEN).quantization)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if len(inputs) not in (20, 24):
            raise ModelError(f"it has {len(inputs)} inputs instead of 20 or 24")
        absent = (*range(PEEPHOLES, BIASES), *range(PROJECTION, HIDDEN), *range(NORMS, len(inputs)))
        if any(inputs[i] is not None for i in absent):
            raise ModelError("peepholes, a projection and layer normalization are not supported")
        shapes = {i: t.shape for i, t in enumerate(inputs) if t is not None}
        x, weights = shapes.get(X, ()), shapes.get(WEIGHTS, ())
        if len(x) != 3 or len(weights) != 2 or min(*x, *weights) < 1:
            raise ModelError(f"x {list(x)} must have three dimensions and weights {list(weights)} two")
        cells = weights[0]
        batches = x[1] if self.time_major else x[0]
        expected = {
            **{WEIGHTS + gate: (cells, x[2]) for gate in GATES},
            **{RECURRENT + gate: (cells, cells) for gate in GATES},
            **{BIASES + gate: (cells,) for gate in GATES},
            HIDDEN: (batches, cells),
            CELL: (batches, cells),
        }
        for i, shape in expected.items():
            if shapes.get(i) != shape:
                raise ModelError(f"input {i} has shape {shapes.get(i, 'none')} instead of {shape}")
        return [(*x[:2], cells)]

    def problems(self, node: Node) -> list[str]:
        if found := super().problems(node):
            return found
        is_float = node.output.dtype == np.float32
        wrong = [t.name for t in self._constants(node) if t.data is None]
        wrong += [t.name for t in (node.input(HIDDEN), node.input(CELL)) if not t.is_state]
        if wrong:
            return [f"'{wrong[0]}' must be a constant weight, or a variable that keeps a state"]
        kinds = ("float32",) * 4 if is_float else ("int8", "int32", "int8", "int16")
        for tensors, kind in zip(self._groups(node), kinds, strict=True):
            for t in tensors:
                if t.dtype.name != kind:
                    return [f"'{t.name}' is {t.dtype} beside x of {node.input(X).dtype}; {kind} is supported"]
        return [] if is_float else self._quantization_problems(node)

    def _groups(self, node: Node) -> tuple[list[Tensor], ...]:
        """Weights, biases, hidden state, cell state."""
        weights = [node.input(i + gate) for i in (WEIGHTS, RECURRENT) for gate in GATES]
        return weights, [node.input(BIASES + g) for g in GATES], [node.input(HIDDEN)], [node.input(CELL)]

    def _constants(self, node: Node) -> list[Tensor]:
        weights, biases, _, _ = self._groups(node)
        return [*weights, *biases]

    def _quantization_problems(self, node: Node) -> list[str]:
        weights, biases, (hidden,), (cell,) = self._groups(node)
        found = [
            f"'{t.name}' needs one scale{' and no zero point' if t is not hidden else ''}; quantize the model again"
            for t in (*weights, hidden, cell)
            if t.quantization is None or t.q.per_channel or (t is not hidden and t.q.z)
        ]
        if not found and math.frexp(cell.q.s)[0] != 0.5:
            found.append(f"cell state '{cell.name}' has scale {cell.q.s:.7g}, which is not a power of two")
        largest = 256 * max(np.abs(np.asarray(w.data, np.int64)).sum(axis=1).max(initial=0) for w in weights)
        if largest + max(np.abs(np.asarray(b.data, np.int64)).max(initial=0) for b in biases) >= 2**31:
            found.append(f"sums with '{weights[0].name}' can exceed 32 bits; quantize the model again")
        return found

    def macs(self, node: Node) -> int:
        cells, in_c = node.input(WEIGHTS).shape
        return node.output.elements * 4 * (in_c + cells)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, hidden, cell = (array(inputs[i]) for i in (X, HIDDEN, CELL))
        step = self._float_step if x.dtype == np.float32 else self._int8_step
        steps = []
        for row in x if self.time_major else x.swapaxes(0, 1):
            hidden[...], cell[...] = step(node, inputs, row, hidden, cell)
            steps.append(hidden.copy())
        return [np.stack(steps, axis=0 if self.time_major else 1)]

    def _float_step(
        self, node: Node, inputs: Sequence[Array | None], x: Array, hidden: Array, cell: Array
    ) -> tuple[Array, Array]:
        gates = [
            x @ array(inputs[WEIGHTS + g]).T + array(inputs[BIASES + g]) + hidden @ array(inputs[RECURRENT + g]).T
            for g in GATES
        ]
        with np.errstate(over="ignore"):
            i, f, o = (np.float32(1) / (np.float32(1) + np.exp(-gates[g])) for g in (INPUT, FORGET, OUTPUT))
        cell = f * cell + i * np.tanh(gates[UPDATE])
        if self.cell_clip > 0:
            cell = np.clip(cell, np.float32(-self.cell_clip), np.float32(self.cell_clip))
        return o * np.tanh(cell), cell

    def _int8_step(
        self, node: Node, inputs: Sequence[Array | None], x: Array, hidden: Array, cell: Array
    ) -> tuple[Array, Array]:
        scales = self._scales(node)
        gates = []
        for g in GATES:
            into, over = scales[g]
            weights, recurrent = array(inputs[WEIGHTS + g]), array(inputs[RECURRENT + g])
            fresh = (x.astype(np.int64) - node.input(X).q.z) @ weights.T.astype(np.int64) + array(inputs[BIASES + g])
            past = (hidden.astype(np.int64) - node.input(HIDDEN).q.z) @ recurrent.T.astype(np.int64)
            gates.append(_int16(_int16(requantize(fresh, *into)) + _int16(requantize(past, *over))))
        i, f, o = (logistic16(gates[g], *power_of_two(3)) for g in (INPUT, FORGET, OUTPUT))
        update = tanh16(gates[UPDATE], *power_of_two(3))
        keep, add, out = self._products(node)
        cell = _int16(_int16(requantize(f * cell.astype(np.int64), *keep)) + _int16(requantize(i * update, *add)))
        clip = self._clip(node)
        cell = np.clip(cell, -clip - (clip == 32767), clip)
        hidden = requantize(tanh16(cell, *self._cell_scale(node)) * o, *out) + node.input(HIDDEN).q.z
        return np.clip(hidden, -128, 127).astype(np.int8), cell.astype(np.int16)

    def _scales(self, node: Node) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """(multiplier, shift) of W x and of R h, for each gate; products of scales in float32, as TFLM has them."""
        x, h = node.input(X).q.scale[0], node.input(HIDDEN).q.scale[0]
        return [
            (
                quantize_multiplier(float(x * node.input(WEIGHTS + g).q.scale[0]) / GATE_SCALE),
                quantize_multiplier(float(h * node.input(RECURRENT + g).q.scale[0]) / GATE_SCALE),
            )
            for g in GATES
        ]

    def _products(self, node: Node) -> tuple[tuple[int, int], ...]:
        """(multiplier, shift) of forget * cell, input * update, and output * tanh(cell)."""
        cell, unit = node.input(CELL).q.s, 2.0**-15
        reals = unit, unit * unit / cell, float(np.float32(unit * unit) / node.input(HIDDEN).q.scale[0])
        return tuple(quantize_multiplier(real) for real in reals)

    def _cell_scale(self, node: Node) -> tuple[int, int]:
        return power_of_two(math.frexp(node.input(CELL).q.s)[1] - 1 + 15)

    def _clip(self, node: Node) -> int:
        """Bound of the cell in raw values; 32767 is none."""
        if self.cell_clip <= 0:
            return 32767
        return int(min(max(np.float32(self.cell_clip) / node.input(CELL).q.scale[0], -32768.0), 32767.0))

    def emit(self, node: Node, code: LayerCode) -> None:
        x, cells = node.input(X), node.output.shape[2]
        batches, steps = (x.shape[1], x.shape[0]) if self.time_major else x.shape[:2]
        in_c = x.shape[2]
        weights, recurrent, bias = (
            np.stack([np.asarray(node.input(i + g).data) for g in GATES]) for i in (WEIGHTS, RECURRENT, BIASES)
        )
        arguments: dict[str, Argument] = {
            "x": code.input(X), "hidden": code.input(HIDDEN), "cell": code.input(CELL), "y": code.output(),
            "weights": code.constant("weights", weights), "recurrent": code.constant("recurrent", recurrent),
            "batches": batches, "steps": steps, "in_c": in_c, "cells": cells,
            "batch_step": 1 if self.time_major else steps, "time_step": batches if self.time_major else 1,
        }  # fmt: skip
        if x.dtype == np.float32:
            clip = self.cell_clip if self.cell_clip > 0 else FLOAT32_MAX
            code.call(LSTM_F32, **arguments, bias=code.constant("bias", bias), clip=clip)
            return
        folded = bias - x.q.z * weights.sum(axis=2, dtype=np.int64)
        recurrent_bias = -node.input(HIDDEN).q.z * recurrent.sum(axis=2, dtype=np.int64)
        scales = [number for into, over in self._scales(node) for number in (*into, *over)]
        (keep, keep_shift), (add, add_shift), (out, out_shift) = self._products(node)
        cell_multiplier, cell_shift = self._cell_scale(node)
        clip = self._clip(node)
        code.call(
            LSTM_S8,
            **arguments,
            bias=code.constant("bias", folded, "int32"),
            recurrent_bias=code.constant("recurrent_bias", recurrent_bias, "int32"),
            scales=code.constant("scales", scales, "int32", "multiplier and shift of W x and R h of each gate"),
            table=code.constant("sigmoid", TABLE),
            keep=keep, keep_shift=keep_shift, add=add, add_shift=add_shift, out=out, out_shift=out_shift,
            cell_multiplier=cell_multiplier, cell_shift=cell_shift, low=-clip - (clip == 32767), high=clip,
            zero_y=node.input(HIDDEN).q.z,
        )  # fmt: skip


def _int16(x: Array) -> Array:
    return np.clip(x, -32768, 32767)
