"""LEAKY_RELU: x where x > 0, else alpha * x. Integers have one multiplier for each side of zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Tensor
from tinymaix.ops.base import OptionFields, Options
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE, quantize_multiplier, requantize, saturate
from tinymaix.ops.lookup import Unary

LEAKY_RELU_F32 = Kernel(
    "leaky_relu_f32",
    """\
static void leaky_relu_f32(const float *x, float *y, int n, float alpha)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] > 0.0f ? x[i] : x[i] * alpha;
}
""",
)

LEAKY_RELU_S16 = Kernel(
    "leaky_relu_s16",
    """\
static void leaky_relu_s16(const int16_t *x, int16_t *y, int n, int32_t zero_x, int32_t zero_y, int32_t multiplier,
                           int shift, int32_t multiplier_below, int shift_below, int32_t sign_below)
{
    for (int i = 0; i < n; i++) {
        int32_t value = x[i] - zero_x;
        value = value >= 0 ? requantize(value, multiplier, shift)
                           : sign_below * requantize(value, multiplier_below, shift_below);
        y[i] = (int16_t)clamp(value + zero_y, -32768, 32767);
    }
}
""",
    (REQUANTIZE, CLAMP),
)


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """``alpha`` is a float32 value; it may be negative or above 1."""

    alpha: float = 0.0

    kind: ClassVar[str] = "LEAKY_RELU"
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")
    tflite: ClassVar[tuple[int, int]] = (98, 75)
    float_kernel: ClassVar[Kernel] = LEAKY_RELU_F32

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> LeakyRelu:
        return cls(options.f32(0))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("f32", self.alpha)}, list(node.inputs)

    def raw(self, node: Node, q: Array) -> Array:
        x, y = node.input(0).q, node.output.q
        slope = x.s * self.alpha / y.s
        positive = requantize(q - x.z, *quantize_multiplier(x.s / y.s))
        # TFLM rounds halves as if the sign of alpha were applied at the end.
        negative = requantize(q - x.z, *quantize_multiplier(abs(slope))) * (-1 if slope < 0 else 1)
        return saturate(np.where(q >= x.z, positive, negative) + y.z, node.output.dtype)

    def real(self, x: Array) -> Array:
        return np.where(x > 0, x, x * np.float32(self.alpha))

    def emit_int16(self, node: Node, code: LayerCode) -> None:
        x, y = node.input(0).q, node.output.q
        slope = x.s * self.alpha / y.s
        multiplier, shift = quantize_multiplier(x.s / y.s)
        multiplier_below, shift_below = quantize_multiplier(abs(slope))
        code.call(
            LEAKY_RELU_S16,
            x=code.input(0),
            y=code.output(),
            n=node.output.elements,
            zero_x=x.z,
            zero_y=y.z,
            multiplier=multiplier,
            shift=shift,
            multiplier_below=multiplier_below,
            shift_below=shift_below,
            sign_below=-1 if slope < 0 else 1,
        )

    def float_arguments(self) -> dict[str, Argument]:
        return {"alpha": self.alpha}
