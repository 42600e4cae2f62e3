"""SIGNAL_WINDOW: int16 samples weighted by a window, shifted down and saturated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fixed_point import saturate
from tinymaix.ops.move import input_shape
from tinymaix.ops.signal import Signal


@dataclass(frozen=True)
class SignalWindow(Signal):
    """Inputs: samples whose last axis is as long as the window; the window."""

    shift: int

    kind: ClassVar[str] = "SIGNAL_WINDOW"
    tflite_custom: ClassVar[str] = "SignalWindow"
    takes: ClassVar[tuple[str, ...]] = ("int16", "int16")
    gives: ClassVar[tuple[str, ...]] = ("int16",)
    constants: ClassVar[int] = 1
    options: ClassVar[dict[str, str]] = {"shift": "shift"}

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, window = input_shape(inputs), input_shape(inputs, 1)
        if not 0 <= self.shift < 32 or len(window) != 1 or not x or x[-1] != window[0]:
            raise ModelError(f"samples {list(x)} and a window {list(window)}, shifted by {self.shift}, do not fit")
        return [x]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        product = array(inputs[0]).astype(np.int64) * array(inputs[1])
        return [saturate(product >> self.shift, np.dtype(np.int16))]

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit(self, node: Node, code: LayerCode) -> None:
        window = node.input(1).elements
        code.call(
            SIGNAL_WINDOW,
            x=code.input(0),
            window=self.flash(node, code, 1, "window"),
            y=code.output(),
            rows=node.output.elements // max(window, 1),
            size=window,
            shift=self.shift,
        )


SIGNAL_WINDOW = Kernel(
    "signal_window",
    """\
static void signal_window(const int16_t *x, const int16_t *window, int16_t *y, int rows, int size, int shift)
{
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < size; i++) {
            int32_t value = (int32_t)*x++ * FLASH_I16(window + i) >> shift;
            *y++ = (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
        }
}
""",
)
