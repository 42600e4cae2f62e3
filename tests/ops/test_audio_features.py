"""AUDIO_FEATURES: against floating point, and C against numpy, on the host and on an emulated chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS
from tests.oracles import check_compiled, expect_same
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError, Quantization, Tensor
from tinymaix.ops.audio_features import AudioFeatures, log2
from tinymaix.process.audio import MLPERF_MFCC, MLPERF_WAKE_WORD, TINYMAIX_FBANK, AudioFrontEnd, audio_node

SMALL = AudioFrontEnd(rate=8000, window=100, hop=60, mels=10, coefficients=0, shape="hamming", emphasis=0.9)
FRONTS = {
    "fbank": TINYMAIX_FBANK,
    "mfcc": MLPERF_MFCC,
    "log-mel": AudioFrontEnd(window=400, hop=160, mels=40, shape="hann", low=80.0),
    "wake word": MLPERF_WAKE_WORD,
    "librosa": AudioFrontEnd(window=1024, hop=512, mels=64, low=0.0, scale="slaney", norm=True, gain=4.343),
    "small": SMALL,
}
SCALES = {
    "fbank": (1 / 255, -128),
    "mfcc": (0.58, 83),
    "log-mel": (0.1, 40),
    "wake word": (0.0037, -128),
    "librosa": (0.4, 90),
    "small": (0.15, 20),
}


def graph_of(front: AudioFrontEnd, frames: int, scale: float, zero: int, dtype: str = "int8") -> Graph:
    x = Tensor("x", (1, front.samples(frames)), np.dtype(np.int16))
    quantization = None if dtype == "float32" else Quantization.of(scale, zero)
    y = Tensor("y", (1, frames, front.features), np.dtype(dtype), quantization)
    node = audio_node(front, x, y)
    assert node.op.problems(node) == []
    assert node.op.infer(node.inputs) == [y.shape]
    return Graph([node], [x], [y], "features")


def sound(seed: int, count: int) -> Array:
    """Tones and noise at some loudness."""
    rng = np.random.default_rng(seed)
    t = np.arange(count)
    tones = sum(np.sin(t * rng.uniform(0.01, 3) + rng.uniform(0, 6)) for _ in range(3))
    wave = (tones / 3 + rng.normal(0, 0.1, count)) * 2.0 ** rng.uniform(6, 14.5)
    return np.asarray(np.clip(np.round(wave), -32768, 32767).astype(np.int16))


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("seed", range(3))
def test_close_to_floating_point(name: str, seed: int) -> None:
    """At most one step of int8 off, and that rarely: where the real value lies between two."""
    front, (scale, zero) = FRONTS[name], SCALES[name]
    graph = graph_of(front, 12, scale, zero)
    x = sound(seed, front.samples(12))
    expected = np.clip(np.floor(front.compute(x) / scale + zero + 0.5), -128, 127)
    error = np.abs(graph.run([x[None]])[0][0] - expected)
    assert error.max() <= 1
    assert (error > 0).mean() <= 0.02


@pytest.mark.parametrize("name", FRONTS)
def test_float_output_is_close_to_floating_point(name: str) -> None:
    front = FRONTS[name]
    x = sound(5, front.samples(6))
    found = graph_of(front, 6, 1.0, 0, "float32").run([x[None]])[0][0]
    assert np.abs(found - front.compute(x)).max() <= 0.02


def test_extremes_do_not_overflow() -> None:
    """Square waves and alternating signs at full scale are what fills the FFT most."""
    front = replace(TINYMAIX_FBANK, emphasis=0.999)
    count = front.samples(1)
    for period in (1, 2, 3, 16, 200, count):
        x = np.where(np.arange(count) // period % 2, -32768, 32767).astype(np.int16)
        found = graph_of(front, 1, 1.0, -128, "float32").run([x[None]])[0][0]
        spread = front.compute(x)
        audible = spread > spread.max() - 60 / 255  # of 10 ln / 255: 26 dB below the loudest
        assert np.abs(found - spread)[audible].max() <= 0.1 / 255, period


def test_mel_filters_are_those_of_librosa() -> None:
    """The lowest centres as librosa's documentation lists them for mel_frequencies(40), to half a step of the FFT."""
    front = AudioFrontEnd(rate=22050, window=4096, hop=4096, mels=38, low=0.0, scale="slaney", norm=True)
    step = 22050 / 4096
    centres = front.filters()[:4].argmax(axis=1) * step
    assert np.abs(centres - [85.317, 170.635, 255.952, 341.269]).max() <= step / 2
    assert front.filters().sum(axis=1) * step == pytest.approx(1, abs=0.01)


