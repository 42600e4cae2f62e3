"""HARD_SWISH: x * min(max(x + 3, 0), 6) / 6. int8 in 16-bit fixed point as TFLM computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import quantize_multiplier, rounding_shift
from tinymaix.ops.lookup import Unary

HARD_SWISH_F32 = Kernel(
    "hard_swish_f32",
    """\
static void hard_swish_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        float gate = x[i] + 3.0f;
        y[i] = x[i] * (gate < 0.0f ? 0.0f : gate > 6.0f ? 6.0f : gate) / 6.0f;
    }
}
""",
)


@dataclass(frozen=True)
class HardSwish(Unary):
    kind: ClassVar[str] = "HARD_SWISH"
    tflite: ClassVar[tuple[int, int]] = (117, 91)
    float_kernel: ClassVar[Kernel] = HARD_SWISH_F32

    def problems(self, node: Node) -> list[str]:
        found = super().problems(node)
        if found or node.output.dtype != np.int8:
            return found
        x, y = node.input(0), node.output
        if self._output_multiplier(node)[1] > 0:
            return [
                f"output '{y.name}' has a scale of {y.q.s:.3g}, too fine for its input '{x.name}' with {x.q.s:.3g}: "
                "int8 HARD_SWISH needs at least 1/128 of the input's; quantize the model again"
            ]
        return []

    def raw(self, node: Node, q: Array) -> Array:
        multiplier, shift = self._output_multiplier(node)
        hires = (q - node.input(0).q.z) << 7  # the input in the high bits of an int16
        scaled = _mul_high16(_wrap16(hires), multiplier)
        gate = (self._gate(node, _wrap16(hires)) + (1 << 15)) >> 1  # 0 to 1 in Q15
        product = np.fix(gate * scaled / (1 << 15)).astype(
            np.int64
        )  # truncated: that cancels the bias of the roundings
        return np.asarray(np.clip(rounding_shift(product, -shift) + node.output.q.z, -128, 127))

    def real(self, x: Array) -> Array:
        return x * np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6)

    def _output_multiplier(self, node: Node) -> tuple[int, int]:
        """Q15 multiplier and shift from the input's scale / 128 to the output's; float32 as TFLM has it."""
        return _multiplier16(_hires_scale(node) / node.output.q.scale[0])

    def _gate(self, node: Node, hires: Array) -> Array:
        """x / 3 in Q15, saturated to [-1, 1): the last doubling of a left shift is the one that saturates for good."""
        multiplier, shift = _multiplier16(_hires_scale(node) / np.float32(3 / 32768))
        if shift > 0:
            return _saturate16(_mul_high16(_saturate16(hires << (shift - 1)), multiplier) << 1)
        return rounding_shift(_mul_high16(hires, multiplier), -shift)


def _hires_scale(node: Node) -> np.float32:
    return np.float32(1 / 128) * np.float32(node.input(0).q.s)


def _multiplier16(real: np.float32) -> tuple[int, int]:
    """`quantize_multiplier` with the multiplier rounded to Q15 (DownScaleInt32ToInt16Multiplier)."""
    multiplier, shift = quantize_multiplier(float(real))
    return (0x7FFF if multiplier >= 0x7FFF0000 - 0x8000 else (multiplier + 0x8000) >> 16), shift


def _mul_high16(x: Array, multiplier: int) -> Array:
    return np.asarray((x * multiplier + (1 << 14)) >> 15)


def _saturate16(x: Array) -> Array:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def _wrap16(x: Array) -> Array:
    return x.astype(np.int16).astype(np.int64)
