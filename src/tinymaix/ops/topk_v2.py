"""TOPK_V2: the k largest values along the last axis, largest first, and where they stand; the first of equal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array, constant_ints, int_tensor
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.move import elements, input_shape

TYPES = ("int8", "int16", "int32", "float32")
INDEX_TYPES = ("int32", "int16")


@dataclass(frozen=True)
class TopK(Operator):
    """Outputs: values of the input's type, int32 or int16 indices."""

    k: int

    kind: ClassVar[str] = "TOPK_V2"
    tflite: ClassVar[tuple[int, int]] = (48, 34)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> TopK:
        k = constant_ints(inputs, 1, "k")
        if len(k) != 1:
            raise ModelError(f"k is one number, not {list(k)}")
        return cls(k[0])

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [*node.inputs, int_tensor("k", self.k)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if not shape or not 1 <= self.k <= shape[-1]:
            raise ModelError(f"the {self.k} largest of the last axis of {list(shape)} do not exist")
        return [(*shape[:-1], self.k)] * 2

    def problems(self, node: Node) -> list[str]:
        x, (values, indices) = node.input(0), node.outputs
        if x.dtype.name not in TYPES or values.dtype != x.dtype or indices.dtype.name not in INDEX_TYPES:
            return [
                f"'{x.name}' is {x.dtype}, its outputs {values.dtype} and {indices.dtype}; supported are "
                f"{', '.join(TYPES)} with indices of {' or '.join(INDEX_TYPES)}"
            ]
        return []

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        wide = x if x.dtype == np.float32 else x.astype(np.int64)
        order = np.argsort(-wide, axis=-1, kind="stable")[..., : self.k]
        return [np.take_along_axis(x, order, -1), order.astype(node.outputs[1].dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        x = node.input(0)
        code.call(
            top_k_kernel(x.dtype.name, node.outputs[1].dtype.name),
            x=code.input(0),
            values=code.output(0),
            indices=code.output(1),
            rows=elements(x.shape[:-1]),
            size=x.shape[-1],
            k=self.k,
        )


def top_k_kernel(dtype: str, index: str) -> Kernel:
    """The kernel for a type of values and a type of indices."""
    name, kind = f"top_k_{dtype}_{index}", C_TYPES[dtype]
    return Kernel(
        name,
        f"""\
/* The k largest of each row, each moved up past those that it is larger than */
static void {name}(const {kind} *x, {kind} *values, {C_TYPES[index]} *indices, int rows, int size, int k)
{{
    for (int row = 0; row < rows; row++, x += size, values += k, indices += k)
        for (int i = 0; i < size; i++) {{
            int at = i < k ? i : k;
            for (; at > 0 && x[i] > values[at - 1]; at--)
                if (at < k) {{
                    values[at] = values[at - 1];
                    indices[at] = indices[at - 1];
                }}
            if (at < k) {{
                values[at] = x[i];
                indices[at] = ({C_TYPES[index]})i;
            }}
        }}
}}
""",
    )