def test_silence_is_the_floor() -> None:
    found = graph_of(MLPERF_MFCC, 1, 1.0, 0, "float32").run([np.zeros((1, 480), np.int16)])[0][0, 0]
    expected = MLPERF_MFCC.compute(np.zeros(480, np.int16))[0]
    assert np.abs(found - expected).max() <= 0.02
    nothing = graph_of(TINYMAIX_FBANK, 1, 1 / 255, -128).run([np.zeros((1, 512), np.int16)])[0]
    assert (nothing == -128).all()


@given(st.integers(1, 2**64 - 1))
def test_logarithm(x: int) -> None:
    assert abs(int(log2(np.array([x], np.uint64))[0]) / 65536 - np.log2(float(x))) <= 2**-15


def test_the_sample_before_a_frame_counts_where_it_is_known() -> None:
    front = replace(SMALL, across=True)
    x = sound(7, front.samples(3))
    whole = graph_of(front, 3, 0.1, 0).run([x[None]])[0]
    later = Tensor("x", (1, front.samples(2) + 1), np.dtype(np.int16))
    y = Tensor("y", (1, 2, 10), np.dtype(np.int8), Quantization.of(0.1))
    graph = Graph([audio_node(front, later, y)], [later], [y])
    inputs = [x[None, front.hop - 1 :]]
    assert (graph.run(inputs)[0] == whole[:, 1:]).all()
    check_compiled([(graph, [inputs]), (graph_of(front, 3, 0.1, 0), [[x[None]]])])


@given(SEEDS)
def test_frames_do_not_depend_on_each_other(seed: int) -> None:
    x = sound(seed, SMALL.samples(5))
    whole = graph_of(SMALL, 5, 0.1, 0).run([x[None]])[0]
    third = graph_of(SMALL, 1, 0.1, 0).run([x[None, 120:220]])[0]
    assert (whole[0, 2] == third[0, 0]).all()


def cases() -> list[Graph]:
    graphs = [graph_of(FRONTS[name], 2, *SCALES[name]) for name in ("fbank", "mfcc")]
    graphs += [graph_of(replace(SMALL, coefficients=5), 4, 0.001, 3, "int16")]
    return [*graphs, graph_of(SMALL, 4, 1.0, 0, "float32")]


def test_compiled() -> None:
    full = np.random.default_rng(2)
    check_compiled(
        [
            (graph, [[sound(k, x.elements)[None]], [full.integers(-32768, 32768, x.shape).astype(np.int16)]])
            for k, graph in enumerate(cases())
            for x in graph.inputs
        ]
    )


@pytest.mark.parametrize("chip", ["cortex-m4", "cortex-m0plus"])
def test_on_a_chip(chip: str) -> None:
    graph = graph_of(replace(SMALL, coefficients=5), 2, 0.1, 3)
    try:
        deployment = Deployment(graph, find_chip(chip))
    except ToolError as error:
        pytest.skip(str(error))
    inputs = [sound(1, SMALL.samples(2))[None]]
    expect_same(deployment.run(inputs)[0], graph.run(inputs), chip)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"window": 5000}, "no FFT up to 4096"),
        ({"fft": 500}, "no power of two"),
        ({"high": 9000.0}, "of a rate of 8000"),
        ({"mels": 100}, "lies between two frequencies"),
        ({"coefficients": 11}, "11 coefficients of 10 filters"),
        ({"emphasis": 1.5}, "pre-emphasis"),
        ({"shape": "flat"}, "'flat' is none of none, hann, hamming"),
        ({"gain": 1e30}, "too far from the scale"),
    ],
)
def test_what_cannot_be_is_said(change: dict[str, object], sentence: str) -> None:
    front = replace(SMALL, **change)  # type: ignore[arg-type]
    x, y = Tensor("x", (1, 5000), np.dtype(np.int16)), Tensor("y", (1, 1, 10), np.dtype(np.int8), Quantization.of(1.0))
    with pytest.raises(ModelError, match=sentence):
        audio_node(front, x, y)


def test_shapes_that_do_not_fit_are_said() -> None:
    node = graph_of(SMALL, 1, 0.1, 0).nodes[0]
    short = Tensor("x", (1, 90), np.dtype(np.int16))
    with pytest.raises(ModelError, match="at least 100"):
        node.op.infer([short, *node.inputs[1:]])
    with pytest.raises(ModelError, match="reaches beyond"):
        AudioFeatures(30, 10, 32, 1.0, 0.0).infer([short, None, *node.inputs[2:]])
