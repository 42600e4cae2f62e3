"""Comparison of a float and an integer model: layers, who is to blame, what to try; each cause is made on purpose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.browser import open_page
from tests.quantize.float_nets import Net, random_samples, residual_net, unequal_mobilenet
from tinymaix.cli import main
from tinymaix.compare.blame import advice
from tinymaix.compare.comparison import Comparison, compare
from tinymaix.compare.layers import LayerFigures
from tinymaix.compare.match import match
from tinymaix.compare.show import page
from tinymaix.graph import Graph, ModelError, Quantization
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.softmax import Softmax
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.samples import Samples
from tinymaix.read.tflite import read_tflite
from tinymaix.rewrite import simplify
from tinymaix.write.tflite import tflite_bytes

LAYER = LayerFigures(0, "a", "CONV_2D", (1, 2, 2, 4), "int8", 20, 20, 40, 0.0, 0.0, 1.0, 1.0, 1.0, None, False, [])


def classifier(uneven: bool = False) -> Graph:
    net = Net((1, 8, 8, 3), uneven=uneven)
    for channels in (8, 12):
        net.layer(Conv2D(stride=(2, 2), padding=(0, 1, 0, 1), activation="relu"), channels, 3)
    net.layer(Conv2D(), 6, 2)
    net.add(Softmax())
    return net.graph()


def found(graph: Graph, scheme: Scheme | None = None, count: int = 24) -> Comparison:
    samples = random_samples(graph, count)
    return compare(graph, quantize(graph, samples, scheme), random_samples(graph, count, seed=2))


def test_a_good_model_has_no_one_to_blame_for_much() -> None:
    graph = classifier()
    samples = random_samples(graph, 24)
    result = compare(graph, quantize(graph, samples), samples)
    assert result.sqnr > 20
    assert [layer.name for layer in result.layers] == [node.name for node in classifier().nodes]
    assert result.notes == []
    assert len(result.worst) == 10
    for layer in result.layers:
        assert layer.own is not None
        assert layer.own >= layer.sqnr - 1  # what is inherited is not its own
        assert layer.saturated < 0.001


def test_a_layer_with_bad_weights_is_blamed_and_not_those_behind_it() -> None:
    graph = classifier()
    samples = random_samples(graph, 24)
    integers = quantize(graph, samples)
    node = integers.nodes[1]
    weights = node.input(1)
    assert weights.data is not None
    coarse = replace(weights, data=(weights.data // 32 * 32).astype(np.int8))
    integers.nodes[1] = replace(node, inputs=[node.inputs[0], coarse, *node.inputs[2:]])
    result = compare(graph, integers, samples)
    assert result.blame[0].name == graph.nodes[1].name
    assert "weights" in result.blame[0].because
    behind = result.layers[2]
    assert behind.own is not None
    assert behind.own > result.blame[0].own + 10 > behind.sqnr


def test_a_range_that_is_too_narrow_or_too_wide() -> None:
    graph = classifier()
    samples = random_samples(graph, 24)
    for factor, said in ((0.25, "beyond its range"), (12.0, "wider than 99.9 % of its values")):
        integers = quantize(graph, samples)
        y = integers.nodes[0].output
        y.quantization = Quantization.of(y.q.s * factor, y.q.z)
        bias = integers.nodes[1].input(2)
        assert bias.data is not None
        bias.data = (bias.data / factor).astype(np.int32)
        result = compare(graph, integers, samples)
        assert result.blame[0].name == graph.nodes[0].name
        assert said in result.blame[0].because
        assert result.blame[0].options[0] == {0.25: "--ranges minmax", 12.0: "--ranges percentile"}[factor]
    assert result.layers[0].width > 10


def test_a_shifted_bias() -> None:
    graph = classifier()
    samples = random_samples(graph, 24)
    integers = quantize(graph, samples)
    bias = integers.nodes[2].input(2)
    assert bias.data is not None
    bias.data = bias.data + np.int32(abs(bias.data).max())
    assert compare(graph, integers, samples).blame[0].options == ["--correct-bias"]


def test_int4_weights_of_a_convolution_and_a_fully_connected_layer() -> None:
    net = Net((1, 6, 6, 3))
    net.layer(Conv2D(activation="relu"), 8, 3)
    net.add(Mean((1, 2)))
    net.layer(FullyConnected(), 5)
    result = found(net.graph(), Scheme(weights="int4"))
    assert [layer.is_int4 for layer in result.layers] == [True, False, True]
    assert result.layers[2].weights is not None  # though it is a convolution between reshapings now
    assert result.notes == []
    assert result.blame[0].options == ["--round learned", f"--layer {result.blame[0].name}=int8"]


@pytest.mark.parametrize(
    ("layer", "because", "option"),
    [
        (replace(LAYER, weights=21.0), "rounding its weights", "--round learned"),
        (replace(LAYER, weights=21.0, is_int4=True), "more than 4 bits", "--round learned"),
        (
            replace(LAYER, weights=21.0, weight_channels=300.0),
            "weights' channels are unequal 300x",
            "quantize per channel",
        ),
        (replace(LAYER, weights=21.0, input_channels=43.0), "inputs' channels are unequal 43x", "--equalize"),
        (replace(LAYER, weights=21.0, shift=0.9), "90% of its error is constant", "--correct-bias"),
        (replace(LAYER, saturated=0.1), "10.0% of its values lie beyond", "--ranges minmax"),
        (replace(LAYER, width=40.0), "40x wider than 99.9 %", "--ranges percentile"),
        (replace(LAYER, shift=0.7), "70% of its error is a constant shift", "--correct-bias"),
        (replace(LAYER, channels=90.0), "channels are unequal 90x", "--equalize"),
        (LAYER, "needs more than int8", "--layer a=int16"),
    ],
)
def test_advice(layer: LayerFigures, because: str, option: str) -> None:
    why, options = advice(layer, 20.0)
    assert because in why
    assert options[0].startswith(option)


def test_equalized_channels_are_scaled_back() -> None:
    result = found(residual_net(), Scheme(equalize=True))
    assert result.notes == []
    for layer in result.layers:
        assert layer.own is not None
        assert layer.own > 20, layer  # without it layers that are scaled would be wrong by far


def test_the_hard_case_blames_unequal_channels() -> None:
    graph, calibration, test = unequal_mobilenet()
    few = Samples(test.inputs[:60], test.labels[:60] if test.labels is not None else None, test.names[:60])
    result = compare(graph, quantize(graph, calibration), few)
    accuracy = next(score for score in result.scores if score.name == "accuracy")
    assert accuracy.real is not None
    assert accuracy.ours < accuracy.real - 0.5
    assert any("--equalize" in each.options for each in result.blame)


def test_layers_of_a_foreign_file_are_matched_by_shape() -> None:
    graph = residual_net()
    integers = quantize(graph, random_samples(graph, 8))
    for i, tensor in enumerate(integers.tensors):
        tensor.name = f"other{i}"
    pairs = match(graph, simplify(read_tflite(tflite_bytes(integers))))
    assert [pair.real for pair in pairs] == graph.nodes


def test_models_that_are_not_two_forms_of_one() -> None:
    graph = classifier()
    samples = random_samples(graph, 4)
    with pytest.raises(ModelError, match="have other inputs"):
        compare(graph, quantize(residual_net(), random_samples(residual_net(), 4)), samples)
    integers = quantize(graph, samples)
    with pytest.raises(ModelError, match="give the float model first"):
        compare(integers, integers, samples)
    with pytest.raises(ModelError, match="no samples"):
        compare(graph, integers, Samples([]))


def test_the_page_names_everything_and_escapes_it() -> None:
    graph = classifier()
    graph.nodes[0].name = "<b>first</b>"
    result = found(graph)
    text = page(result).html()
    assert "<b>first" not in text
    assert "&lt;b&gt;first" in text
    assert text.count("<svg") == 2
    assert "Worst inputs" in text
    json.dumps(result.as_dict())


def test_the_command(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = shared / "models"
    pair = [str(models / "tinymaix/h5/mnist_valid.h5"), str(models / "tinymaix/tflite/mnist_valid_q.tflite")]
    data = ["--data", str(models / "data/mnist/mnist_t10k_first5000.npz"), "--limit", "100"]
    assert main(["compare", *pair, *data, "--html", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr().out
    assert "accuracy: float" in printed
    assert "layer " in printed
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["compare", *pair, *data, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"scores", "sqnr", "layers", "blame", "worst"} <= figures.keys()
    assert len(figures["layers"]) == 6
    assert main(["compare", *pair]) == 2
    assert "give --data" in capsys.readouterr().err


def test_the_public_function_reads_files_and_arrays(tmp_path: Path) -> None:
    graph = classifier()
    samples = random_samples(graph, 12)
    x = np.concatenate([sample[0] for sample in samples.inputs])
    labels = np.array([graph.run(sample)[0].argmax() for sample in samples.inputs])
    (tmp_path / "int8.tflite").write_bytes(tflite_bytes(quantize(graph, samples)))
    found = tinymaix.compare(graph, tmp_path / "int8.tflite", x, labels=labels, limit=10)
    assert found.samples == 10
    assert found.scores[0].name == "accuracy"
    assert found.scores[0].real == 1


def test_a_phone_shows_the_page_without_scrolling_sideways(tmp_path: Path) -> None:
    graph = classifier()
    samples = random_samples(graph, 8)
    opened = open_page(page(compare(graph, quantize(graph, samples), samples)).html(), tmp_path, 390)
    assert opened.console == []
    assert opened.width <= 390
    assert opened.sideways == 0
    assert opened.drawn
    assert all(opened.drawn)
    assert "worst channels" in opened.text
