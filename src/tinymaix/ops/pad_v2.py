"""PADV2: PAD with a value that the model gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinymaix.graph import ModelError, Node, Tensor
from tinymaix.ops.base import OptionFields, Options, constant
from tinymaix.ops.pad import Pad, pads_of


@dataclass(frozen=True)
class PadV2(Pad):
    """``value`` is the raw value of the padding: in an int8 model it is quantized as the output."""

    value: int | float = 0

    kind: ClassVar[str] = "PADV2"
    tflite: ClassVar[tuple[int, int]] = (60, 43)

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> PadV2:
        data = constant(inputs, 2, "the value of PADV2")
        value = inputs[2]
        assert value is not None
        if data.size != 1:
            raise ModelError(f"the value of PADV2 ('{value.name}') must be one number, not {data.size}")
        if value.dtype == np.int8 and (value.q.s, value.q.z) != (outputs[0].q.s, outputs[0].q.z):
            raise ModelError(f"the value of PADV2 ('{value.name}') must be quantized as the output '{outputs[0].name}'")
        return cls(pads_of(inputs), data.reshape(-1)[0].item())

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        fields, inputs = super().to_tflite(node)
        y = node.output
        data = np.array([self.value], y.dtype)
        return fields, [*inputs, Tensor(f"{y.name}_value", data.shape, data.dtype, y.quantization, data)]

    def fill(self, output: Tensor) -> Any:
        return self.value
