"""SQUARED_DIFFERENCE: (a - b) ** 2, int8 by a common scale with 7 more bits as TFLM does it, or float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import Binary, binary_kernel
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize, saturate
from tinymaix.ops.sums import SUM_PARAMETERS

LEFT_SHIFT = 7


@dataclass(frozen=True)
class SquaredDifference(Binary):
    kind: ClassVar[str] = "SQUARED_DIFFERENCE"
    tflite: ClassVar[tuple[int, int]] = (99, 76)
    types: ClassVar[tuple[str, ...]] = ("int8", "float32")

    def values(self, node: Node, a: Array, b: Array) -> Array:
        if node.output.dtype == np.float32:
            return np.asarray(np.square(a - b))
        s = self._scales(node)
        a, b = (
            requantize((x.astype(np.int64) - s[f"zero_{k}"]) << LEFT_SHIFT, s[f"multiplier_{k}"], s[f"shift_{k}"])
            for k, x in (("a", a), ("b", b))
        )
        y = requantize(np.square(a - b), s["multiplier_y"], s["shift_y"]) + s["zero_y"]
        return saturate(y, node.output.dtype)

    def parameters(self, node: Node) -> dict[str, Argument]:
        return {} if node.output.dtype == np.float32 else {**self._scales(node), "low": -128, "high": 127}

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]

    def _scales(self, node: Node) -> dict[str, int]:
        a, b, y = node.input(0).q, node.input(1).q, node.output.q
        twice = 2.0 * max(a.s, b.s)
        result = {}
        out = twice * twice / (2.0 ** (2 * LEFT_SHIFT) * y.s)
        for name, q, real in (("a", a, a.s / twice), ("b", b, b.s / twice), ("y", y, out)):
            result[f"zero_{name}"] = q.z
            result[f"multiplier_{name}"], result[f"shift_{name}"] = quantize_multiplier(real)
        return result


KERNELS = {
    "int8": binary_kernel(
        "squared_difference_s8",
        "int8_t",
        "y = (a - b) ** 2, int8 with a scale each.",
        SUM_PARAMETERS,
        f"""\
            int32_t scaled_a = requantize((*a - zero_a) * {1 << LEFT_SHIFT}, multiplier_a, shift_a);
            int32_t scaled_b = requantize((*b - zero_b) * {1 << LEFT_SHIFT}, multiplier_b, shift_b);
            int32_t difference = scaled_a - scaled_b;
            *y = (int8_t)clamp(requantize(difference * difference, multiplier_y, shift_y) + zero_y, low, high);
""",
        REQUANTIZE,
        CLAMP,
    ),
    "float32": binary_kernel(
        "squared_difference_f32",
        "float",
        "y = (a - b) ** 2, float.",
        "",
        """\
            *y = (*a - *b) * (*a - *b);
""",
    ),
}
