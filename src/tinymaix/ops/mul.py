"""MUL: int8 or int16 with a scale for each tensor, float32 or int32 (wrapping), with a fused activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.elementwise import CLAMP_PARAMETERS, Arithmetic, binary_kernel
from tinymaix.ops.emit import C_TYPES, Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32, REQUANTIZE, quantize_multiplier, requantize, wrap32


@dataclass(frozen=True)
class Mul(Arithmetic):
    """y = activation(a * b)."""

    kind: ClassVar[str] = "MUL"
    tflite: ClassVar[tuple[int, int]] = (18, 21)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32", "int32")

    def values(self, node: Node, a: Array, b: Array) -> Array:
        if node.output.dtype in (np.int8, np.int16):
            product = (a.astype(np.int64) - node.input(0).q.z) * (b.astype(np.int64) - node.input(1).q.z)
            return self.activate(node, requantize(product, *_multiplier(node)) + node.output.q.z)
        if node.output.dtype == np.int32:
            return self.activate(node, wrap32(a.astype(np.int64) * b))
        return self.activate(node, a * b)

    def parameters(self, node: Node) -> dict[str, Argument]:
        if node.output.dtype not in (np.int8, np.int16):
            return self.clamp(node)
        multiplier, shift = _multiplier(node)
        return {
            "zero_a": node.input(0).q.z,
            "zero_b": node.input(1).q.z,
            "zero_y": node.output.q.z,
            "multiplier": multiplier,
            "shift": shift,
            **self.clamp(node),
        }

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


def _multiplier(node: Node) -> tuple[int, int]:
    return quantize_multiplier(node.input(0).q.s * node.input(1).q.s / node.output.q.s)


def _quantized(name: str, dtype: str) -> Kernel:
    return binary_kernel(
        name,
        C_TYPES[dtype],
        f"y = a * b, {dtype} with a scale each.",
        """,
    int32_t zero_a, int32_t zero_b, int32_t zero_y, int32_t multiplier, int shift, int32_t low, int32_t high""",
        f"""\
            int32_t product = requantize((*a - zero_a) * (*b - zero_b), multiplier, shift) + zero_y;
            *y = ({C_TYPES[dtype]})clamp(product, low, high);
""",
        REQUANTIZE,
        CLAMP,
    )


KERNELS = {
    "int8": _quantized("mul_s8", "int8"),
    "int16": _quantized("mul_s16", "int16"),
    "float32": binary_kernel(
        "mul_f32",
        "float",
        "y = a * b, float.",
        CLAMP_PARAMETERS["float32"],
        """\
            *y = clamp_f32(*a * *b, low, high);
""",
        CLAMP_F32,
    ),
    "int32": binary_kernel(
        "mul_s32",
        "int32_t",
        "y = a * b, wrapping int32.",
        CLAMP_PARAMETERS["int32"],
        """\
            *y = clamp((int32_t)((uint32_t)*a * (uint32_t)*b), low, high);
""",
        CLAMP,
    ),
}
