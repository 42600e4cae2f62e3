"""RELU_N1_TO_1: min(max(x, -1), 1). int8 is requantized and clamped as LiteRT does it; TFLM has no such operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.lookup import CLAMP_ALL_F32, Unary
from tinymaix.ops.relu import float_ratio, requantize_and_clamp


@dataclass(frozen=True)
class ReluN1To1(Unary):
    kind: ClassVar[str] = "RELU_N1_TO_1"
    tflite: ClassVar[tuple[int, int]] = (20, 0)
    float_kernel: ClassVar[Kernel] = CLAMP_ALL_F32

    def raw(self, node: Node, q: Array) -> Array:
        return requantize_and_clamp(node, q, "relu_n1_to_1", float_ratio(node))

    def real(self, x: Array) -> Array:
        return np.clip(x, np.float32(-1), np.float32(1))

    def float_arguments(self) -> dict[str, Argument]:
        return {"low": -1.0, "high": 1.0}
