"""READ_VARIABLE and ASSIGN_VARIABLE: copy a state to an activation, and back.

A .tflite has them with handles and a subgraph of first values; its reader turns those into states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import Move, input_shape

NOTHING: Shape = (0,)


@dataclass(frozen=True)
class ReadVariable(Move):
    """Input: a state. Output: its value now."""

    kind: ClassVar[str] = "READ_VARIABLE"
    takes_states: ClassVar[bool] = True

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs)]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [array(inputs[0]).copy()]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(COPY_BYTES, x=code.input(0), y=code.output(), bytes=node.output.nbytes)


@dataclass(frozen=True)
class AssignVariable(Move):
    """Inputs: a state, its new value. The output has no elements: it is there since every node has one."""

    kind: ClassVar[str] = "ASSIGN_VARIABLE"
    takes_states: ClassVar[bool] = True

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        state, value = input_shape(inputs), input_shape(inputs, 1)
        if state != value:
            raise ModelError(f"a state of shape {list(state)} cannot take a value of shape {list(value)}")
        return [NOTHING]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        np.copyto(array(inputs[0]), array(inputs[1]))
        return [np.zeros(NOTHING, node.output.dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(COPY_BYTES, x=code.input(1), y=code.input(0), bytes=node.input(1).nbytes)


COPY_BYTES = Kernel(
    "copy_bytes",
    """\
static inline void copy_bytes(const void *x, void *y, int bytes)
{
    memcpy(y, x, (size_t)bytes);
}
""",
)
