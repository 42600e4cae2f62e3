"""RELU: max(x, 0). int8 is requantized to the output's scale and then clamped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import quantize_multiplier, quantized_range, requantize
from tinymaix.ops.lookup import RELU_F32, Unary


@dataclass(frozen=True)
class Relu(Unary):
    kind: ClassVar[str] = "RELU"
    tflite: ClassVar[tuple[int, int]] = (19, 0)
    float_kernel: ClassVar[Kernel] = RELU_F32

    def raw(self, node: Node, q: Array) -> Array:
        return requantize_and_clamp(node, q, "relu", node.input(0).q.s / node.output.q.s)

    def real(self, x: Array) -> Array:
        return np.where(x < 0, np.float32(0), x)


def requantize_and_clamp(node: Node, q: Array, activation: str, ratio: float) -> Array:
    """Raw values times ``ratio`` (of the scales of input and output), clamped to the range of ``activation``."""
    x, y = node.input(0).q, node.output.q
    low, high = quantized_range(activation, node.output)
    return np.asarray(np.clip(requantize(q - x.z, *quantize_multiplier(ratio)) + y.z, low, high))


def float_ratio(node: Node) -> float:
    """Ratio of the scales of input and output in float32, as LiteRT takes it."""
    return float(node.input(0).q.scale[0] / node.output.q.scale[0])
