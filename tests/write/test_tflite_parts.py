"""What a .tflite has no operator for is written in parts: LiteRT computes the same, padding in integers bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.keras_files import archive, layer, sequential
from tests.keras_nets import NETS
from tests.oracles import check_exact, random_inputs
from tests.read.fixtures import channels_last
from tests.read.test_keras import fixture
from tests.tmdl_graphs import Chain
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.read import read_bytes
from tinymaix.rewrite import simplify
from tinymaix.write.tflite import tflite_bytes

TOLERANCE = 1e-5
"""Of the largest value."""


def expect_litert(graph: Graph, inputs: Sequence[Array]) -> None:
    """LiteRT, which has no reference kernels for some operators, gives what the graph gives."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    data = tflite_bytes(graph)
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    assert [t["name"] for t in interpreter.get_output_details()] == [t.name for t in graph.outputs]
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    for detail, expected in zip(interpreter.get_output_details(), graph.run(inputs), strict=True):
        found = interpreter.get_tensor(detail["index"])
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize("name", NETS)
def test_networks_of_keras_run_in_litert(name: str) -> None:
    files, given, _ = fixture(name)
    for graph in (read_bytes(files["keras"]), simplify(read_bytes(files["keras"]))):
        expect_litert(graph, [channels_last(x, t) for x, t in zip(given, graph.inputs, strict=True)])


def test_a_layer_norm_is_read_back_as_one() -> None:
    graph = simplify(read_bytes(fixture("table")[0]["keras"]))
    again = simplify(read_bytes(tflite_bytes(graph)))
    assert [node.op.kind for node in again.nodes] == [node.op.kind for node in graph.nodes]
    assert "LAYER_NORM" in [node.op.kind for node in again.nodes]


def one(op: Operator, integer: bool) -> Graph:
    chain = Chain(integer, (1, 7, 6, 3))
    if isinstance(op, DepthwiseConv2D):
        chain.depthwise(2, op)
    elif isinstance(op, Conv2D):
        chain.conv(4, op)
    elif isinstance(op, TransposeConv):
        weights, bias = chain.constants((4, 3, 3, 3), 0)
        chain.apply(op, [chain.end, weights, bias])
    else:
        chain.apply(op, quantization=chain.input.quantization)
    return chain.graph()


@pytest.mark.parametrize("integer", [True, False])
@pytest.mark.parametrize(
    "op",
    [
        Conv2D(stride=(2, 2), padding=(1, 1, 0, 2), activation="relu"),
        DepthwiseConv2D(dilation=(1, 2), padding=(0, 2, 1, 0)),
        MaxPool2D((2, 2), (2, 2), padding=(1, 0, 1, 0)),
        TransposeConv((13, 11), (2, 2), padding=(1, 1, 1, 1)),
        TransposeConv((14, 12), (2, 2), padding=(1, 0, 1, 0)),
    ],
    ids=lambda op: op.kind,
)
def test_padding(op: Operator, integer: bool) -> None:
    graph = one(op, integer)
    check_exact(graph, random_inputs(graph))


def test_averages_over_what_is_inside() -> None:
    graph = one(AveragePool2D((3, 3), (2, 2), padding=(2, 1, 0, 1)), integer=False)
    expect_litert(graph, random_inputs(graph))
    with pytest.raises(ModelError, match="neither SAME nor VALID"):
        tflite_bytes(one(AveragePool2D((3, 3), (2, 2), padding=(2, 1, 0, 1)), integer=True))


@pytest.mark.parametrize("gate", ["hard_sigmoid", "relu"])
@pytest.mark.parametrize("backwards", [True, False])
def test_recurrent_layers(gate: str, backwards: bool) -> None:
    rng = np.random.default_rng(1)
    weights = {
        f"layers/{name}/cell/vars/{i}": rng.uniform(-0.5, 0.5, shape)
        for name, gates in (("lstm", 4), ("gru", 3), ("simple_rnn", 1))
        for i, shape in enumerate([(3, gates * 3), (3, gates * 3), (gates * 3,)])
    }
    common = {"units": 3, "return_sequences": True, "go_backwards": backwards, "activation": "tanh"}
    net = sequential(
        layer("LSTM", "a", recurrent_activation=gate, **common),
        layer("GRU", "b", recurrent_activation=gate, **common),
        layer("SimpleRNN", "c", **{**common, "return_sequences": False}),
        shape=(None, 5, 3),
    )
    graph = read_bytes(archive(net, weights))
    expect_litert(graph, random_inputs(graph))


def test_a_state_that_is_kept_is_refused() -> None:
    weights = {f"layers/gru/cell/vars/{i}": np.ones(shape) for i, shape in enumerate([(3, 6), (2, 6), (6,)])}
    net = sequential(layer("GRU", "keeper", units=2, stateful=True), shape=(1, 4, 3))
    with pytest.raises(ModelError, match="GRU 'keeper' keeps its state from run to run"):
        tflite_bytes(read_bytes(archive(net, weights)))
