"""What the operators of TFLM's signal library share: the types they take, and constants that stand in flash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import CustomOptions, Operator
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape


class Signal(Operator):
    """An operator on integers without quantization, whose inputs and outputs each have a type of their own."""

    takes: ClassVar[tuple[str, ...]]
    """Type of each input."""
    gives: ClassVar[tuple[str, ...]]
    """Type of each output."""
    constants: ClassVar[int] = 0
    """How many of the last inputs must be constants."""
    options: ClassVar[dict[str, str]] = {}
    """Name of each field among the options in a .tflite."""

    @classmethod
    def from_custom(
        cls, options: CustomOptions, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Operator:
        make: Callable[..., Operator] = cls
        return make(**{field: options.integer(name) for field, name in cls.options.items()})

    def to_custom(self, node: Node) -> tuple[dict[str, int | float], list[Tensor | None]]:
        return {name: getattr(self, field) for field, name in self.options.items()}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        if len(inputs) != len(self.takes):
            raise ModelError(f"{self.kind} takes {len(self.takes)} inputs, not {len(inputs)}")
        return self.shapes(inputs)

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        """`infer` where the number of inputs is right: outputs of the shape of the first input."""
        return [input_shape(inputs)] * len(self.gives)

    def problems(self, node: Node) -> list[str]:
        tensors = [*(node.input(i) for i in range(len(self.takes))), *node.outputs]
        fixed = node.inputs[len(self.takes) - self.constants : len(self.takes)]
        return [
            f"'{tensor.name}' is {tensor.dtype}; {self.kind} has {wanted} there"
            for tensor, wanted in zip(tensors, (*self.takes, *self.gives), strict=True)
            if tensor.dtype.name != wanted
        ] + [
            f"'{t.name}' is computed at run time; {self.kind} needs a constant there"
            for t in fixed
            if t is not None and t.data is None
        ]

    def flash(self, node: Node, code: LayerCode, index: int, role: str) -> str:
        """C name of constant input ``index``, in flash."""
        return code.constant(role, constant_data(node, index))


def constant_data(node: Node, index: int) -> Array:
    data = node.input(index).data
    if data is None:
        raise ModelError(f"'{node.input(index).name}' is computed at run time; {node.op.kind} needs a constant there")
    return data


def bit_length(x: Array) -> Array:
    """Bits up to the highest one that is set, of unsigned values; 0 for 0."""
    bits = np.zeros(x.shape, np.int64)
    rest = x.astype(np.uint64)
    for step in (32, 16, 8, 4, 2, 1):
        high = (rest >> np.uint64(step)) != 0
        bits += np.where(high, step, 0)
        rest = np.where(high, rest >> np.uint64(step), rest)
    return np.asarray(bits + (rest != 0))


BIT_LENGTH = Kernel(
    "bit_length",
    """\
/* Bits up to the highest one that is set */
static inline int bit_length(uint64_t x)
{
    int bits = 0;
    for (int step = 32; step > 0; step /= 2)
        if (x >> step) {
            bits += step;
            x >>= step;
        }
    return bits + (x != 0);
}
""",
)
