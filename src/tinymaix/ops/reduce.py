"""SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ANY and REDUCE_ALL over any axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import array, same_quantization
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.fixed_point import quantize_multiplier, requantize, saturate
from tinymaix.ops.reduction import Reduction, reduction_kernel, sum_kernel


@dataclass(frozen=True)
class Sum(Reduction):
    """int8 or int16 with a scale of its own, or float32."""

    kind: ClassVar[str] = "SUM"
    tflite: ClassVar[tuple[int, int]] = (74, 27)
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, output = array(inputs[0]), node.output
        rows = self.rows(node, x)
        if x.dtype == np.float32:
            return [np.add.accumulate(rows, axis=1)[:, -1].reshape(output.shape)]
        total = rows.sum(axis=1, dtype=np.int64) - node.input(0).q.z * self.count(node)
        y = requantize(total, *self._scale(node)) + output.q.z
        return [saturate(y, output.dtype).reshape(output.shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        if node.output.dtype == np.float32:
            self.call(node, code, SUM_F32)
            return
        multiplier, shift = self._scale(node)
        zero_sum = node.input(0).q.z * self.count(node)
        self.call(
            node,
            code,
            SUMS[node.output.dtype.name],
            zero_sum=zero_sum,
            multiplier=multiplier,
            shift=shift,
            zero_y=node.output.q.z,
        )

    def _scale(self, node: Node) -> tuple[int, int]:
        return quantize_multiplier(node.input(0).q.s / node.output.q.s)


class _Select(Reduction):
    """Reduces elements by a function of two that needs no other scale."""

    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "int32", "float32")
    function: ClassVar[Callable[..., Any]]
    """The numpy function of two arrays, which has ``accumulate``."""

    kernels: ClassVar[dict[str, Kernel]]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, y = array(inputs[0]), node.output
        accumulated: Array = type(self).function.accumulate(self.rows(node, x), axis=1)  # type: ignore[attr-defined]
        return [accumulated[:, -1].astype(y.dtype).reshape(y.shape)]

    def emit(self, node: Node, code: LayerCode) -> None:
        self.call(node, code, self.kernels[node.output.dtype.name])


def _kernels(name: str, types: Sequence[str], step: str) -> dict[str, Kernel]:
    return {
        dtype: reduction_kernel(
            f"{name}_{dtype}",
            C_TYPES[dtype],
            f"{name}, {dtype}.",
            f"{C_TYPES[dtype]} result = *first;",
            f"{step};",
            "result",
        )
        for dtype in types
    }


@dataclass(frozen=True)
class ReduceMax(_Select):
    kind: ClassVar[str] = "REDUCE_MAX"
    tflite: ClassVar[tuple[int, int]] = (82, 27)
    function = np.maximum
    kernels = _kernels("reduce_max", _Select.types, "result = *element > result ? *element : result")


@dataclass(frozen=True)
class ReduceMin(_Select):
    kind: ClassVar[str] = "REDUCE_MIN"
    tflite: ClassVar[tuple[int, int]] = (89, 27)
    function = np.minimum
    kernels = _kernels("reduce_min", _Select.types, "result = *element < result ? *element : result")


@dataclass(frozen=True)
class ReduceAny(_Select):
    kind: ClassVar[str] = "REDUCE_ANY"
    tflite: ClassVar[tuple[int, int]] = (91, 27)
    types: ClassVar[tuple[str, ...]] = ("bool",)
    function = np.logical_or
    kernels = _kernels("reduce_any", types, "result |= *element")


@dataclass(frozen=True)
class ReduceAll(_Select):
    kind: ClassVar[str] = "REDUCE_ALL"
    tflite: ClassVar[tuple[int, int]] = (140, 27)
    types: ClassVar[tuple[str, ...]] = ("bool",)
    function = np.logical_and
    kernels = _kernels("reduce_all", types, "result &= *element")


@dataclass(frozen=True)
class ReduceProd(_Select):
    kind: ClassVar[str] = "REDUCE_PROD"
    tflite: ClassVar[tuple[int, int]] = (81, 27)
    types: ClassVar[tuple[str, ...]] = ("float32",)
    function = np.multiply
    kernels: ClassVar[dict[str, Kernel]] = {
        "float32": reduction_kernel(
            "reduce_prod_f32",
            "float",
            "Product, float.",
            "float result = 1.0f;",
            "result *= *element;",
            "result",
        )
    }


SUMS = {"int8": sum_kernel("sum_all_s8", "int8", "Sum"), "int16": sum_kernel("sum_all_s16", "int16", "Sum")}

SUM_F32 = reduction_kernel("sum_f32", "float", "Sum, float.", "float result = 0.0f;", "result += *element;", "result")
