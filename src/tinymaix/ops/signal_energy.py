"""SIGNAL_ENERGY: the squared magnitude of complex int16 values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape
from tinymaix.ops.signal import Signal


@dataclass(frozen=True)
class SignalEnergy(Signal):
    """Of the values from ``start`` to ``end``; the others are 0, where TFLM leaves what was there before."""

    start: int
    end: int

    kind: ClassVar[str] = "SIGNAL_ENERGY"
    tflite_custom: ClassVar[str] = "SignalEnergy"
    takes: ClassVar[tuple[str, ...]] = ("int16",)
    gives: ClassVar[tuple[str, ...]] = ("uint32",)
    options: ClassVar[dict[str, str]] = {"start": "start_index", "end": "end_index"}

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if len(shape) != 1 or shape[0] % 2 or not 0 <= self.start <= self.end <= shape[0] // 2:
            raise ModelError(f"values {self.start} to {self.end} are not all among {list(shape)} numbers in pairs")
        return [(shape[0] // 2,)]

    def macs(self, node: Node) -> int:
        return 2 * (self.end - self.start)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        pairs = array(inputs[0]).astype(np.int64).reshape(-1, 2)
        energy = (pairs**2).sum(axis=1)
        energy[: self.start] = energy[self.end :] = 0
        return [energy.astype(np.uint32)]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            SIGNAL_ENERGY, x=code.input(0), y=code.output(), n=node.output.elements, start=self.start, end=self.end
        )


SIGNAL_ENERGY = Kernel(
    "signal_energy",
    """\
static void signal_energy(const int16_t *x, uint32_t *y, int n, int start, int end)
{
    for (int i = 0; i < n; i++, x += 2) {
        uint32_t re = (uint32_t)((int32_t)x[0] * x[0]), im = (uint32_t)((int32_t)x[1] * x[1]);
        y[i] = i >= start && i < end ? re + im : 0;
    }
}
""",
)
