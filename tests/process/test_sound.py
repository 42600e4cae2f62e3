"""Sound in front of networks: whole clips and streams, on shared recordings and on an emulated chip."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.ops.make import int8
from tests.oracles import check_compiled, expect_same, one_op
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.reshape import Reshape
from tinymaix.process import (
    MLPERF_MFCC,
    MLPERF_WAKE_WORD,
    TINYMAIX_FBANK,
    AudioFrontEnd,
    overlapping,
    prepend,
    sliding,
    with_audio,
)

TINY = AudioFrontEnd(rate=8000, window=64, hop=40, mels=6, low=100.0)


def network(frames: int, features: int) -> Graph:
    """Takes features; its output is the same values in one row."""
    x = int8("x", (1, frames, features, 1), 0.1, 20)
    return one_op(Reshape((1, frames * features)), [x], [int8("y", (1, frames * features), 0.1, 20)])


def noise(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).integers(-20000, 20000, (1, count)).astype(np.int16)


def steps(x: Array, hop: int) -> list[list[Array]]:
    return [[x[:, i : i + hop]] for i in range(0, x.shape[1] - hop + 1, hop)]


def test_a_stream_sees_what_a_clip_sees() -> None:
    front, frames = TINY, 5
    x = noise(1, 20 * front.hop)
    streamed = with_audio(network(frames, 6), front, stream=True).run_sequence(steps(x, front.hop))
    clip = with_audio(network(frames, 6), front)
    for end in range(10, 20):
        last = x[:, (end + 1) * front.hop - front.samples(frames) : (end + 1) * front.hop]
        expect_same(streamed[end], clip.run([last]), f"hop {end}")


def test_before_a_stream_there_is_silence() -> None:
    x = noise(2, 3 * TINY.hop)
    streamed = with_audio(network(4, 6), TINY, stream=True).run_sequence(steps(x, TINY.hop))
    before = np.pad(x, ((0, 0), (TINY.window - TINY.hop, 0)))
    first = with_audio(network(1, 6), TINY).run([before[:, : TINY.window]])[0]
    assert (streamed[0][0][0, :18] == 20).all()  # the zero point: nothing has been heard
    assert (streamed[0][0][0, 18:] == first[0]).all()


def test_a_hop_longer_than_the_window_skips_samples() -> None:
    front = AudioFrontEnd(rate=8000, window=40, hop=64, mels=4, low=300.0)
    x = noise(3, 4 * 64)
    streamed = with_audio(network(1, 4), front, stream=True).run_sequence(steps(x, 64))
    expect_same(streamed[3], with_audio(network(1, 4), front).run([x[:, -40:]]), "the last samples")


def test_compiled() -> None:
    clip, stream = with_audio(network(3, 6), TINY), with_audio(network(3, 6), TINY, stream=True)
    check_compiled([(clip, [[noise(4, TINY.samples(3))]]), (stream, steps(noise(5, 8 * TINY.hop), TINY.hop))])


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ModelError, match="no whole number of frames of 40"):
        with_audio(network(3, 6), TINYMAIX_FBANK)
    graph = network(3, 6)
    with pytest.raises(ModelError, match="2 inputs"):
        with_audio(Graph(graph.nodes, [*graph.inputs, int8("more", (1, 2))], graph.outputs), TINY)
    weights = int8("w", (4, 6), 0.1, 0, np.ones((4, 6), np.int8))
    dense = one_op(FullyConnected(), [int8("x", (1, 6)), weights, None], [int8("y", (1, 4))])
    with pytest.raises(ModelError, match="has 18 elements"):
        prepend(network(3, 6), dense)


def recording(path: Path) -> Array:
    """The first channel."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples[:: file.getnchannels()]


@pytest.mark.parametrize(("name", "kind"), [("0a", 0), ("0b", 0), ("1a", 1), ("2a", 2)])
def test_keywords_of_tinymaix(shared: Path, name: str, kind: int) -> None:
    """From a microphone's samples to the keyword; the network gives the same from the recordings' stored features."""
    folder = shared / "models" / "tinymaix"
    graph = with_audio(tinymaix.read(folder / "tmdl" / "kws_q.tmdl"), TINYMAIX_FBANK)
    x = recording(folder / "kws" / f"{name}.wav")[: TINYMAIX_FBANK.samples(64)]
    x = np.pad(x, (0, TINYMAIX_FBANK.samples(64) - x.size))
    assert graph.run([x[None]])[0].argmax() == kind


