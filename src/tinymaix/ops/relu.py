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
        return requantize_and_clamp(node, q, "relu")

    def real(self, x: Array) -> Array:
        return np.where(x < 0, np.float32(0), x)


def requantize_and_clamp(node: Node, q: Array, activation: str) -> Array:
    """Raw values on the input's scale -> the output's scale, clamped to the range of ``activation``.

    TFLM's RELU6 alone leaves the values on the input's scale. Where the two scales are one, as converters make them,
    that is the same; where they are not, this follows LiteRT, which is right.
    """
    x, y = node.input(0).q, node.output.q
    low, high = quantized_range(activation, node.output)
    return np.asarray(np.clip(requantize(q - x.z, *quantize_multiplier(x.s / y.s)) + y.z, low, high))
