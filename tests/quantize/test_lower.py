"""The lowering to integers: every operator's written file gives our bytes in TFLM and in LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import expect_same, litert, tflm
from tests.quantize.one_layer import CASES, IMAGE, ROW, Layers, one, raw_inputs, samples
from tinymaix.graph import Graph, ModelError, Tensor
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import agreement
from tinymaix.read import read_bytes
from tinymaix.write.tflite import tflite_bytes

NOT_IN_TFLM = {("gather", "int16"), ("topk", "int8"), ("topk", "int16")}
LEAST_DB = {"int8": 25.0, "int16": 35.0, "int4": 15.0}


def scheme(kind: str) -> Scheme:
    return Scheme(weights="int4") if kind == "int4" else Scheme(activations=kind)


def check(float_graph: Graph, chosen: Scheme, litert_too: bool = True, tflm_too: bool = True) -> Graph:
    """Quantize; the file, read back, TFLM and LiteRT give the bytes of the integer graph."""
    data = samples(float_graph)
    graph = quantize(float_graph, data, chosen)
    for node in graph.nodes:
        assert node.op.problems(node) == []
    written = tflite_bytes(graph)
    back = read_bytes(written, "back")
    for sample in data.inputs[:2]:
        inputs = raw_inputs(graph, sample)
        expected = graph.run(inputs)
        expect_same(back.run(inputs), expected, "read back and own")
        if tflm_too:
            expect_same(tflm(written, inputs), expected, "TFLM and own", 1e-6)
        if litert_too:
            expect_same(litert(written, inputs), expected, "LiteRT and own", 1e-6)
    return graph


@pytest.mark.parametrize("kind", ["int8", "int16"])
@pytest.mark.parametrize("name", CASES)
def test_every_operator(name: str, kind: str) -> None:
    float_graph = CASES[name]()
    graph = check(float_graph, scheme(kind), tflm_too=(name, kind) not in NOT_IN_TFLM)
    if float_graph.outputs[0].dtype == np.float32:
        found = agreement(float_graph, graph, samples(float_graph))
        assert found.sqnr > LEAST_DB[kind if "computed with int8" not in " ".join(graph.notes) else "int8"]


@pytest.mark.parametrize("name", ["conv", "conv_without_bias", "depthwise"])
def test_int4_weights(name: str) -> None:
    float_graph = CASES[name]()
    graph = check(float_graph, Scheme(layers={"n0": "int4"}))
    weights = graph.nodes[0].input(1)
    assert weights.is_int4
    assert weights.data is not None
    assert int(np.abs(weights.data).max()) <= 7
    assert weights.nbytes == (weights.elements + 1) // 2
    assert agreement(float_graph, graph, samples(float_graph)).sqnr > LEAST_DB["int4"]


def test_depthwise_layers_keep_int8_unless_named() -> None:
    assert not check(CASES["depthwise"](), scheme("int4")).nodes[0].input(1).is_int4


def test_int4_fully_connected_keeps_a_scale_for_each_channel() -> None:
    """As a convolution of 1x1, since TFLM has no such fully connected layer."""
    graph = check(one("FULLY_CONNECTED", ROW, constants=[(5, 12), (5,)], activation="relu"), scheme("int4"))
    assert [node.op.kind for node in graph.nodes] == ["RESHAPE", "CONV_2D", "RESHAPE"]
    assert graph.nodes[1].input(1).q.scale.size == 5


@given(
    seed=st.integers(0, 999),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 2),
    activation=st.sampled_from(["none", "relu", "relu6"]),
    kind=st.sampled_from(["int8", "int16", "int4"]),
)
def test_convolutions(
    seed: int, size: tuple[int, int], channels: tuple[int, int], stride: int, activation: str, kind: str
) -> None:
    shapes = [(channels[1], 3, 3, channels[0]), (channels[1],)]
    attributes = {"stride": (stride, stride), "padding": (1, 1, 1, 1), "activation": activation}
    check(one("CONV_2D", (1, *size, channels[0]), constants=shapes, seed=seed, **attributes), scheme(kind))


@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_fully_connected(kind: str) -> None:
    """A convolution: LiteRT rounds once where TFLM and we round twice."""
    graph = check(one("FULLY_CONNECTED", ROW, constants=[(5, 12), (5,)]), scheme(kind))
    assert [node.op.kind for node in graph.nodes] == ["RESHAPE", "CONV_2D", "RESHAPE"]
    bias = graph.nodes[1].input(2)
    assert bias.dtype == {"int8": np.int32, "int16": np.int64}[kind]


@pytest.mark.parametrize("kind", ["int8", "int16"])
@pytest.mark.parametrize("rows", [1, 3])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_row_of_fully_connected_layers(rows: int, kind: str, seed: int) -> None:
    """Between them no reshaping is left, and their outputs keep their names."""
    layers = Layers((rows, 2, 9), seed=seed)
    x = layers.op("RESHAPE", *layers.inputs, shape=(rows, 18))
    for units, before, activation in ((16, 18, "relu"), (4, 16, "none"), (20, 4, "relu6")):
        constants = layers.constant(units, before), layers.constant(units)
        x = layers.op("FULLY_CONNECTED", x, *constants, activation=activation)
    graph = check(layers.graph(), scheme(kind))
    assert [node.op.kind for node in graph.nodes] == ["RESHAPE", *["CONV_2D"] * 3, "RESHAPE"]
    assert [node.name for node in graph.nodes[1:4]] == ["n1", "n2", "n3"]
    assert [node.output.name for node in graph.nodes[1:3]] == ["y1_0", "y2_0"]
    assert graph.outputs[0].name == x.name


def small_net() -> Graph:
    """Two convolutions, a residual, a branch that is concatenated, a classifier."""
    layers = Layers(IMAGE)
    x = layers.inputs[0]
    same: dict[str, Any] = {"padding": (1, 1, 1, 1)}
    a = layers.op("CONV_2D", x, layers.constant(4, 3, 3, 4), layers.constant(4), activation="relu", **same)
    b = layers.op("DEPTHWISE_CONV_2D", a, layers.constant(1, 3, 3, 4), layers.constant(4), **same)
    c = layers.op("CONCATENATION", layers.op("ADD", a, b), layers.op("LOGISTIC", b), axis=3)
    d = layers.op("MEAN", c, axes=(1, 2), keep_dims=False)
    layers.op("SOFTMAX", layers.op("FULLY_CONNECTED", d, layers.constant(6, 8), layers.constant(6)))
    return layers.graph()


def test_mixed_types_meet_with_conversions() -> None:
    layers = {"n0": "int16", "n1": "int4", "n5": "float32"}
    graph = check(small_net(), Scheme(layers=layers))
    types = {node.name: node.output.dtype.name for node in graph.nodes if node.op.kind not in ("QUANTIZE",)}
    assert types["n0"] == "int16"
    assert types["n5"] == "float32"
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == np.int8
    assert next(node for node in graph.nodes if node.name == "n1").input(1).is_int4


@pytest.mark.parametrize("io", ["int8", "int16", "float32"])
@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_types_of_inputs_and_outputs(io: str, kind: str) -> None:
    graph = check(small_net(), replace(scheme(kind), io=io))
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == np.dtype(io)


def test_scales_that_are_fixed_or_shared() -> None:
    graph = quantize(small_net(), samples(small_net()), Scheme())
    by_kind = {node.op.kind: node for node in graph.nodes}
    softmax = by_kind["SOFTMAX"].output.q
    assert (softmax.s, softmax.z) == (1 / 256, -128)
    joined = by_kind["CONCATENATION"]
    assert {(t.q.s, t.q.z) for t in joined.activations} == {(joined.output.q.s, joined.output.q.z)}
    assert by_kind["ADD"].output.q is not joined.output.q
    assert by_kind["ADD"].output.q.s == joined.output.q.s, "no QUANTIZE where only the concatenation reads the sum"


def test_several_inputs_and_outputs() -> None:
    layers = Layers(IMAGE, IMAGE)
    total = layers.op("ADD", *layers.inputs)
    graph = check(layers.graph(total, layers.op("RELU", total), layers.inputs[0]), Scheme())
    assert len(graph.outputs) == 3
    assert graph.outputs[2] is graph.inputs[0]


def test_what_has_no_integer_form_is_computed_with_floats_and_said() -> None:
    graph = check(one("SIN", IMAGE), Scheme())
    assert [node.op.kind for node in graph.nodes] == ["DEQUANTIZE", "SIN", "QUANTIZE"]
    assert any("SIN 'n0'" in note and "floats" in note for note in graph.notes)


def test_dead_and_tiny_channels() -> None:
    """A channel without weights keeps its bias; one with tiny weights does not overflow it."""
    graph = one("CONV_2D", IMAGE, constants=[(3, 1, 1, 4), (3,)])
    weights, bias = graph.nodes[0].input(1), graph.nodes[0].input(2)
    assert weights.data is not None
    assert bias.data is not None
    weights.data[0], weights.data[1], bias.data[:] = 0, 1e-20, (0.5, -2.0, 0)
    made = check(graph, Scheme())
    assert agreement(graph, made, samples(graph)).sqnr > LEAST_DB["int8"]


def test_output_that_is_always_zero_is_said() -> None:
    layers = Layers(IMAGE)
    y = layers.op("MUL", layers.inputs[0], zeros := layers.constant(1))
    assert zeros.data is not None
    zeros.data[:] = 0
    graph = check(layers.graph(y, layers.op("RELU", layers.inputs[0])), Scheme())
    assert any("always 0" in note for note in graph.notes)


def test_unknown_layer() -> None:
    with pytest.raises(ModelError, match=r"no layer 'n99'.*'n0'"):
        quantize(small_net(), samples(small_net()), Scheme(layers={"n99": "int16"}))


def test_constants_that_are_no_numbers() -> None:
    for kind, shapes in (("ADD", [(4,)]), ("CONV_2D", [(3, 1, 1, 4), (3,)])):
        graph = one(kind, IMAGE, constants=shapes)
        given_weights: Tensor = graph.nodes[0].input(1)
        assert given_weights.data is not None
        given_weights.data.reshape(-1)[0] = np.nan
        with pytest.raises(ModelError, match="NaN"):
            quantize(graph, samples(graph), Scheme())


@given(
    kind=st.sampled_from(
        ["ADD", "SUB", "MUL", "MAXIMUM", "CONCATENATION", "SQUARED_DIFFERENCE", "PRELU", "BATCH_MATMUL"]
    ),
    scales=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    shift=st.floats(-2, 2),
    types=st.sampled_from(["int8", "int16"]),
)
def test_operands_of_very_different_ranges(kind: str, scales: tuple[float, float], shift: float, types: str) -> None:
    """Ranges up to a million times apart, and off zero."""
    axis: dict[str, Any] = {"axis": 1} if kind == "CONCATENATION" else {}
    float_graph = one(kind, (1, 4, 4), (1, 4, 4), **axis)
    data = samples(float_graph)
    factors = [np.float32(10**s) for s in scales]
    moved = [[(a + np.float32(shift)) * f for a, f in zip(s, factors, strict=True)] for s in data.inputs]
    graph = quantize(float_graph, replace(data, inputs=moved), scheme(types))
    inputs = raw_inputs(graph, moved[0])
    expected = graph.run(inputs)
    expect_same(tflm(graph, inputs), expected, "TFLM and own")
    expect_same(litert(graph, inputs), expected, "LiteRT and own")


@given(
    kind=st.sampled_from(
        ["RELU", "RELU6", "HARD_SWISH", "LOGISTIC", "TANH", "SOFTMAX", "ELU", "ABS", "MEAN", "LEAKY_RELU"]
    ),
    scale=st.floats(-3, 3),
    shift=st.floats(-2, 2),
    types=st.sampled_from(["int8", "int16"]),
)
def test_functions_of_any_range(kind: str, scale: float, shift: float, types: str) -> None:
    axes: dict[str, Any] = {"axes": (1,)} if kind == "MEAN" else {}
    float_graph = one(kind, (1, 4, 9), **axes)
    data = samples(float_graph)
    moved = [[(s[0] + np.float32(shift)) * np.float32(10**scale)] for s in data.inputs]
    graph = quantize(float_graph, replace(data, inputs=moved), scheme(types))
    inputs = raw_inputs(graph, moved[0])
    expect_same(tflm(graph, inputs), graph.run(inputs), "TFLM and own", 1e-6)
