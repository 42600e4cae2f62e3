"""One network as a Keras file, .tflite, .pt2 and .onnx: the same outputs, the same C but for bits of its weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import model_files
from tests.read.fixtures import channels_last
from tests.read.test_keras import without_values
from tests.write.test_tflite_parts import expect_litert
from tinymaix.api import read
from tinymaix.compile.project import compile_graph, golden_inputs
from tinymaix.cores import find
from tinymaix.graph import Array, Graph
from tinymaix.read import read_bytes
from tinymaix.rewrite import simplify
from tinymaix.write.tflite import tflite_bytes

torch = pytest.importorskip("torch", reason="two of the readers read what it exports")

from tests.torch_twin import TorchTwin  # noqa: E402
from tests.twin_nets import NETS, TwinNet  # noqa: E402

TOLERANCE = 1e-5
TRAINED = ["mnist_valid", "mnist_dw", "mnist_resnet"]
FORMS = [(name, form) for name in NETS for form in ("module", "pt2", "onnx")]
FORMS.append(("residual", "onnx-dynamo"))  # which takes seconds


def exported(net: TwinNet, form: str, folder: Path) -> Graph:
    """The module through PyTorch's exporters."""
    path = folder / f"net.{form.split('-')[0]}"
    if form == "pt2":
        torch.export.save(torch.export.export(net.module, (net.example,)), path)
        return read(path)
    pytest.importorskip("onnxscript" if "dynamo" in form else "onnx", reason="PyTorch's exporter needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.module, (net.example,), path, dynamo="dynamo" in form, verbose=False)
    return read(path)


def channels_first(array: Array, shape: tuple[int, ...]) -> Array:
    return array if array.shape == shape else np.ascontiguousarray(np.moveaxis(array, -1, 1))


def expect_same(graph: Graph, keras: Graph, net: TwinNet) -> None:
    """Inputs of the same shape in the same order of axes, outputs within the tolerance of PyTorch's, the same C."""
    assert [t.shape for t in graph.inputs] == [t.shape for t in keras.inputs]
    x = golden_inputs(keras)[0]
    y = net.module(torch.from_numpy(channels_first(x, tuple(net.example.shape)))).detach().numpy()
    expected = channels_last(y, graph.outputs[0])
    np.testing.assert_allclose(graph.run([x])[0], expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(keras.run([x])[0], expected, rtol=0, atol=TOLERANCE)
    assert emitted(graph) == emitted(keras)


def emitted(graph: Graph) -> list[str]:
    return without_values(compile_graph(graph, find("cortex-m4"), name="net").files["model.c"])


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_same_c_from_pytorch(name: str, form: str, tmp_path: Path) -> None:
    net = NETS[name]()
    graph = read(net.module, (net.example,)) if form == "module" else exported(net, form, tmp_path)
    expect_same(graph, simplify(read_bytes(net.keras)), net)


@pytest.mark.parametrize("name", ["residual", "cnn_1d"])  # a .tflite has other recurrent layers
def test_same_c_from_tflite(name: str) -> None:
    net = NETS[name]()
    keras = simplify(read_bytes(net.keras))
    expect_same(simplify(read_bytes(tflite_bytes(keras))), keras, net)


@pytest.mark.parametrize("name", NETS)
def test_litert_runs_what_is_written(name: str) -> None:
    """As a .tflite, recurrent layers step by step."""
    graph = simplify(read_bytes(NETS[name]().keras))
    expect_litert(graph, golden_inputs(graph))


@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks(name: str, tmp_path: Path) -> None:
    """A .h5, the .tflite that TensorFlow's converter made of it, and a module with the weights of the .h5."""
    for path in model_files(f"tinymaix/h5/{name}.h5"):
        module = TorchTwin(path.read_bytes())
        net = TwinNet(path.read_bytes(), module, module.example)
        keras = read(path)
        expect_same(read(path.parents[1] / "tflite" / f"{name}_f.tflite"), keras, net)
        for form in ("pt2", "onnx"):
            expect_same(exported(net, form, tmp_path), keras, net)
        return
    pytest.skip(f"{name}.h5 is absent; set TINYMAIX_SHARED to the folder that holds models/")
