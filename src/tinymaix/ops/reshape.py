"""RESHAPE: the same elements under another shape. A view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor
from tinymaix.ops.move import View, elements, input_shape
from tinymaix.ops.tmdl import Operand, StoredLayer


@dataclass(frozen=True)
class Reshape(View):
    """One dimension of ``shape`` may be -1: what the others leave."""

    shape: Shape

    kind: ClassVar[str] = "RESHAPE"
    tflite: ClassVar[tuple[int, int]] = (22, 17)
    tmdl = (4, "reshape")

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Reshape:
        """The shape of input 1 (if it is computed at run time, the output's, as TFLM takes it), else the options'."""
        shape = inputs[1] if len(inputs) > 1 else None
        if shape is not None and shape.is_constant:
            return cls(constant_ints(inputs, 1, "the new shape"))
        if shape is not None and outputs:
            return cls(outputs[0].shape)
        listed = tuple(options.ints(0))
        if not listed:
            raise ModelError("a new shape is missing: there is neither an input 1 nor an option for it")
        return cls(() if listed == (0,) else listed)  # [0] was once the spelling of a scalar

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {0: ("ints", self.shape)}, [*node.inputs, int_tensor("shape", self.shape)]

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        return Node(cls(y.shape), [x], [y], layer.name)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        old = input_shape(inputs)
        known = elements([size for size in self.shape if size != -1])
        shape = self.shape
        if shape.count(-1) == 1 and known:
            shape = tuple(elements(old) // known if size == -1 else size for size in shape)
        if min(shape, default=1) < 0 or elements(shape) != elements(old):
            raise ModelError(f"{list(old)} cannot be reshaped to {list(self.shape)}: the numbers of elements differ")
        return [shape]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [array(inputs[0]).reshape(node.output.shape)]
