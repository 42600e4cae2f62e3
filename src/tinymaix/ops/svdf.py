"""SVDF: a fully connected layer of low rank over the last ``memory`` inputs, which its state remembers.

P. Nakkiran et al., "Compressing Deep Neural Networks using a Rank-Constrained Topology", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.accumulate import float_clamp
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import C_TYPES, Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import (
    ACTIVATIONS,
    CLAMP,
    CLAMP_F32,
    INT32_MAX,
    REQUANTIZE,
    float_range,
    quantize_multiplier,
    quantized_range,
    requantize,
    saturate,
    wrap32,
)

X, FEATURE, TIME, BIAS, STATE = range(5)


@dataclass(frozen=True)
class Svdf(Operator):
    """Inputs: x (batches, in_c), feature weights (units * rank, in_c), time weights (units * rank, memory),
    optional bias (units), state (batches, units * rank * memory). Output: (batches, units).

    int8 with int16 or int8 time weights and state, or float32.
    """

    rank: int = 1
    activation: str = "none"

    kind: ClassVar[str] = "SVDF"
    tflite: ClassVar[tuple[int, int]] = (27, 6)
    takes_states: ClassVar[bool] = True

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Svdf:
        return cls(options.i32(0), fused_activation(options.i8(1)))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("i32", self.rank), 1: ("i8", ACTIVATIONS.index(self.activation))}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if len(inputs) != 5 or any(t is None for i, t in enumerate(inputs) if i != BIAS):
            raise ModelError("SVDF takes five inputs, of which only the bias may be left out")
        x, feature, time, bias, state = (None if t is None else t.shape for t in inputs)
        assert x is not None
        assert feature is not None
        assert time is not None
        if len(x) != 2 or len(feature) != 2 or len(time) != 2 or self.rank < 1:
            raise ModelError(f"input {x} and weights {feature} and {time} must have two dimensions each")
        filters, memory = time
        fits = feature == (filters, x[1]) and filters % self.rank == 0 and state == (x[0], filters * memory)
        if not fits or min(filters, memory) < 1 or (bias is not None and bias != (filters // self.rank,)):
            raise ModelError(
                f"input {x}, weights {feature} and {time}, bias {bias} and state {state} do not fit each other at "
                f"rank {self.rank}"
            )
        return [(x[0], filters // self.rank)]

    def problems(self, node: Node) -> list[str]:
        if found := super().problems(node):
            return found
        feature, time, bias, state = node.input(FEATURE), node.input(TIME), node.optional(BIAS), node.input(STATE)
        if not state.is_state or any(t is not None and t.data is None for t in (feature, time, bias)):
            return [f"'{state.name}' must be a variable, and weights and bias constants"]
        types = tuple(t.dtype.name for t in (feature, time, state)) + ((bias.dtype.name,) if bias else ())
        if node.output.dtype == np.float32:
            return [] if set(types) == {"float32"} else [f"weights, state and bias are {types}; all must be float32"]
        if types[0] != "int8" or types[1] not in ("int8", "int16") or types[2] != types[1] or types[3:] == ("float32",):
            return [f"weights, state and bias are {types}; int8, twice int8 or int16, and int32 are supported"]
        if 256 * np.abs(np.asarray(feature.data, np.int64)).sum(axis=1).max(initial=0) > INT32_MAX:
            return [f"sums with '{feature.name}' can exceed 32 bits; use fewer inputs"]
        return [
            f"'{t.name}' needs one scale, and weights no zero point; quantize the model again"
            for t in (feature, time, state)
            if t.quantization is None or t.q.per_channel or (t is not state and t.q.z)
        ]

    def macs(self, node: Node) -> int:
        (batches, in_c), (filters, memory) = node.input(X).shape, node.input(TIME).shape
        return batches * filters * (in_c + memory)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, feature, time, state = (array(inputs[i]) for i in (X, FEATURE, TIME, STATE))
        batches, (filters, memory) = x.shape[0], time.shape
        past = state.reshape(batches, filters, memory)
        past[:, :, :-1] = past[:, :, 1:].copy()
        bias = 0 if inputs[BIAS] is None else array(inputs[BIAS])
        if x.dtype == np.float32:
            past[:, :, -1] = x @ feature.T
            sums = (past * time).sum(axis=2, dtype=np.float32).reshape(batches, -1, self.rank).sum(axis=2)
            low, high = (np.float32(v) for v in float_range(self.activation))
            return [np.clip(sums + bias, low, high).astype(np.float32)]
        into, out = self._scales(node)
        now = wrap32((x.astype(np.int64) - node.input(X).q.z) @ feature.T.astype(np.int64))
        # TFLM adds the zero point of an int8 state after it saturates, so the sum wraps.
        kept = saturate(requantize(now, *into), state.dtype).astype(np.int64) + self._zero_state(node)
        past[:, :, -1] = kept.astype(state.dtype)
        products = (past.astype(np.int64) - self._zero_state(node)) * time
        sums = wrap32(products.sum(axis=2).reshape(batches, -1, self.rank).sum(axis=2) + bias)
        y = requantize(sums, *out) + node.output.q.z
        return [saturate(y, node.output.dtype, *quantized_range(self.activation, node.output))]

    def _scales(self, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) from the feature sums to the state, and from the time sums to the output."""
        x, feature, time, state = (node.input(i).q.s for i in (X, FEATURE, TIME, STATE))
        return quantize_multiplier(x * feature / state), quantize_multiplier(state * time / node.output.q.s)

    def _zero_state(self, node: Node) -> int:
        return node.input(STATE).q.z if node.input(STATE).dtype == np.int8 else 0

    def emit(self, node: Node, code: LayerCode) -> None:
        x, time, bias = node.input(X), node.input(TIME), node.optional(BIAS)
        (batches, in_c), (filters, memory) = x.shape, time.shape
        units = filters // self.rank
        is_float = x.dtype == np.float32
        data = np.zeros(units) if bias is None or bias.data is None else bias.data
        arguments: dict[str, Argument] = {
            "x": code.input(X),
            "state": code.input(STATE),
            "y": code.output(),
            "feature": code.constant("feature", np.asarray(node.input(FEATURE).data)),
            "time": code.constant("time", np.asarray(time.data)),
            "bias": code.constant("bias", data, "float32" if is_float else "int32"),
            "batches": batches, "in_c": in_c, "units": units, "rank": self.rank, "memory": memory,
        }  # fmt: skip
        if is_float:
            code.call(SVDF_F32, **arguments, **float_clamp(self.activation))
            return
        into, out = self._scales(node)
        low, high = quantized_range(self.activation, node.output)
        code.call(
            SVDF_S8[time.dtype.name],
            **arguments,
            zero_x=x.q.z,
            zero_state=self._zero_state(node),
            zero_y=node.output.q.z,
            multiplier_state=into[0],
            shift_state=into[1],
            multiplier_y=out[0],
            shift_y=out[1],
            low=low,
            high=high,
        )


