"""SIGNAL_FILTER_BANK_SPECTRAL_SUBTRACTION: channels less a smoothed estimate of their noise, which is a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import CustomOptions, array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape
from tinymaix.ops.signal import Signal


@dataclass(frozen=True)
class SignalFilterBankSpectralSubtraction(Signal):
    """Inputs: channels; the estimate, a state. Outputs: channels; the estimate, for operators behind.

    ``smoothing`` and ``keeping`` are the weights of the new value and of the estimate, on even channels and on odd
    ones; ``floor`` is the share of a channel that remains at least: all with ``bits`` fractional bits. The estimate has
    ``more_bits`` fractional bits. ``clamping``: the estimate follows a channel down at once.
    """

    smoothing: tuple[int, int]
    keeping: tuple[int, int]
    floor: int
    more_bits: int
    bits: int
    clamping: bool

    kind: ClassVar[str] = "SIGNAL_FILTER_BANK_SPECTRAL_SUBTRACTION"
    tflite_custom: ClassVar[str] = "SignalFilterBankSpectralSubtraction"
    takes: ClassVar[tuple[str, ...]] = ("uint32", "uint32")
    gives: ClassVar[tuple[str, ...]] = ("uint32", "uint32")
    takes_states: ClassVar[bool] = True

    @classmethod
    def from_custom(
        cls, options: CustomOptions, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> SignalFilterBankSpectralSubtraction:
        return cls(
            (options.integer("smoothing"), options.integer("alternate_smoothing")),
            (options.integer("one_minus_smoothing"), options.integer("alternate_one_minus_smoothing")),
            options.integer("min_signal_remaining"),
            options.integer("smoothing_bits"),
            options.integer("spectral_subtraction_bits"),
            bool(options.integer("clamping", 0)),
        )

    def to_custom(self, node: Node) -> tuple[dict[str, int | float], list[Tensor | None]]:
        options: dict[str, int | float] = {
            "smoothing": self.smoothing[0],
            "alternate_smoothing": self.smoothing[1],
            "one_minus_smoothing": self.keeping[0],
            "alternate_one_minus_smoothing": self.keeping[1],
            "min_signal_remaining": self.floor,
            "smoothing_bits": self.more_bits,
            "spectral_subtraction_bits": self.bits,
            "clamping": self.clamping,
            "num_channels": node.output.elements,
        }
        return options, node.inputs[:1]

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """A .tflite has the state inside of the operator."""
        x = inputs[0] if inputs else None
        if x is None:
            return inputs
        start = np.zeros(x.shape, np.uint32)
        return [*inputs, Tensor(f"{x.name}_noise", x.shape, start.dtype, initial=start)]

    def shapes(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if len(shape) != 1 or input_shape(inputs, 1) != shape:
            raise ModelError(f"channels {list(shape)} and estimates {list(input_shape(inputs, 1))} do not fit")
        numbers = (*self.smoothing, *self.keeping, self.floor)
        if not (0 <= self.more_bits < 32 and 0 <= self.bits < 32 and all(0 <= n < 2**31 for n in numbers)):
            raise ModelError(f"its options make no sense: {astuple(self)}")
        return [shape, shape]

    def macs(self, node: Node) -> int:
        return 3 * node.output.elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, state = array(inputs[0]), array(inputs[1])
        bits, more = np.uint64(self.bits), np.uint32(self.more_bits)
        odd = np.arange(x.size) & 1
        new, old = (np.array(pair, np.uint64)[odd] for pair in (self.smoothing, self.keeping))
        scaled = x << more
        estimate = ((scaled.astype(np.uint64) * new + state.astype(np.uint64) * old) >> bits).astype(np.uint32)
        used = np.minimum(estimate, scaled)
        state[...] = used if self.clamping else estimate
        floor = ((x.astype(np.uint64) * np.uint64(self.floor)) >> bits).astype(np.uint32)
        return [np.maximum((scaled - used) >> more, floor), state.copy()]

    def overwrites(self, node: Node) -> list[int]:
        return [0]

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            SIGNAL_SPECTRAL_SUBTRACTION,
            x=code.input(0),
            state=code.input(1),
            y=code.output(0),
            noise=code.output(1),
            n=node.output.elements,
            smoothing=self.smoothing[0],
            odd_smoothing=self.smoothing[1],
            keeping=self.keeping[0],
            odd_keeping=self.keeping[1],
            least=self.floor,
            more_bits=self.more_bits,
            bits=self.bits,
            clamping=self.clamping,
        )


SIGNAL_SPECTRAL_SUBTRACTION = Kernel(
    "signal_spectral_subtraction",
    """\
/* The state is the estimate with more_bits fractional bits; weights have `bits` of them */
static void signal_spectral_subtraction(const uint32_t *x, uint32_t *state, uint32_t *y, uint32_t *noise, int n,
    uint32_t smoothing, uint32_t odd_smoothing, uint32_t keeping, uint32_t odd_keeping, uint32_t least, int more_bits,
    int bits, int clamping)
{
    for (int i = 0; i < n; i++) {
        uint32_t value = x[i], scaled = value << more_bits;
        uint64_t sum = (uint64_t)scaled * (i & 1 ? odd_smoothing : smoothing);
        uint32_t estimate = (uint32_t)((sum + (uint64_t)state[i] * (i & 1 ? odd_keeping : keeping)) >> bits);
        uint32_t used = estimate < scaled ? estimate : scaled;
        uint32_t rest = (scaled - used) >> more_bits, floor = (uint32_t)((uint64_t)value * least >> bits);
        noise[i] = state[i] = clamping ? used : estimate;
        y[i] = rest > floor ? rest : floor;
    }
}
""",
)
