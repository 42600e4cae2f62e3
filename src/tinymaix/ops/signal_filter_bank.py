"""SIGNAL_FILTER_BANK: energies of frequencies summed into overlapping triangular channels.

Every frequency gives its weight to one channel and the rest to the next, so each channel sums two runs of products:
the rests of the run before its own, and the weights of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array, constant
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape
from tinymaix.ops.signal import Signal, constant_data


@dataclass(frozen=True)
class SignalFilterBank(Signal):
    """Inputs: energies, weights, rests, and for each of ``channels`` + 1 runs its first frequency, its first weight and
    its width."""

    channels: int

    kind: ClassVar[str] = "SIGNAL_FILTER_BANK"
    tflite_custom: ClassVar[str] = "SignalFilterBank"
    takes: ClassVar[tuple[str, ...]] = ("uint32", "int16", "int16", "int16", "int16", "int16")
    gives: ClassVar[tuple[str, ...]] = ("uint64",)
    constants: ClassVar[int] = 5
    options: ClassVar[dict[str, str]] = {"channels": "num_channels"}

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        size = input_shape(inputs)
        weights, rests, frequency, first, width = (
            constant(inputs, i, what).astype(np.int64)
            for i, what in enumerate(("weights", "rests", "first frequencies", "first weights", "widths"), start=1)
        )
        runs = (self.channels + 1,)
        if len(size) != 1 or weights.ndim != 1 or weights.shape != rests.shape or self.channels < 1:
            raise ModelError(f"weights {weights.shape} and rests {rests.shape} of {list(size)} energies do not fit")
        if frequency.shape != runs or first.shape != runs or width.shape != runs:
            raise ModelError(f"{self.channels} channels need runs of {runs[0]}, not {frequency.shape[0]}")
        starts = min(frequency.min(), first.min(), width.min())
        if starts < 0 or (frequency + width).max() > size[0] or (first + width).max() > weights.size:
            raise ModelError("a channel of the filter bank reaches beyond its energies or weights")
        return [(self.channels,)]

    def macs(self, node: Node) -> int:
        return 2 * int(constant_data(node, 5).astype(np.int64).sum())

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        energies = array(inputs[0]).astype(np.uint64)
        weights, rests = (array(inputs[i]).astype(np.int64).astype(np.uint64) for i in (1, 2))
        sums = np.zeros(self.channels + 2, np.uint64)
        for i, (frequency, first, width) in enumerate(zip(*(array(v).tolist() for v in inputs[3:6]), strict=True)):
            run = energies[frequency : frequency + width]
            sums[i] += (weights[first : first + width] * run).sum(dtype=np.uint64)
            sums[i + 1] += (rests[first : first + width] * run).sum(dtype=np.uint64)
        return [sums[1:-1]]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            SIGNAL_FILTER_BANK,
            x=code.input(0),
            weights=self.flash(node, code, 1, "weights"),
            rests=self.flash(node, code, 2, "rests"),
            frequencies=self.flash(node, code, 3, "frequencies"),
            firsts=self.flash(node, code, 4, "firsts"),
            widths=self.flash(node, code, 5, "widths"),
            y=code.output(),
            channels=self.channels,
        )


SIGNAL_FILTER_BANK = Kernel(
    "signal_filter_bank",
    """\
/* The first of channels + 1 runs gives only its rests */
static void signal_filter_bank(const uint32_t *x, const int16_t *weights, const int16_t *rests,
    const int16_t *frequencies, const int16_t *firsts, const int16_t *widths, uint64_t *y, int channels)
{
    uint64_t rest = 0;
    for (int i = 0; i <= channels; i++) {
        const uint32_t *energy = x + FLASH_I16(frequencies + i);
        int first = FLASH_I16(firsts + i), width = FLASH_I16(widths + i);
        uint64_t sum = rest;
        rest = 0;
        for (int j = 0; j < width; j++) {
            sum += (uint64_t)(int64_t)FLASH_I16(weights + first + j) * energy[j];
            rest += (uint64_t)(int64_t)FLASH_I16(rests + first + j) * energy[j];
        }
        if (i > 0)
            y[i - 1] = sum;
    }
}
""",
)
