"""quantize() as a whole: what it refuses, what it says, what it costs; recurrent layers; whole models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.oracles import check_compiled, expect_same, litert, tflm
from tests.quantize.one_layer import IMAGE, Layers, one, raw_inputs, samples
from tests.quantize.test_lower import small_net
from tinymaix.commands.quantize import advice
from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import LARGEST_DB, Agreement, agreement
from tinymaix.quantize.samples import Samples, load_samples
from tinymaix.write.tflite import tflite_bytes

DATA = Path(__file__).parents[1] / "data"
BAD: dict[str, tuple[Callable[[Array], Array], str]] = {
    "NaN": (lambda x: np.where(x == x.flat[5], np.nan, x), "sample 0 .*NaN or infinity in input 'in0'"),
    "infinity": (lambda x: x * np.float32(np.inf), "NaN or infinity"),
    "constant": (
        lambda x: np.full_like(x, 0.5),
        "every value of input 'in0' is 0.5 in all 4 samples; its range is empty",
    ),
    "shape": (lambda x: x[:, 1:], r"input 0 \('in0'\) takes float32 of shape"),
    "type": (lambda x: x.astype(np.float64), "takes float32"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_samples(name: str) -> None:
    change, sentence = BAD[name]
    data = samples(small_net(), 4)
    with pytest.raises(ModelError, match=sentence):
        quantize(small_net(), Samples([[np.asarray(change(x)) for x in s] for s in data.inputs], names=list("abcd")))


def test_no_samples_and_no_float_model() -> None:
    with pytest.raises(ModelError, match="no samples to calibrate with"):
        quantize(small_net(), Samples([]))
    graph = quantize(small_net(), samples(small_net()))
    with pytest.raises(ModelError, match="quantized already"):
        quantize(graph, samples(small_net()))


def test_unknown_choices() -> None:
    with pytest.raises(ModelError, match=r"ranges 'best' is not known; known are minmax"):
        Scheme(ranges="best")
    with pytest.raises(ModelError, match=r"layer 'a' is to be 'int2'"):
        Scheme(layers={"a": "int2"})
    with pytest.raises(ModelError, match="a scheme has no 'bits'"):
        tinymaix.quantize(small_net(), samples(small_net()), bits=4)
    with pytest.raises(ModelError, match="not both"):
        tinymaix.quantize(small_net(), samples(small_net()), scheme=Scheme(), ranges="mse")


def test_the_float_graph_stays_as_it_was() -> None:
    graph = small_net()
    before = graph.run(samples(graph, 1).inputs[0])
    notes, nodes = list(graph.notes), list(graph.nodes)
    quantize(graph, samples(graph), Scheme(weights="int4", ranges="kl"))
    assert (graph.notes, graph.nodes) == (notes, nodes)
    expect_same(graph.run(samples(graph, 1).inputs[0]), before, "after and before")


def test_progress_counts_the_samples() -> None:
    said: list[str] = []
    quantize(small_net(), samples(small_net(), 4), Scheme(ranges="mse"), said.append)
    assert "observing samples 1 to 4 of 4" in said
    assert "counting samples 1 to 4 of 4" in said


def test_describe() -> None:
    assert Scheme().describe() == "int8"
    scheme = Scheme(activations="int16", ranges="mse", equalize=True, per_channel=False, layers={"a": "int8"})
    assert scheme.describe() == "int16, ranges mse, equalize, per tensor, a=int8"


def test_agreement() -> None:
    graph, data = small_net(), samples(small_net(), 16)
    same = agreement(graph, graph, data)
    assert (same.sqnr, same.top1, same.accuracy) == (LARGEST_DB, 1.0, None)
    labels = np.concatenate([graph.run(s)[0].argmax(axis=1) for s in data.inputs])
    found = agreement(graph, quantize(graph, data, Scheme(activations="int16")), replace(data, labels=labels))
    assert found.accuracy_float == 1.0
    assert found.accuracy == found.top1
    assert found.sqnr > 30
    assert "accuracy" in found.text()
    assert agreement(one("TANH", IMAGE), one("TANH", IMAGE), samples(one("TANH", IMAGE))).top1 is None


def test_what_the_chip_gets_is_what_numpy_gives() -> None:
    """int4 weights in flash too: compiled C against the reference."""
    cases = []
    for scheme in (Scheme(), Scheme(activations="int16"), Scheme(weights="int4"), Scheme(io="float32")):
        graph = quantize(small_net(), samples(small_net()), scheme)
        cases.append((graph, [raw_inputs(graph, s) for s in samples(small_net(), 3).inputs]))
    check_compiled(cases)


RECURRENT: dict[str, Recurrent] = {
    "lstm": LSTM(),
    "lstm_sequence": LSTM(sequences=True),
    "lstm_reverse": LSTM(sequences=True, reverse=True),
    "lstm_relu": LSTM(activation="relu", gate="hard_sigmoid"),
    "gru": GRU(),
    "gru_reverse": GRU(sequences=True, reverse=True),
    "gru_reset_before": GRU(reset_after=False, gate="hard_sigmoid6"),
    "rnn": SimpleRNN(sequences=True),
}


def recurrent_net(op: Recurrent) -> Graph:
    """A recurrent layer over 7 steps of 5 features, and a classifier."""
    layers = Layers((1, 7, 5))
    units = 6
    gates = op.gates * units
    inputs: list[Tensor | None] = [
        layers.inputs[0], layers.constant(gates, 5, scale=0.5), layers.constant(gates, units, scale=0.4),
        layers.constant(gates, scale=0.2),
    ]  # fmt: skip
    if isinstance(op, GRU):
        inputs.append(layers.constant(gates, scale=0.2))
    y = Tensor("hidden", op.infer(inputs)[0], np.dtype(np.float32))
    layers.nodes.append(Node(op, inputs, [y], "cell"))
    layers.op("FULLY_CONNECTED", y, layers.constant(3, y.shape[-1] * (7 if op.sequences else 1)))
    return layers.graph()


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name: str) -> None:
    float_graph = recurrent_net(RECURRENT[name])
    data = samples(float_graph, 24)
    graph = quantize(float_graph, data)
    assert all(t.dtype != np.float32 for t in graph.tensors)
    assert agreement(float_graph, graph, data).sqnr > 25
    written = tflite_bytes(graph)
    inputs = raw_inputs(graph, data.inputs[0])
    expect_same(tflm(written, inputs), graph.run(inputs), "TFLM and own")
    if name == "lstm":  # LiteRT's fully connected layers round otherwise, so that only what is before compares
        short = Graph(graph.nodes[:-1], graph.inputs, [graph.nodes[-1].input(0)])
        expect_same(litert(tflite_bytes(short), inputs), short.run(inputs), "LiteRT and own")


def test_long_recurrent_layers_stay_floats() -> None:
    layers = Layers((1, 200, 3))
    x = layers.inputs[0]
    layers.op("SIMPLE_RNN", x, layers.constant(4, 3, scale=0.3), layers.constant(4, 4, scale=0.3))
    graph = quantize(layers.graph(), samples(layers.graph()))
    assert any("SIMPLE_RNN" in note for note in graph.notes)
    assert any(node.op.kind == "SIMPLE_RNN" for node in graph.nodes)


@pytest.mark.parametrize("name", ["onnx_small", "onnx_transformer", "onnx_cnn_1d", "torch_gru", "torch_lstm"])
def test_models_of_the_readers(name: str) -> None:
    path = next(DATA.glob(f"{name}.*[xt2]"))
    float_graph = tinymaix.read(path)
    data = samples(float_graph, 24)
    graph = quantize(float_graph, data)
    assert agreement(float_graph, graph, data).sqnr > 30
    written = tflite_bytes(graph)
    inputs = raw_inputs(graph, data.inputs[0])
    oracle = litert if name == "onnx_transformer" else tflm  # TFLM has no GELU
    expect_same(oracle(written, inputs), graph.run(inputs), f"{oracle.__name__} and own", 1e-6)


def test_mnist_within_a_fifth_of_a_point(shared: Path) -> None:
    """The model of the original's README with the original's calibration pictures, on the 5,000 test pictures."""
    models = shared / "models"
    float_graph = tinymaix.read(models / "tinymaix/h5/mnist_valid.h5")
    graph = tinymaix.quantize(float_graph, models / "tinymaix/images/mnist_quant")
    with np.load(models / "data/mnist/mnist_t10k_first5000.npz") as file:
        x, y = file["x"][:, None, :, :, None].astype(np.float32) / np.float32(255), file["y"]
    found = agreement(float_graph, graph, Samples([[a] for a in x], y.astype(np.int64)))
    assert found.accuracy is not None
    assert found.accuracy_float is not None
    assert found.accuracy >= found.accuracy_float - 0.002
    own = load_samples(models / "tinymaix/images/mnist_quant", float_graph.inputs, limit=3)
    for sample in own.inputs:
        inputs = raw_inputs(graph, sample)
        expect_same(tflm(graph, inputs), graph.run(inputs), "TFLM and own")


def test_a_model_with_integer_layers_is_refused() -> None:
    made = quantize(small_net(), samples(small_net()), Scheme(io="float32"))
    with pytest.raises(ModelError, match=r"QUANTIZE 'in0_int8' computes with integers already"):
        quantize(made, samples(made))


def test_advice() -> None:
    poor = Agreement(8, 5.0, 0.6, None, None)
    assert advice(Agreement(8, 30.0, 1.0, None, None), Scheme()) == []
    [text] = advice(poor, Scheme(weights="int4", round="learned"))
    assert "--weights int8" in text
    assert "--round" not in text
