"""RELU6: min(max(x, 0), 6). int8 is requantized to the output's scale and then clamped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.lookup import CLAMP_ALL_F32, Unary
from tinymaix.ops.relu import float_ratio, requantize_and_clamp


@dataclass(frozen=True)
class Relu6(Unary):
    kind: ClassVar[str] = "RELU6"
    tflite: ClassVar[tuple[int, int]] = (21, 0)
    float_kernel: ClassVar[Kernel] = CLAMP_ALL_F32

    def raw(self, node: Node, q: Array) -> Array:
        """TFLM leaves the values on the input's scale. Where input and output share one, as converters make them, that
        is the same; where they do not, this follows LiteRT, which is right."""
        return requantize_and_clamp(node, q, "relu6", float_ratio(node))

    def real(self, x: Array) -> Array:
        return np.clip(x, np.float32(0), np.float32(6))

    def float_arguments(self) -> dict[str, Argument]:
        return {"low": 0.0, "high": 6.0}
