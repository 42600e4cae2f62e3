"""SIGNAL_RFFT: a real FFT of int16 or int32 samples, see `tinymaix.ops.fft`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import CustomOptions, Operator, array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.fft import REAL_FFT, RealFft, real_fft
from tinymaix.ops.move import elements, input_shape

MAX_LENGTH = 4096
_TYPES = {"int16": 7, "int32": 2}  # with their code of TFLite's TensorType


@dataclass(frozen=True)
class SignalRfft(Operator):
    """``length``: of the transform; shorter samples are followed by zeros. The output holds pairs of real and imaginary
    parts, length / 2 + 1 of them."""

    length: int

    kind: ClassVar[str] = "SIGNAL_RFFT"
    tflite_custom: ClassVar[str] = "SignalRfft"
    types: ClassVar[tuple[str, ...]] = ("int16", "int32")

    @classmethod
    def from_custom(
        cls, options: CustomOptions, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> SignalRfft:
        return cls(options.integer("fft_length"))

    def to_custom(self, node: Node) -> tuple[dict[str, int | float], list[Tensor | None]]:
        return {"T": _TYPES[node.output.dtype.name], "fft_length": self.length}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if not 4 <= self.length <= MAX_LENGTH or self.length & (self.length - 1):
            raise ModelError(f"an FFT has a power of two from 4 to {MAX_LENGTH} values, not {self.length}")
        if not shape or not 0 < shape[-1] <= self.length:
            raise ModelError(f"samples {list(shape)} do not fit an FFT of length {self.length}")
        return [(*shape[:-1], self.length + 2)]

    def problems(self, node: Node) -> list[str]:
        tensors = (node.input(0), node.output)
        names = ", ".join(f"'{t.name}' is {t.dtype}" for t in tensors)
        supported = node.output.dtype.name in self.types and node.input(0).dtype == node.output.dtype
        return [] if supported else [f"{names}; both must be {' or both '.join(self.types)}"]

    def macs(self, node: Node) -> int:
        stages = (self.length // 2).bit_length() - 1
        return self._rows(node) * self.length * stages

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        padding = [(0, 0)] * (x.ndim - 1) + [(0, self.length - x.shape[-1])]
        re, im = self._fft(node).transform(np.pad(x, padding))
        return [np.stack([re, im], axis=-1).reshape(node.output.shape).astype(x.dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        fft = self._fft(node)
        code.call(
            SIGNAL_RFFT[fft.bits],
            x=code.input(0),
            y=code.output(),
            twiddles=code.constant("twiddles", fft.twiddles),
            halves=code.constant("halves", fft.halves),
            rows=self._rows(node),
            size=node.input(0).shape[-1],
            n=fft.n,
        )

    def _fft(self, node: Node) -> RealFft:
        return real_fft(self.length, 8 * node.output.dtype.itemsize)

    def _rows(self, node: Node) -> int:
        return elements(node.output.shape[:-1])


def _kernel(bits: int) -> Kernel:
    kind = f"int{bits}_t"
    return Kernel(
        f"signal_rfft_s{bits}",
        f"""\
static void signal_rfft_s{bits}(const {kind} *x, {kind} *y, const {kind} *twiddles, const {kind} *halves, int rows,
                            int size, int n)
{{
    for (int row = 0; row < rows; row++, x += size, y += 2 * n + 2) {{
        for (int i = 0; i < n; i++) {{
            int at = 2 * fft_place(i, n);
            y[2 * i] = ({kind})(at < size ? x[at] : 0);
            y[2 * i + 1] = ({kind})(at + 1 < size ? x[at + 1] : 0);
        }}
        real_fft_s{bits}(y, twiddles, halves, n);
    }}
}}
""",
        (REAL_FFT[bits],),
    )


SIGNAL_RFFT = {bits: _kernel(bits) for bits in REAL_FFT}
