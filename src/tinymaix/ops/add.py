"""ADD: int8 or int16 with a scale for each tensor, float32 or int32 (wrapping), with a fused activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Tensor
from tinymaix.ops.elementwise import CLAMP_PARAMETERS, Arithmetic, binary_kernel
from tinymaix.ops.emit import Argument, Kernel
from tinymaix.ops.fixed_point import CLAMP, CLAMP_F32, wrap32
from tinymaix.ops.sums import LEFT_SHIFT, common_scale, rescaled_sum, sum_kernel, sum_scales
from tinymaix.ops.tmdl import (
    LayerToWrite,
    ModelType,
    Operand,
    StoredLayer,
    Struct,
    activation_problems,
    has_quantization,
)

TMDL_BODY = Struct("IfZ4x")
"""Offset of the kept operand; scale and zero point of the second one."""


@dataclass(frozen=True)
class Add(Arithmetic):
    """y = activation(a + b)."""

    kind: ClassVar[str] = "ADD"
    tflite: ClassVar[tuple[int, int]] = (0, 11)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32", "int32")
    tmdl = (6, "add")

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        """The original's files have the scales of the operands in the order of the addition, but the offset of the
        operand computed last always comes first. So what the operands' own layers say of their scales decides which is
        which."""
        offset, scale, zero_point = layer.body(TMDL_BODY)
        first = layer.quantization(layer.head.in_s, layer.head.in_zp)
        second = layer.quantization(scale, zero_point)
        kept = operand(offset)
        for inputs in ([x, kept], [kept, x]):
            if has_quantization(inputs[0], first) and has_quantization(inputs[1], second):
                return Node(cls(), list(inputs), [y], layer.name)
        raise ModelError(f"its scales are not those that '{x.name}' and '{kept.name}' were computed with")

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        problems = activation_problems(node, self.activation)
        if len(node.activations) < 2 or any(t.shape != node.output.shape for t in node.activations):
            shapes = " and ".join(str(list(t.shape)) for t in node.present)
            problems.append(f"it adds {shapes}; a .tmdl adds two computed tensors of one shape")
        return problems

    def to_tmdl(self, layer: LayerToWrite) -> bytes:
        return layer.body(TMDL_BODY, (layer.offset(layer.other), *layer.quantization(layer.node.input(1))))

    def problems(self, node: Node) -> list[str]:
        if node.output.dtype == np.int32 and self.activation != "none":
            return [f"TFLM ignores the fused {self.activation} of an int32 ADD and LiteRT does not; add a RELU node"]
        return super().problems(node)

    def values(self, node: Node, a: Array, b: Array) -> Array:
        if node.output.dtype.name in LEFT_SHIFT:
            a, b = common_scale(node, a, b)
            return self.activate(node, rescaled_sum(node, a + b))
        if node.output.dtype == np.int32:
            return self.activate(node, wrap32(a.astype(np.int64) + b))
        return self.activate(node, a + b)

    def parameters(self, node: Node) -> dict[str, Argument]:
        return {**sum_scales(node), **self.clamp(node)}

    def kernel(self, dtype: str) -> Kernel:
        return KERNELS[dtype]


KERNELS = {
    "int8": sum_kernel("add_s8", "+", "int8"),
    "int16": sum_kernel("add_s16", "+", "int16"),
    "float32": binary_kernel(
        "add_f32",
        "float",
        "y = a + b, float.",
        CLAMP_PARAMETERS["float32"],
        """\
            *y = clamp_f32(*a + *b, low, high);
""",
        CLAMP_F32,
    ),
    "int32": binary_kernel(
        "add_s32",
        "int32_t",
        "y = a + b, wrapping int32.",
        CLAMP_PARAMETERS["int32"],
        """\
            *y = clamp((int32_t)((uint32_t)*a + (uint32_t)*b), low, high);
""",
        CLAMP,
    ),
}
