"""QUANTIZE: float32 to raw values, or raw values from one scale, zero point and type to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, INT32_MAX, INT32_MIN, REQUANTIZE, quantize_multiplier, requantize, saturate
from tinymaix.ops.lookup import LOOKUP_S8
from tinymaix.ops.move import input_shape

PAIRS = {
    "float32": ("int8", "int16"),
    "int8": ("int8", "uint8", "int16", "int32"),
    "uint8": ("int8",),
    "int16": ("int8", "int16", "int32"),
    "int32": ("int8", "int16"),
}
"""The output types that TFLM has for each input type."""


@dataclass(frozen=True)
class Quantize(Operator):
    kind: ClassVar[str] = "QUANTIZE"
    tflite: ClassVar[tuple[int, int]] = (114, 89)
    types: ClassVar[tuple[str, ...]] = tuple(PAIRS)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def problems(self, node: Node) -> list[str]:
        x, y = node.input(0), node.output
        if y.dtype.name not in PAIRS.get(x.dtype.name, ()):
            pairs = "; ".join(f"{source} to {', '.join(targets)}" for source, targets in PAIRS.items())
            return [f"'{x.name}' is {x.dtype} and '{y.name}' is {y.dtype}; supported are {pairs}"]
        return per_tensor_problems(x, y)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, y = array(inputs[0]), node.output
        if x.dtype != np.float32:
            return [self._requantize(node, x)]
        info = np.iinfo(y.dtype)
        steps = np.clip((x / y.q.scale[0]).astype(np.float64), info.min - y.q.z, info.max - y.q.z)
        rounded = np.trunc(steps + np.copysign(0.5, steps))  # half away from zero
        return [(rounded + y.q.z).astype(y.dtype)]

    def overwrites(self, node: Node) -> list[int]:
        return [0] if node.output.dtype.itemsize == 1 or node.output.dtype == node.input(0).dtype else []

    def emit(self, node: Node, code: LayerCode) -> None:
        x, y = node.input(0), node.output
        source, target, n = code.input(0), code.output(), y.elements
        if x.dtype.itemsize == y.dtype.itemsize == 1:
            table = self._requantize(node, np.arange(256, dtype=np.uint8).view(x.dtype)).view(np.int8)
            pointers = {"x": f"(const int8_t *){source}", "y": f"(int8_t *){target}"}
            code.call(LOOKUP_S8, **pointers, table=code.constant("table", table), n=n)
            return
        info = np.iinfo(y.dtype)
        if x.dtype == np.float32:
            limits = {"low": info.min - y.q.z, "high": info.max - y.q.z, "zero_y": y.q.z}
            code.call(quantize_kernel(y.dtype.name), x=source, y=target, n=n, scale=y.q.s, **limits)
            return
        multiplier, shift = quantize_multiplier(x.q.s / y.q.s)
        code.call(
            requantize_kernel(x.dtype.name, y.dtype.name),
            x=source,
            y=target,
            n=n,
            zero_x=x.q.z,
            multiplier=multiplier,
            shift=shift,
            zero_y=y.q.z,
            low=max(info.min, INT32_MIN),
            high=min(info.max, INT32_MAX),
        )

    def _requantize(self, node: Node, x: Array) -> Array:
        a, b = node.input(0).q, node.output.q
        multiplied = requantize(x.astype(np.int64) - a.z, *quantize_multiplier(a.s / b.s))
        return saturate(multiplied + b.z, node.output.dtype)


def per_tensor_problems(*tensors: Tensor) -> list[str]:
    """A sentence for each integer tensor without one scale and zero point."""
    return [
        f"'{t.name}' is {t.dtype} without one scale and zero point; convert the model with full integer quantization"
        for t in tensors
        if t.dtype.kind in "iu" and (t.quantization is None or t.quantization.per_channel)
    ]


def quantize_kernel(y: str) -> Kernel:
    """The kernel from float32 to an integer type."""
    name = f"quantize_f32_{y}"
    return Kernel(
        name,
        f"""\
/* round(x / scale) + zero_y, half away from zero; low and high are the type's limits less zero_y */
static void {name}(const float *x, {C_TYPES[y]} *y, int n, float scale, int32_t low, int32_t high, int32_t zero_y)
{{
    for (int i = 0; i < n; i++) {{
        float steps = x[i] / scale;
        steps = steps < (float)low ? (float)low : steps > (float)high ? (float)high : steps;
        int32_t whole = (int32_t)steps;
        float rest = steps - (float)whole;
        y[i] = ({C_TYPES[y]})(whole + (rest >= 0.5f) - (rest <= -0.5f) + zero_y);
    }}
}}
""",
    )


def requantize_kernel(x: str, y: str) -> Kernel:
    """The kernel from one integer type to another."""
    name = f"requantize_{x}_{y}"
    return Kernel(
        name,
        f"""\
/* The same real values under another scale and zero point */
static void {name}(const {C_TYPES[x]} *x, {C_TYPES[y]} *y, int n, int32_t zero_x, int32_t multiplier, int shift,
                   int32_t zero_y, int32_t low, int32_t high)
{{
    for (int i = 0; i < n; i++)
        y[i] = ({C_TYPES[y]})clamp(requantize(x[i] - zero_x, multiplier, shift) + zero_y, low, high);
}}
""",
        (REQUANTIZE, CLAMP),
    )
