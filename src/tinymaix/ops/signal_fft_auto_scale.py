"""SIGNAL_FFT_AUTO_SCALE: samples shifted up as far as the largest allows, and by how many bits.

TFLM keeps the largest magnitude in 16 bits, where that of -32768 is negative and forgotten; so does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape
from tinymaix.ops.signal import BIT_LENGTH, Signal


@dataclass(frozen=True)
class SignalFftAutoScale(Signal):
    """Outputs: the samples times 2**bits, and bits (one int32)."""

    kind: ClassVar[str] = "SIGNAL_FFT_AUTO_SCALE"
    tflite_custom: ClassVar[str] = "SignalFftAutoScale"
    takes: ClassVar[tuple[str, ...]] = ("int16",)
    gives: ClassVar[tuple[str, ...]] = ("int16", "int32")

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        return [input_shape(inputs), ()]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0]).astype(np.int64)
        largest = 0
        for value in x.reshape(-1).tolist():
            if value > largest:
                largest = value
            elif -value > largest:
                largest = -value if value > -32768 else value  # kept in int16
        bits = 15 - largest.bit_length() if largest > 0 else 0
        return [(x << bits).astype(np.int16), np.array(bits, np.int32)]

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(SIGNAL_FFT_AUTO_SCALE, x=code.input(0), y=code.output(), bits=code.output(1), n=node.output.elements)


SIGNAL_FFT_AUTO_SCALE = Kernel(
    "signal_fft_auto_scale",
    """\
static void signal_fft_auto_scale(const int16_t *x, int16_t *y, int32_t *bits, int n)
{
    int32_t largest = 0;
    for (int i = 0; i < n; i++)
        if (x[i] > largest)
            largest = x[i];
        else if (-(int32_t)x[i] > largest)
            largest = x[i] > -32768 ? -(int32_t)x[i] : x[i];
    int shift = largest > 0 ? 15 - bit_length((uint64_t)largest) : 0;
    *bits = shift;
    for (int i = 0; i < n; i++)
        y[i] = (int16_t)((int32_t)x[i] * (INT32_C(1) << shift));
}
""",
    (BIT_LENGTH,),
)
