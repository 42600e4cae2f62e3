"""CAST: numbers to another type. Floats are cut to whole numbers, and saturate where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.move import input_shape

TYPES = ("bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "float32")
_CODES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9, "uint32": 15}


@dataclass(frozen=True)
class Cast(Operator):
    kind: ClassVar[str] = "CAST"
    tflite: ClassVar[tuple[int, int]] = (53, 37)
    types: ClassVar[tuple[str, ...]] = TYPES

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Cast:
        return cls()

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        codes = _CODES[node.input(0).dtype.name], _CODES[node.output.dtype.name]
        return {0: ("i8", codes[0]), 1: ("i8", codes[1])}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def problems(self, node: Node) -> list[str]:
        return [
            f"'{t.name}' is {t.dtype}; supported are {', '.join(TYPES)}"
            for t in (node.input(0), node.output)
            if t.dtype.name not in TYPES
        ]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, target = array(inputs[0]), node.output.dtype
        if x.dtype != np.float32 or target.kind not in "iu":
            return [x.astype(target)]
        limits = np.iinfo(target)
        whole = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0)
        above, below = whole >= float(limits.max) + 1, whole < float(limits.min)
        inside = np.where(above | below, 0, whole).astype(target)
        return [np.where(above, target.type(limits.max), np.where(below, target.type(limits.min), inside))]

    def overwrites(self, node: Node) -> list[int]:
        return [0] if node.output.dtype.itemsize <= node.input(0).dtype.itemsize else []

    def emit(self, node: Node, code: LayerCode) -> None:
        kernel = cast_kernel(node.input(0).dtype.name, node.output.dtype.name)
        code.call(kernel, x=code.input(0), y=code.output(), n=node.output.elements)


def cast_kernel(x: str, y: str) -> Kernel:
    """The kernel from a type to another."""
    name, value = f"cast_{x}_{y}", f"({C_TYPES[y]})x[i]"
    if y == "bool":
        value = f"x[i] != {'0.0f' if x == 'float32' else '0'}"
    elif x == "float32" and y != "float32":
        info = np.iinfo(y)
        low, high = _limit(info.min, y), _limit(info.max, y)
        top = f"{float(info.max) + 1:.1f}f" if info.bits > 24 else f"{info.max}.0f"
        value = f"x[i] != x[i] ? 0 : x[i] >= {top} ? {high} : x[i] <= {float(info.min):.1f}f ? {low} : {value}"
    return Kernel(
        name,
        f"""\
static void {name}(const {C_TYPES[x]} *x, {C_TYPES[y]} *y, int n)
{{
    for (int i = 0; i < n; i++)
        y[i] = {value};
}}
""",
    )


def _limit(value: int, dtype: str) -> str:
    """The limit of a type as stdint.h names it."""
    return "0" if value == 0 else f"{dtype.upper()}_{'MIN' if value < 0 else 'MAX'}"
