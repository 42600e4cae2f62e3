"""A float network behind its camera or microphone, quantized with pictures or sound: all of it becomes integers."""

from __future__ import annotations

import numpy as np

from tests.ops.make import float32
from tests.oracles import check_compiled, one_op
from tinymaix.graph import Array, Graph
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.reshape import Reshape
from tinymaix.process import AudioFrontEnd, with_audio, with_image
from tinymaix.quantize import quantize
from tinymaix.quantize.samples import Samples

FRONT = AudioFrontEnd(rate=8000, window=64, hop=40, mels=6, low=100.0)


def check_close(graph: Graph, samples: list[Array]) -> None:
    """Assert that no float is left, and that outputs are within a few steps of the float network's."""
    integers = quantize(graph, Samples([[x] for x in samples]))
    assert not any(t.dtype.kind == "f" for node in integers.nodes for t in (*node.present, *node.outputs))
    q = integers.outputs[0].q
    for x in samples[:5]:
        error = q.s * (integers.run([x])[0].astype(np.float64) - q.z) - graph.run([x])[0]
        assert np.abs(error).max() <= 5 * q.s
    check_compiled([(integers, [[samples[0]]])])


def test_sound() -> None:
    rng = np.random.default_rng(1)
    weights = float32("w", (5, 24), rng.normal(size=(5, 24)))
    network = one_op(FullyConnected(), [float32("x", (1, 24)), weights, None], [float32("y", (1, 5))])
    loudness = [2.0 ** rng.uniform(6, 14) for _ in range(12)]
    sounds = [np.clip(rng.normal(0, s, (1, FRONT.samples(4))), -32768, 32767).astype(np.int16) for s in loudness]
    check_close(with_audio(network, FRONT), sounds)


def test_pictures() -> None:
    rng = np.random.default_rng(2)
    network = one_op(Reshape((1, 75)), [float32("x", (1, 5, 5, 3))], [float32("y", (1, 75))])
    pictures = [rng.integers(0, 256, (1, 8, 10, 2), np.uint8) for _ in range(12)]
    check_close(with_image(network, (8, 10), "rgb565", normalize="-1to1"), pictures)
