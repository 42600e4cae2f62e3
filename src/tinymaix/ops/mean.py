"""MEAN over any axes: int8 or int16 requantized by a multiplier that holds 1 / count, as TFLM does it, or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.fixed_point import quantize_multiplier, requantize, saturate
from tinymaix.ops.reduction import Reduction, reduction_kernel, sum_kernel
from tinymaix.ops.tmdl import ModelType, Operand, StoredLayer


@dataclass(frozen=True)
class Mean(Reduction):
    kind: ClassVar[str] = "MEAN"
    tflite: ClassVar[tuple[int, int]] = (40, 27)
    tmdl = (1, "global average pool")
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        return Node(cls((1, 2), keep_dims=len(y.shape) == 4), [x], [y], layer.name)

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        shape = list(node.input(0).shape)
        if len(shape) == 4 and sorted(axis % 4 for axis in self.axes) == [1, 2]:
            return []
        return [
            f"it takes the mean over axes {list(self.axes)} of {shape}; a .tmdl takes it over height and width only"
        ]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, output = array(inputs[0]), node.output
        rows = self.rows(node, x)
        if x.dtype == np.float32:
            # accumulate adds one by one in order, as the kernel does; sum does not.
            total = np.add.accumulate(rows, axis=1)[:, -1]
            return [(total / np.float32(self.count(node))).reshape(output.shape)]
        zero_sum, multiplier, shift = self.scales(node)
        y = requantize(rows.sum(axis=1, dtype=np.int64) - zero_sum, multiplier, shift) + output.q.z
        return [saturate(y, output.dtype).reshape(output.shape)]

    def scales(self, node: Node) -> tuple[int, int, int]:
        """(zero_x * count, multiplier, shift): the multiplier holds scale_x / scale_y / count."""
        x, y, count = node.input(0).q, node.output.q, self.count(node)
        multiplier, shift = quantize_multiplier(x.s / y.s)
        # 1 / count keeps the multiplier's bits where the shift has room, see QuantizedMeanOrSum in TFLite's reduce.h.
        more = min(count.bit_length() - 1, 32, 31 + shift)
        return x.z * count, (multiplier << more) // count, shift - more

    def emit(self, node: Node, code: LayerCode) -> None:
        if node.output.dtype == np.float32:
            self.call(node, code, MEAN_F32, divisor=float(self.count(node)))
            return
        zero_sum, multiplier, shift = self.scales(node)
        self.call(
            node,
            code,
            KERNELS[node.output.dtype.name],
            zero_sum=zero_sum,
            multiplier=multiplier,
            shift=shift,
            zero_y=node.output.q.z,
        )


KERNELS = {
    "int8": sum_kernel("mean_s8", "int8", "Mean", ", and the multiplier divides by their number"),
    "int16": sum_kernel("mean_s16", "int16", "Mean", ", and the multiplier divides by their number"),
}

MEAN_F32 = reduction_kernel(
    "mean_f32",
    "float",
    "Mean, float.",
    "float result = 0.0f;",
    "result += *element;",
    "result / divisor",
    ", float divisor",
)
