"""The fast run over many samples against the reference of each."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.one_layer import CASES, IMAGE, Layers, raw_inputs, samples
from tests.quantize.test_lower import small_net
from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.variables import NOTHING, AssignVariable, ReadVariable
from tinymaix.quantize import Scheme, float_run, quantize
from tinymaix.quantize.float_run import chunks, run_float


@pytest.mark.parametrize("name", CASES)
def test_each_operator(name: str) -> None:
    graph = CASES[name]()
    data = samples(graph, 5)
    found = run_float(graph, data.inputs)
    for tensor in graph.outputs:
        expected = np.stack([graph.run(s)[graph.outputs.index(tensor)] for s in data.inputs])
        assert found[id(tensor)].shape == expected.shape
        assert found[id(tensor)].dtype == expected.dtype
        np.testing.assert_allclose(found[id(tensor)], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(activations="int16"), Scheme(weights="int4")], ids=Scheme.describe)
def test_integers_are_exact(scheme: Scheme) -> None:
    data = samples(small_net(), 6)
    graph = quantize(small_net(), data, scheme)
    inputs = [raw_inputs(graph, s) for s in data.inputs]
    found = run_float(graph, inputs, graph.outputs)[id(graph.outputs[0])]
    for k, sample in enumerate(inputs):
        assert np.array_equal(found[k], graph.run(sample)[0])


def test_grouped_convolution_and_batches() -> None:
    layers = Layers((2, 5, 6, 4))
    x = layers.inputs[0]
    y = layers.op("CONV_2D", x, layers.constant(6, 3, 3, 2), layers.constant(6), stride=(2, 1), padding=(1, 0, 0, 1))
    graph = layers.graph(layers.op("MEAN", y, axes=(1, 2), keep_dims=False))
    data = samples(graph, 3)
    found = run_float(graph, data.inputs)[id(graph.outputs[0])]
    assert found.shape == (3, 2, 6)
    np.testing.assert_allclose(found[1], graph.run(data.inputs[1])[0], rtol=1e-5, atol=1e-5)


def test_keeps_what_is_asked_for() -> None:
    graph = small_net()
    data = samples(graph, 2)
    assert set(run_float(graph, data.inputs, graph.outputs)) == {id(t) for t in graph.outputs}
    every = run_float(graph, data.inputs)
    assert set(every) == {id(t) for t in graph.tensors if not t.is_constant}


def test_parts_fit_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small_net()
    data = samples(graph, 7)
    monkeypatch.setattr(float_run, "CHUNK_BYTES", 2 * sum(t.nbytes for t in graph.tensors if not t.is_constant))
    assert [len(part) for part in chunks(graph, data.inputs)] == [2, 2, 2, 1]


def running_sum() -> Graph:
    """y = the sum of all x so far."""
    shape = (1, 3)
    float32 = np.dtype(np.float32)
    state = Tensor("total", shape, float32, initial=np.zeros(shape, float32))
    x, old, new = (Tensor(name, shape, float32) for name in ("x", "old", "new"))
    nodes = [
        Node(ReadVariable(), [state], [old], "read"),
        Node(Add(), [x, old], [new], "add"),
        Node(AssignVariable(), [state, new], [Tensor("done", NOTHING, float32)], "assign"),
    ]
    return Graph(nodes, [x], [new], "running sum")


def test_states_begin_anew_or_go_on() -> None:
    graph = running_sum()
    ones = [[np.ones((1, 3), np.float32)] for _ in range(3)]
    y = id(graph.outputs[0])
    assert run_float(graph, ones)[y][:, 0, 0].tolist() == [1, 1, 1]
    assert run_float(graph, ones, sequence=True)[y][:, 0, 0].tolist() == [1, 2, 3]


def test_samples_that_do_not_fit() -> None:
    graph = small_net()
    with pytest.raises(ModelError, match="no samples"):
        run_float(graph, [])
    with pytest.raises(ModelError, match="takes float32 of shape"):
        run_float(graph, [[np.zeros(IMAGE[1:], np.float32)]])
