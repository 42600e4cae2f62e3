"""AUDIO_FEATURES: int16 samples -> log-mel energies or cepstral coefficients of each frame, in integers alone.

Of each frame of ``window`` samples, every ``hop`` of them:

1. pre-emphasis and window, in Q15 each; below 2**29, so that the FFT cannot overflow (see `tinymaix.ops.fft`)
2. real FFT in 32 bits, divided by its length
3. power, or magnitude (the root, rounded down)
4. mel filters: sums of weights in Q12; power is shifted by 8 before, so that a sum is below 2**62
5. log2 in Q16, bit by bit (a square doubles a logarithm), of the sum plus ``floor``
6. one multiplier for all channels, or the matrix of a cosine transform, in 16 bits, with a bias and a sum in 64

A frame at a time: working memory is one FFT and the logarithms of its channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.audio_features_c import AUDIO_FEATURES
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.fft import real_fft
from tinymaix.ops.fixed_point import saturate
from tinymaix.ops.signal import bit_length, constant_data

SAMPLE_BITS = 13
"""Fractional bits of samples in the FFT, whose result is also divided by its length."""
WEIGHT_BITS, POWER_SHIFT, LOG_BITS = 12, 8, 16


@dataclass(frozen=True)
class AudioFeatures(Operator):
    """Inputs: samples (1, count); the window's weights in Q15, or None; for each mel channel its first frequency and
    its number of weights, (channels, 2); all their weights in Q12. Output (1, frames, features): int8, int16, float32.

    A real channel is gain * ln(sum + ``floor``) + offset, of sums as they are in integers. Where ``coefficients`` is
    not 0, the features are as many of the channels' DCT-II, scaled by sqrt(2 / channels) as TensorFlow's MFCCs are.

    ``emphasis``, in Q15, weighs the sample before, which is subtracted: within a frame or, where ``across``, also from
    the sample before the frame. The first ``lead`` samples belong to no frame; before the first of all there is 0.
    """

    window: int
    hop: int
    fft: int
    gain: float
    offset: float
    coefficients: int = 0
    emphasis: int = 0
    power: bool = True
    floor: int = 0
    across: bool = False
    lead: int = 0

    kind: ClassVar[str] = "AUDIO_FEATURES"
    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")
    constants: ClassVar[dict[int, str]] = {1: "int16", 2: "int16", 3: "int16"}

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, weights, channels, mel = (inputs[i] if i < len(inputs) else None for i in range(4))
        if x is None or channels is None or mel is None:
            raise ModelError("AUDIO_FEATURES takes samples, a window, mel channels and their weights")
        if not (4 <= self.window <= self.fft <= 4096 and self.fft & (self.fft - 1) == 0 and self.hop > 0):
            raise ModelError(
                f"frames of {self.window} samples every {self.hop} need an FFT of a power of two of at least as many, "
                f"up to 4096, not {self.fft}"
            )
        if not (0 <= self.emphasis < 32768 and 0 <= self.floor < 2**31 and 0 < abs(self.gain) < 1e9 > abs(self.offset)):
            raise ModelError(f"pre-emphasis {self.emphasis}, floor {self.floor}, gain or offset is out of range")
        least = self.lead + self.window
        if len(x.shape) != 2 or x.shape[0] != 1 or x.shape[1] < least or self.lead < 0:
            raise ModelError(f"samples {list(x.shape)} are not (1, count) with at least {least} of them")
        if weights is not None and weights.shape != (self.window,):
            raise ModelError(f"a window of {self.window} samples cannot have weights {list(weights.shape)}")
        self._check_channels(channels, mel)
        if not 0 <= self.coefficients <= channels.shape[0]:
            raise ModelError(f"{self.coefficients} coefficients of {channels.shape[0]} channels do not exist")
        return [(1, 1 + (x.shape[1] - least) // self.hop, self.coefficients or channels.shape[0])]

    def _check_channels(self, channels: Tensor, mel: Tensor) -> None:
        if channels.data is None or channels.data.ndim != 2 or channels.data.shape[1] != 2:
            raise ModelError("mel channels must be constants: a first frequency and a number of weights each")
        first, width = channels.data.astype(np.int64).T
        if min(first.min(initial=0), width.min(initial=0)) < 0 or (first + width).max(initial=0) > self.fft // 2 + 1:
            raise ModelError(f"a mel channel reaches beyond the {self.fft // 2 + 1} frequencies of the FFT")
        if mel.shape != (int(width.sum()),) or mel.data is None or mel.data.min(initial=0) < 0:
            raise ModelError(f"{int(width.sum())} mel weights, not negative, are needed, not {list(mel.shape)}")
        if mel.data.max(initial=0) > 1 << WEIGHT_BITS:
            raise ModelError("a mel weight is above 1")

    def problems(self, node: Node) -> list[str]:
        x, y = node.input(0), node.output
        wrong = [
            f"'{t.name}' is {t.dtype}; AUDIO_FEATURES has a constant of {self.constants[i]} there"
            for i, t in enumerate(node.inputs)
            if i > 0 and t is not None and (t.data is None or t.dtype.name != self.constants[i])
        ]
        if x.dtype != np.int16:
            wrong.append(f"samples '{x.name}' are {x.dtype}; they must be int16")
        if y.dtype.name not in self.types:
            wrong.append(f"'{y.name}' is {y.dtype}; supported are {', '.join(self.types)}")
        elif y.dtype != np.float32 and (y.quantization is None or y.quantization.per_channel):
            wrong.append(f"'{y.name}' is {y.dtype} without one scale and zero point; quantize the model again")
        elif not 0 < self._linear(node)[2] < 63:
            wrong.append(f"a gain of {self.gain} is too far from the scale of '{y.name}'")
        return wrong

    def macs(self, node: Node) -> int:
        frames, features = node.output.shape[1:]
        stages = (self.fft // 2).bit_length() - 1
        per_frame = self.window + self.fft * stages + 2 * (self.fft // 2 + 1) + node.input(3).elements
        return int(frames * (per_frame + features * (node.input(2).shape[0] if self.coefficients else 1)))

    def scratch(self, node: Node) -> int:
        return 4 * (self.fft + 2 + node.input(2).shape[0])

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        logs = self._log_mels(self._frames(array(inputs[0])[0].astype(np.int64), inputs[1]), inputs)
        matrix, bias, shift = self._linear(node)
        sums = (logs @ matrix.T if self.coefficients else logs * matrix[0, 0]) + bias
        if node.output.dtype == np.float32:
            y = sums.astype(np.float32) * np.float32(2.0**-shift)
        else:
            y = saturate(sums >> shift, node.output.dtype)
        return [y.reshape(node.output.shape)]

    def _linear(self, node: Node) -> tuple[Array, Array, int]:
        """(matrix, bias, shift) from logarithms in Q16 to raw outputs, rounded half up; a float output is divided by
        2**shift. The matrix has as many bits as 16 hold."""
        y, channels = node.output, node.input(2).shape[0]
        integer = y.dtype != np.float32
        scale, zero, half = (y.q.s, y.q.z, 0.5) if integer else (1.0, 0, 0.0)
        rows = cosines(self.coefficients, channels) if self.coefficients else np.ones((1, 1))
        real = rows * (self.gain * math.log(2) / scale / 2.0**LOG_BITS)
        shift = math.floor(math.log2(32767 / float(np.abs(real).max())))
        sums = rows.sum(axis=1) if self.coefficients else np.ones(channels)
        constant = (self.offset / scale) * sums + zero + half
        bias = [round(float(v) * 2.0**shift) for v in constant]
        return np.round(real * 2.0**shift).astype(np.int64), np.array(bias, np.int64), shift

    def _frames(self, x: Array, weights: Array | None) -> Array:
        """(frames, window) values for the FFT."""
        starts = np.arange(self.lead, x.size - self.window + 1, self.hop)
        frames = x[starts[:, None] + np.arange(self.window)]
        first = np.where(starts > 0, x[starts - 1], 0) if self.across else np.zeros(len(starts), np.int64)
        before = np.concatenate([first[:, None], frames[:, :-1]], axis=1)
        emphasized = (frames << 15) - self.emphasis * before
        if weights is None:
            return np.asarray(emphasized >> 2)
        return np.asarray((emphasized * weights) >> 17)

    def _log_mels(self, frames: Array, inputs: Sequence[Array | None]) -> Array:
        """(frames, channels) in Q16."""
        padded = np.pad(frames, [(0, 0), (0, self.fft - self.window)])
        re, im = real_fft(self.fft, 32).transform(padded)
        energy = (re**2 + im**2).astype(np.uint64)
        if self.power:
            energy >>= np.uint64(POWER_SHIFT)
        else:
            energy = np.array([isqrt(int(v)) for v in energy.reshape(-1)], np.uint64).reshape(energy.shape)
        weights, at, sums = array(inputs[3]).astype(np.uint64), 0, []
        for first, width in array(inputs[2]).tolist():
            run = energy[:, first : first + width] * weights[at : at + width]
            sums.append(run.sum(axis=1, dtype=np.uint64) + np.uint64(self.floor))
            at += width
        return log2(np.stack(sums, axis=1))

    def emit(self, node: Node, code: LayerCode) -> None:
        fft = real_fft(self.fft, 32)
        window = constant_data(node, 1) if node.optional(1) is not None else None
        matrix, bias, shift = self._linear(node)
        code.call(
            AUDIO_FEATURES[node.output.dtype.name],
            x=code.input(0),
            weights="NULL" if window is None else code.constant("window", window),
            twiddles=code.constant("twiddles", fft.twiddles, None, "exp(-2 pi i k / n)"),
            halves=code.constant("halves", fft.halves),
            channels=code.constant("channels", constant_data(node, 2), None, "first frequency, number of weights"),
            mel=code.constant("mel", constant_data(node, 3)),
            matrix=code.constant("matrix", matrix, "int16"),
            bias=code.constant("bias", bias, "int64"),
            scratch=code.scratch,
            y=code.output(),
            frames=node.output.shape[1],
            window=self.window,
            hop=self.hop,
            n=fft.n,
            emphasis=self.emphasis,
            across=self.across,
            lead=self.lead,
            power=self.power,
            least=self.floor,
            channel_count=node.input(2).shape[0],
            coefficients=node.output.shape[2],
            same=not self.coefficients,
            shift=shift,
        )


def cosines(coefficients: int, channels: int) -> Array:
    """(coefficients, channels): the first rows of the DCT-II, scaled by sqrt(2 / channels)."""
    i, c = np.arange(coefficients)[:, None], np.arange(channels)
    return np.asarray(math.sqrt(2 / channels) * np.cos(np.pi * i * (c + 0.5) / channels))


def log2(x: Array) -> Array:
    """log2 of uint64 in Q16, rounded down to about that; 0 for 0 and 1."""
    values = np.maximum(x, np.uint64(1))
    whole = bit_length(values) - 1
    up, down = np.maximum(31 - whole, 0).astype(np.uint64), np.maximum(whole - 31, 0).astype(np.uint64)
    mantissa = np.where(whole < 31, values << up, values >> down)
    logs = whole.copy()
    for _ in range(LOG_BITS):
        mantissa = (mantissa * mantissa) >> np.uint64(31)
        high = mantissa >> np.uint64(32)
        mantissa >>= high
        logs = 2 * logs + high.astype(np.int64)
    return logs
