"""LOGISTIC: 1 / (1 + exp(-x)). int8 as TFLM computes it, in Q4.27, always to scale 1/256 and zero point -128."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_math import logistic, multiplier_for
from tinymaix.ops.fixed_point import requantize, rounding_shift
from tinymaix.ops.float_math import LOGISTIC_F32
from tinymaix.ops.lookup import Unary, fixed_output_problems
from tinymaix.ops.sigmoid16 import LOGISTIC_S16, any_scale, emit_table_16, logistic16


@dataclass(frozen=True)
class Logistic(Unary):
    kind: ClassVar[str] = "LOGISTIC"
    tflite: ClassVar[tuple[int, int]] = (14, 0)
    types: ClassVar[tuple[str, ...]] = ("int8", "uint8", "int16", "float32")
    float_kernel: ClassVar[Kernel] = LOGISTIC_F32

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or fixed_output_problems(node, 1 / 256, -128)

    def raw(self, node: Node, q: Array) -> Array:
        if node.output.dtype == np.uint8:
            return self._from_floats(node, q)
        if node.output.dtype == np.int16:
            return logistic16(q, *any_scale(node.input(0).q.s))
        multiplier, shift, radius = multiplier_for(node.input(0).q.s, integer_bits=4)
        x = q - node.input(0).q.z
        inside = np.clip(x, min(0, 1 - radius), max(0, radius - 1))
        y = rounding_shift(logistic(requantize(inside, multiplier, shift), integer_bits=4), 23) - 128
        return np.where(x <= -radius, -128, np.where(x >= radius, 127, np.clip(y, -128, 127)))

    def _from_floats(self, node: Node, q: Array) -> Array:
        """uint8 as LiteRT has it, the only one that has it: float32 results, rounded."""
        x, y = node.input(0).q, node.output.q
        real = np.float32(1) / (np.float32(1) + np.exp(-(x.scale[0] * (q - x.z).astype(np.float32))))
        steps = np.trunc(real / y.scale[0] + np.float32(0.5)).astype(np.int64)  # a sigmoid is not negative
        return np.asarray(np.clip(steps + y.z, 0, 255))

    def emit_int16(self, node: Node, code: LayerCode) -> None:
        emit_table_16(node, code, LOGISTIC_S16)

    def real(self, x: Array) -> Array:
        """Below -9 exp(x) is as good and keeps its digits, as in TFLM's reference."""
        with np.errstate(over="ignore"):
            return np.where(x < -9, np.exp(x), np.float32(1) / (np.float32(1) + np.exp(-x)))
