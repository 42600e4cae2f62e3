"""Sound in front of a network: log-mel or cepstral features of int16 samples, whole clips or streaming.

`AudioFrontEnd` says in real numbers what a training script computes; the AUDIO_FEATURES node has it in integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Tensor
from tinymaix.ops.audio_features import POWER_SHIFT, SAMPLE_BITS, WEIGHT_BITS, AudioFeatures, cosines
from tinymaix.process.join import only_input, prepend, quantized_input, remember, sliding

WINDOWS = ("none", "hann", "hamming")
RAMPS = ("hz", "mel")
SCALES = ("htk", "slaney")


@dataclass(frozen=True)
class AudioFrontEnd:
    """Features of sound: gain * ln(filters(|spectrum|**1 or 2) + floor) + offset, then the first cosines where wanted.

    Args:
        rate: samples a second.
        window, hop: samples of a frame, and from one to the next.
        fft: length of the transform, a power of two; the next one from ``window`` where it is 0.
        shape: weights of the window: "none", "hann" (periodic) or "hamming".
        emphasis: share of the sample before that is subtracted.
        across: the first sample of a frame has one before it too; otherwise frames are emphasized one by one.
        mels: triangular filters, from ``low`` to ``high`` Hz (0: half the rate) equally far apart on the mel scale.
        scale: the mel scale, "htk" or "slaney" (librosa's default: straight up to 1000 Hz).
        norm: each filter's area is 1 (librosa's default), rather than its height.
        ramps: the triangles' sides are straight over "hz" (HTK's and librosa's way) or "mel" (TensorFlow's way).
        power: filters sum the spectrum's power rather than its magnitude.
        full_scale: what a sample of 32768 counts as.
        floor, gain, offset: as in the formula.
        coefficients: of the orthonormal cosine transform (DCT-II); 0 leaves the logarithms.
    """

    rate: int = 16000
    window: int = 480
    hop: int = 320
    fft: int = 0
    shape: str = "hann"
    emphasis: float = 0.0
    across: bool = False
    mels: int = 40
    low: float = 20.0
    high: float = 0.0
    scale: str = "htk"
    norm: bool = False
    ramps: str = "hz"
    power: bool = True
    full_scale: float = 1.0
    floor: float = 1e-6
    gain: float = 1.0
    offset: float = 0.0
    coefficients: int = 0

    @property
    def length(self) -> int:
        """Of the FFT."""
        return self.fft or 1 << max(2, (self.window - 1).bit_length())

    @property
    def features(self) -> int:
        return self.coefficients or self.mels

    def samples(self, frames: int) -> int:
        """Samples that give ``frames`` frames."""
        return self.window + (frames - 1) * self.hop

    def problems(self) -> list[str]:
        top = self.high or self.rate / 2
        wrong = [
            (not 4 <= self.window <= self.length <= 4096, f"a window of {self.window} samples has no FFT up to 4096"),
            (self.length & (self.length - 1) != 0, f"an FFT of {self.length} samples is no power of two"),
            (self.hop < 1, f"a hop of {self.hop} samples goes nowhere"),
            (self.shape not in WINDOWS, f"window '{self.shape}' is none of {', '.join(WINDOWS)}"),
            (self.scale not in SCALES, f"mel scale '{self.scale}' is none of {', '.join(SCALES)}"),
            (self.ramps not in RAMPS, f"ramps over '{self.ramps}' are none of {', '.join(RAMPS)}"),
            (not 0 <= self.low < top <= self.rate / 2, f"filters from {self.low} to {top} Hz of a rate of {self.rate}"),
            (not 1 <= self.mels <= 256, f"{self.mels} mel filters; 1 to 256 are supported"),
            (not 0 <= self.coefficients <= self.mels, f"{self.coefficients} coefficients of {self.mels} filters"),
            (not 0 <= self.emphasis < 1, f"pre-emphasis {self.emphasis} is not from 0 to 1"),
            (
                self.full_scale <= 0 or self.floor < 0,
                f"full scale {self.full_scale} or floor {self.floor} is too small",
            ),
        ]
        return [f"{sentence}; change the description of the sound" for is_wrong, sentence in wrong if is_wrong]

    def window_weights(self) -> Array:
        """Real weights of a frame's samples."""
        base, swing = {"none": (1.0, 0.0), "hann": (0.5, 0.5), "hamming": (0.54, 0.46)}[self.shape]
        span = self.window - 1 if self.shape == "hamming" else self.window
        return np.asarray(base - swing * np.cos(2 * np.pi * np.arange(self.window) / span))

    def filters(self) -> Array:
        """(mels, frequencies) real weights of the mel filters."""
        high = self.high or self.rate / 2
        ends = _mel(np.array([self.low, high]), self.scale)
        edges = np.linspace(ends[0], ends[1], self.mels + 2)
        places = np.arange(self.length // 2 + 1) * (self.rate / self.length)
        hertz = _hertz(edges, self.scale)
        if self.ramps == "mel":
            places = _mel(places, self.scale)
        else:
            edges = hertz
        rising = (places - edges[:-2, None]) / np.diff(edges)[:-1, None]
        falling = (edges[2:, None] - places) / np.diff(edges)[1:, None]
        weights = np.maximum(0, np.minimum(rising, falling))
        if self.ramps == "mel":
            weights[:, 0] = 0  # TensorFlow leaves the constant part out
        return np.asarray(weights * (2 / (hertz[2:] - hertz[:-2]))[:, None] if self.norm else weights)

    def compute(self, samples: Array) -> Array:
        """The features in floating point: (frames, features) of int16 samples. What the integers are close to."""
        starts = np.arange(0, samples.size - self.window + 1, self.hop)
        frames = samples.astype(np.float64)[starts[:, None] + np.arange(self.window)] * (self.full_scale / 32768)
        before = samples[np.maximum(starts - 1, 0)] * (self.full_scale / 32768) * (starts > 0) * self.across
        frames -= self.emphasis * np.column_stack([before, frames[:, :-1]])
        spectrum = np.abs(np.fft.rfft(frames * self.window_weights(), self.length))
        sums = (spectrum**2 if self.power else spectrum) @ self.filters().T
        logs = self.gain * np.log(np.maximum(sums + self.floor, 1e-30)) + self.offset
        return np.asarray(logs @ cosines(self.coefficients, self.mels).T if self.coefficients else logs)


def _mel(hertz: Array, scale: str) -> Array:
    """HTK's mel scale, 1127 ln(1 + f / 700), or Slaney's: 3 / 200 f up to 1000 Hz, then 27 steps for a factor 6.4."""
    if scale == "htk":
        return np.asarray(1127 * np.log1p(hertz / 700))
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 / math.log(6.4) * np.log(np.maximum(hertz, 1000) / 1000))


