"""FILL and ZEROS_LIKE: tensors of one value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import Move, input_shape
from tinymaix.ops.tables import LARGEST


@dataclass(frozen=True)
class Fill(Move):
    """Input: one value, given at run time or constant. The output has it everywhere."""

    shape: Shape

    kind: ClassVar[str] = "FILL"
    tflite: ClassVar[tuple[int, int]] = (94, 68)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Fill:
        return cls(constant_ints(inputs, 0, "the shape"))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[1:2]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {}, [int_tensor("shape", self.shape), node.input(0)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if math.prod(input_shape(inputs)) != 1 or min(self.shape, default=0) < 0 or math.prod(self.shape) > LARGEST:
            raise ModelError(f"{list(self.shape)} cannot be filled with a value of shape {list(input_shape(inputs))}")
        return [self.shape]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.full(self.shape, array(inputs[0]).reshape(()))]

    def emit(self, node: Node, code: LayerCode) -> None:
        y = node.output
        code.call(FILL_WITH, x=code.input(0), y=code.output(), itemsize=y.dtype.itemsize, elements=y.elements)


@dataclass(frozen=True)
class ZerosLike(Move):
    """Zeros in the shape and type of the input: raw ones, as TFLM has them."""

    kind: ClassVar[str] = "ZEROS_LIKE"
    tflite: ClassVar[tuple[int, int]] = (93, 67)
    types = ("int8", "int32", "int64", "float32")

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.zeros(node.output.shape, node.output.dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(ZERO_BYTES, y=code.output(), bytes=node.output.nbytes)


FILL_WITH = Kernel(
    "fill_with",
    """\
static void fill_with(const void *x, void *y, int itemsize, int elements)
{
    for (int i = 0; i < elements; i++)
        memcpy((int8_t *)y + i * itemsize, x, (size_t)itemsize);
}
""",
)

ZERO_BYTES = Kernel(
    "zero_bytes",
    """\
static inline void zero_bytes(void *y, int bytes)
{
    memset(y, 0, (size_t)bytes);
}
""",
)
