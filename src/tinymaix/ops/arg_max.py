"""ARG_MAX and ARG_MIN: where along an axis the largest or smallest value stands; the first of equal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array, int_tensor, positive_axis
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.expand_dims import single_axis
from tinymaix.ops.move import elements, input_shape

_INDEX_TYPES = {"int32": 2, "int64": 4}  # with their code of TFLite's TensorType


@dataclass(frozen=True)
class ArgMax(Operator):
    """Input int8 or float32, output int32 or int64 without the axis."""

    axis: int

    kind: ClassVar[str] = "ARG_MAX"
    tflite: ClassVar[tuple[int, int]] = (56, 40)
    sign: ClassVar[str] = ">"
    """How the value that is looked for compares to the others."""

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> ArgMax:
        return cls(single_axis(inputs, 1))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        axis = int_tensor("axis", self.axis)
        return {0: ("i8", _INDEX_TYPES.get(node.output.dtype.name, 2))}, [*node.inputs, axis]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        axis = positive_axis(self.axis, len(shape))
        if not shape[axis]:
            raise ModelError(f"{self.kind} over axis {axis} of {list(shape)}, which is empty")
        return [shape[:axis] + shape[axis + 1 :]]

    def problems(self, node: Node) -> list[str]:
        x, y = node.input(0), node.output
        if x.dtype.name not in self.types:
            return [f"'{x.name}' is {x.dtype}; supported are {' and '.join(self.types)}"]
        if y.dtype.name not in _INDEX_TYPES:
            return [f"output '{y.name}' is {y.dtype}; supported are {' and '.join(_INDEX_TYPES)}"]
        return []

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        find = np.argmax if self.sign == ">" else np.argmin
        return [np.asarray(find(array(inputs[0]), self.axis)).astype(node.output.dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        x = node.input(0)
        axis = positive_axis(self.axis, len(x.shape))
        code.call(
            arg_max_kernel(x.dtype.name, node.output.dtype.name, self.sign),
            x=code.input(0),
            y=code.output(),
            outer=elements(x.shape[:axis]),
            size=x.shape[axis],
            inner=elements(x.shape[axis + 1 :]),
        )


@dataclass(frozen=True)
class ArgMin(ArgMax):
    kind: ClassVar[str] = "ARG_MIN"
    tflite: ClassVar[tuple[int, int]] = (79, 57)
    sign: ClassVar[str] = "<"


def arg_max_kernel(x: str, y: str, sign: str) -> Kernel:
    """The kernel for a type of values, a type of indices, and how the value that is looked for compares."""
    name = f"arg_{'max' if sign == '>' else 'min'}_{x}_{y}"
    return Kernel(
        name,
        f"""\
/* Index of the first value that is {sign} all others along the middle axis of x[outer][size][inner] */
static void {name}(const {C_TYPES[x]} *x, {C_TYPES[y]} *y, int outer, int size, int inner)
{{
    for (int o = 0; o < outer; o++, x += size * inner)
        for (int i = 0; i < inner; i++) {{
            int best = 0;
            for (int k = 1; k < size; k++)
                if (x[k * inner + i] {sign} x[best * inner + i])
                    best = k;
            *y++ = best;
        }}
}}
""",
    )