def _hertz(mels: Array, scale: str) -> Array:
    if scale == "htk":
        return np.asarray(700 * np.expm1(mels / 1127))
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(math.log(6.4) / 27 * (np.maximum(mels, 15) - 15)))


def audio_node(front: AudioFrontEnd, x: Tensor, y: Tensor) -> Node:
    """The node from int16 samples (1, count) to features (1, frames, features) with the type and quantization of ``y``.
    More samples than the frames have are those before the first frame.

    Raises:
        ModelError: one sentence for everything about the description that cannot be computed.
    """
    if problems := front.problems():
        raise ModelError(problems)
    filters = front.filters()
    tallest = float(filters.max())
    if tallest <= 0 or not (filters > 0).any(axis=1).all():
        empty = int(np.argmin((filters > 0).any(axis=1)))
        raise ModelError(
            f"mel filter {empty} lies between two frequencies of an FFT of {front.length}; use fewer filters, "
            "a longer FFT or a higher lowest frequency"
        )
    runs = [np.flatnonzero(row) for row in filters]
    channels = np.array([[run[0], run[-1] - run[0] + 1] for run in runs], np.int16)
    mel = np.concatenate([row[run[0] : run[-1] + 1] for row, run in zip(filters, runs, strict=True)])
    unit = _unit(front) * tallest
    op = AudioFeatures(
        front.window,
        front.hop,
        front.length,
        front.gain,
        front.offset + front.gain * math.log(unit),
        front.coefficients,
        round(front.emphasis * 32768),
        front.power,
        min(round(front.floor / unit), 2**31 - 1),
        front.across,
        x.shape[1] - front.samples(y.shape[1]),
    )
    plain = front.shape == "none"
    window = None if plain else _constant("window", _q(front.window_weights(), 15), np.int16)
    weights = _constant("mel", _q(mel / tallest, WEIGHT_BITS), np.int16)
    node = Node(op, [x, window, _constant("channels", channels, np.int16), weights], [y], "audio_features")
    if problems := op.problems(node):
        raise ModelError(problems)
    return node