def _svdf_s8(time: str) -> Kernel:
    name, kind, bits = f"svdf_s8_{time}", C_TYPES[time], np.iinfo(time).bits
    info = np.iinfo(time)
    return Kernel(
        name,
        f"""\
/* SVDF, int8 with an {time} state. Each filter forgets its oldest value and remembers its product with x. Sums wrap. */
static void {name}(const int8_t *x, {kind} *state, int8_t *y, const int8_t *feature, const {kind} *time,
    const int32_t *bias, int batches, int in_c, int units, int rank, int memory, int32_t zero_x, int32_t zero_state,
    int32_t zero_y, int32_t multiplier_state, int shift_state, int32_t multiplier_y, int shift_y,
    int32_t low, int32_t high)
{{
    for (int b = 0; b < batches; b++, x += in_c) {{
        const int8_t *w = feature;
        const {kind} *t = time;
        for (int u = 0; u < units; u++) {{
            uint32_t sum = (uint32_t)FLASH_I32(bias + u);
            for (int r = 0; r < rank; r++, state += memory) {{
                int32_t now = 0;
                for (int c = 0; c < in_c; c++)
                    now += (x[c] - zero_x) * FLASH_I8(w++);
                memmove(state, state + 1, (size_t)(memory - 1) * sizeof *state);
                now = clamp(requantize(now, multiplier_state, shift_state), {info.min}, {info.max}) + zero_state;
                state[memory - 1] = ({kind})now; /* wraps, as in TFLM */
                for (int m = 0; m < memory; m++)
                    sum += (uint32_t)((state[m] - zero_state) * (int32_t)FLASH_I{bits}(t++));
            }}
            *y++ = (int8_t)clamp(requantize((int32_t)sum, multiplier_y, shift_y) + zero_y, low, high);
        }}
    }}
}}
""",
        (REQUANTIZE, CLAMP),
    )


SVDF_S8 = {time: _svdf_s8(time) for time in ("int8", "int16")}

SVDF_F32 = Kernel(
    "svdf_f32",
    """\
/* SVDF, float. Each filter forgets its oldest value and remembers its product with x. */
static void svdf_f32(const float *x, float *state, float *y, const float *feature, const float *time,
                     const float *bias, int batches, int in_c, int units, int rank, int memory, float low, float high)
{
    for (int b = 0; b < batches; b++, x += in_c) {
        const float *w = feature, *t = time;
        for (int u = 0; u < units; u++) {
            float sum = 0.0f;
            for (int r = 0; r < rank; r++, state += memory) {
                float now = 0.0f, filtered = 0.0f;
                for (int c = 0; c < in_c; c++)
                    now += x[c] * FLASH_F32(w++);
                memmove(state, state + 1, (size_t)(memory - 1) * sizeof *state);
                state[memory - 1] = now;
                for (int m = 0; m < memory; m++)
                    filtered += state[m] * FLASH_F32(t++);
                sum += filtered;
            }
            *y++ = clamp_f32(sum + FLASH_F32(bias + u), low, high);
        }
    }
}
""",
    (CLAMP_F32,),
)