def test_keywords_of_tinymaix_as_a_stream_on_a_chip(shared: Path) -> None:
    folder = shared / "models" / "tinymaix"
    graph = with_audio(tinymaix.read(folder / "tmdl" / "kws_q.tmdl"), TINYMAIX_FBANK, stream=True)
    sequence = steps(recording(folder / "kws" / "1a.wav")[None], TINYMAIX_FBANK.hop)[30:34]
    try:
        deployment = Deployment(graph, find_chip("cortex-m4"))
    except ToolError as error:
        pytest.skip(str(error))
    assert deployment.project.plan.arena < 6 * 1024  # no clip of sound, no tables in RAM
    for k, expected in enumerate(graph.run_sequence(sequence)):
        expect_same(deployment.run(sequence[k], forget=k == 0)[0], expected, f"hop {k}")


def test_unknown_words_of_mlperf(shared: Path) -> None:
    """Two words that are none of the ten keywords, recorded in one second each."""
    folder = shared / "models" / "mlperf_tiny"
    graph = with_audio(tinymaix.read(folder / "models" / "kws" / "kws_ref_model.tflite"), MLPERF_MFCC)
    with np.load(folder / "data" / "reference_inputs.npz") as file:
        for name in ("sww_wav_marvin_i16", "sww_wav_backward_i16"):
            assert graph.run([file[name][None, : MLPERF_MFCC.samples(49)]])[0].argmax() == 11


def test_the_wake_word_of_mlperf(shared: Path) -> None:
    """Ten seconds of music in which "marvin" is said three times, through the compiled C, 32 ms a run."""
    folder = shared / "models" / "mlperf_tiny"
    graph = with_audio(
        tinymaix.read(folder / "models" / "sww" / "str_ww_ref_model.tflite"), MLPERF_WAKE_WORD, stream=True
    )
    said = json.loads((folder / "data" / "sww_short_test.json").read_text())[0]["detection_windows"]
    sound = recording(folder / "data" / "sww_short_wav_easy10s.wav")
    hops: Array = np.array(steps(sound[None], MLPERF_WAKE_WORD.hop))[:, 0]
    try:
        scores = tinymaix.run(graph, hops, on="host", steps=True)[0]
    except ToolError as error:
        pytest.skip(str(error))
    heard = 0.032 * (1 + np.flatnonzero(scores[:, 0].argmax(axis=1) == 0))
    for start, end in said:
        assert ((heard > start) & (heard < end + 0.5)).any()
    assert all(any(start < time < end + 0.5 for start, end in said) for time in heard)


@pytest.mark.parametrize(("name", "kind"), [("yes", 2), ("no", 3)])
def test_words_of_micro_speech(shared: Path, name: str, kind: int) -> None:
    """A second of TFLM's sound through its own preprocessor, 20 ms a run."""
    folder = shared / "models" / "tflm"
    front = sliding(overlapping(tinymaix.read(folder / "audio_preprocessor_int8.tflite"), 320), 49)
    graph = prepend(front, tinymaix.read(folder / "micro_speech_quantized.tflite"))
    sound = recording(folder / "data" / "micro_speech" / f"{name}_1000ms.wav")
    try:
        scores = tinymaix.run(graph, np.array(steps(sound[None], 320))[:, 0], on="host", steps=True)[0]
    except ToolError as error:
        pytest.skip(str(error))
    assert scores[-1, 0].argmax() == kind


def test_a_model_in_front_of_a_model(shared: Path) -> None:
    """micro_speech behind its own preprocessor: 20 ms of sound a run, a window of 49 frames."""
    folder = shared / "models" / "tflm"
    front = tinymaix.read(folder / "audio_preprocessor_int8.tflite")
    graph = prepend(sliding(front, 49), tinymaix.read(folder / "micro_speech_quantized.tflite"))
    sound = np.stack([noise(k, 480) for k in range(51)])
    features = tinymaix.run(front, sound, on="host", steps=True)[0][2:]
    expected = tinymaix.run(folder / "micro_speech_quantized.tflite", features.reshape(1, 1960))
    found = tinymaix.run(graph, sound, on="host", steps=True)
    expect_same([found[0][-1]], expected, "the last window")