def _unit(front: AudioFrontEnd) -> float:
    """The real value of 1 in a sum of the mel filters."""
    sample = front.full_scale / 32768 / 2.0**SAMPLE_BITS * front.length
    return sample**2 * 2.0 ** (POWER_SHIFT - WEIGHT_BITS) if front.power else sample * 2.0**-WEIGHT_BITS


def _q(values: Array, bits: int) -> Array:
    return np.asarray(np.minimum(np.round(values * 2.0**bits), 32767))


def _constant(name: str, values: Array, dtype: type) -> Tensor:
    data: Array = np.asarray(values).astype(dtype)
    return Tensor(f"audio_{name}", data.shape, data.dtype, None, data)


TINYMAIX_FBANK = AudioFrontEnd(
    window=512, hop=512, shape="none", emphasis=0.97, low=0.0, full_scale=32768.0, floor=0.0,
    gain=10 / 255, offset=-30.5 / 255,
)  # fmt: skip
"""The features of TinyMaix's keyword example: 10 (ln(power) - 3) cut to whole numbers from 0 to 255, which the network
takes as 0 to 1."""

MLPERF_MFCC = AudioFrontEnd(ramps="mel", high=4000.0, power=False, coefficients=10)
"""The features of MLPerf Tiny's keyword spotting: 49 frames of 10 coefficients from one second."""

MLPERF_WAKE_WORD = AudioFrontEnd(
    window=1024, hop=512, shape="hamming", emphasis=31 / 32, across=True, low=0.0, ramps="mel", floor=0.0,
    gain=10 / 64 / math.log(10), offset=(52 - 10 * math.log10(1024)) / 64,
)  # fmt: skip
"""The features of MLPerf Tiny's streaming wake word: (10 log10(power / 1024) + 52) / 64, a frame every 32 ms."""


def with_audio(graph: Graph, front: AudioFrontEnd, stream: bool = False) -> Graph:
    """The graph with sound as its input: int16 samples (1, count) instead of features.

    Args:
        graph: takes one input of as many features as some number of frames has, in the order of time.
        stream: a run takes ``hop`` new samples and remembers the rest; the first runs see silence before the sound.

    Raises:
        ModelError: the input is no whole number of frames, or `audio_node` cannot be made.
    """
    graph = quantized_input(graph)
    target = only_input(graph)
    frames, rest = divmod(target.elements, front.features)
    if rest or not frames:
        raise ModelError(
            f"the model takes {list(target.shape)}, no whole number of frames of {front.features} features; "
            "change mels or coefficients"
        )
    if not stream:
        x = Tensor("samples", (1, front.samples(frames)), np.dtype(np.int16), Quantization.of(1 / 32768))
        y = Tensor("features", (1, frames, front.features), target.dtype, target.quantization)
        return prepend(Graph([audio_node(front, x, y)], [x], [y], graph.name), graph)
    return prepend(sliding(_frame(front, target), frames), graph)


def _frame(front: AudioFrontEnd, target: Tensor) -> Graph:
    """New samples -> the features of the frame that they complete."""
    x = Tensor("samples", (1, front.hop), np.dtype(np.int16), Quantization.of(1 / 32768))
    y = Tensor("frame", (1, 1, front.features), target.dtype, target.quantization)
    before = 1 if front.across and front.emphasis else 0
    whole, nodes = remember(x, front.window + before, axis=1)
    return Graph([*nodes, audio_node(front, whole, y)], [x], [y])
