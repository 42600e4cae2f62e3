"""What is rewritten before quantization computes the same in floats."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.one_layer import CASES, ROW, Layers, one, samples
from tests.quantize.test_quantize import RECURRENT, recurrent_net
from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.unidirectional_sequence_lstm import UnidirectionalSequenceLstm
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import agreement
from tinymaix.quantize.float_run import run_float
from tinymaix.quantize.prepare import prepare
from tinymaix.quantize.recurrent import LstmWithCell

SCHEMES = [Scheme(), Scheme(activations="int16"), Scheme(weights="int4")]


def check_same(graph: Graph, scheme: Scheme) -> Graph:
    """The prepared graph, whose outputs must be those of the graph."""
    prepared = prepare(graph, scheme).graph
    data = samples(graph, 3)
    found, expected = (run_float(g, data.inputs, graph.outputs) for g in (prepared, graph))
    for tensor in graph.outputs:
        np.testing.assert_allclose(found[id(tensor)], expected[id(tensor)], rtol=1e-4, atol=1e-5)
    return prepared


@pytest.mark.parametrize("scheme", SCHEMES, ids=Scheme.describe)
@pytest.mark.parametrize("name", CASES)
def test_every_operator(name: str, scheme: Scheme) -> None:
    check_same(CASES[name](), scheme)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name: str) -> None:
    check_same(recurrent_net(RECURRENT[name]), Scheme())


@pytest.mark.parametrize("scheme", [*SCHEMES, Scheme(per_channel=False)], ids=Scheme.describe)
def test_fully_connected(scheme: Scheme) -> None:
    graph = one("FULLY_CONNECTED", (3, 12), constants=[(5, 12), (5,)], activation="relu")
    assert [node.op.kind for node in check_same(graph, scheme).nodes] == ["RESHAPE", "CONV_2D", "RESHAPE"]
    assert check_same(graph, Scheme(layers={"n0": "float32"})).nodes == graph.nodes


def test_sum_of_several() -> None:
    check_same(one("ADD_N", ROW, ROW, ROW), Scheme())


def tflite_lstm(clip: float, time_major: bool) -> Graph:
    """A float LSTM as TFLite has it, and a classifier of its last state."""
    cells, steps, features = 6, 7, 5
    shape = (steps, 1, features) if time_major else (1, steps, features)
    layers = Layers(shape)
    states = [
        Tensor(name, (1, cells), np.dtype(np.float32), initial=np.zeros((1, cells), np.float32)) for name in ("h", "c")
    ]
    gates = [layers.constant(cells, width, scale=0.8) for width in (features, cells) for _ in range(4)]
    biases = [layers.constant(cells, scale=0.3) for _ in range(4)]
    inputs = [layers.inputs[0], *gates, *[None] * 3, *biases, *[None] * 2, *states, *[None] * 4]
    op = UnidirectionalSequenceLstm(clip, time_major)
    y = Tensor("y", op.infer(inputs)[0], np.dtype(np.float32))
    layers.nodes.append(Node(op, inputs, [y], "lstm"))
    return layers.graph(y)


@pytest.mark.parametrize("clip", [0.0, 0.2, 10.0])
@pytest.mark.parametrize("time_major", [False, True])
def test_float_lstm_of_tflite(clip: float, time_major: bool) -> None:
    graph = tflite_lstm(clip, time_major)
    prepared = check_same(graph, Scheme())
    assert any(isinstance(node.op, LstmWithCell) for node in prepared.nodes)
    assert not prepared.states
    data = samples(graph, 16)
    made = quantize(graph, data)
    assert agreement(graph, made, data).sqnr > 20
    assert next(n.op for n in made.nodes if n.states) == UnidirectionalSequenceLstm(clip)
