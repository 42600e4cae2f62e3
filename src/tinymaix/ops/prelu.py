"""PRELU: x where x >= 0, else alpha * x, with an alpha for each element that broadcasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import Binary, binary_kernel
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize, saturate


@dataclass(frozen=True)
class Prelu(Binary):
    """Inputs: x, alpha. int8 with a scale each, or float32."""

    kind: ClassVar[str] = "PRELU"
    tflite: ClassVar[tuple[int, int]] = (54, 0)
    types: ClassVar[tuple[str, ...]] = ("int8", "float32")

    def values(self, node: Node, a: Array, b: Array) -> Array:
        if node.output.dtype == np.float32:
            return np.where(a >= 0, a, a * b)
        p = self.parameters(node)
        x, alpha = a.astype(np.int64) - node.input(0).q.z, b.astype(np.int64) - node.input(1).q.z
        above = requantize(x, int(p["multiplier"]), int(p["shift"]))
        below = requantize(x * alpha, int(p["multiplier_below"]), int(p["shift_below"]))
        return saturate(np.where(x >= 0, above, below) + node.output.q.z, node.output.dtype)

    def parameters(self, node: Node) -> dict[str, Argument]:
        if node.output.dtype == np.float32:
            return {}
        x, alpha, y = node.input(0).q, node.input(1).q, node.output.q
        multiplier, shift = quantize_multiplier(x.s / y.s)
        multiplier_below, shift_below = quantize_multiplier(x.s * alpha.s / y.s)
        return {
            "zero_a": x.z, "zero_b": alpha.z, "zero_y": y.z, "multiplier": multiplier, "shift": shift,
            "multiplier_below": multiplier_below, "shift_below": shift_below,
        }  # fmt: skip

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


KERNELS = {
    "int8": binary_kernel(
        "prelu_s8",
        "int8_t",
        "y = a >= 0 ? a : a * b, int8 with a scale each.",
        """, int32_t zero_a, int32_t zero_b,
    int32_t zero_y, int32_t multiplier, int shift, int32_t multiplier_below, int shift_below""",
        """\
            int32_t value = *a - zero_a;
            value = value >= 0 ? requantize(value, multiplier, shift)
                               : requantize(value * (*b - zero_b), multiplier_below, shift_below);
            *y = (int8_t)clamp(value + zero_y, -128, 127);
""",
        REQUANTIZE,
        CLAMP,
    ),
    "float32": binary_kernel(
        "prelu_f32",
        "float",
        "y = a >= 0 ? a : a * b, float.",
        "",
        """\
            *y = *a >= 0.0f ? *a : *a * *b;
""",
    ),
}
