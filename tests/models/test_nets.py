"""Networks that people deploy, exported by PyTorch and saved by Keras: equal to PyTorch, also on an emulated chip."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinymaix
from tests.keras_nets import require_keras
from tests.read.fixtures import channels_last
from tests.read.test_keras import without_values
from tests.write.test_tflite_parts import expect_litert
from tinymaix.compile.project import compile_graph
from tinymaix.cores import find
from tinymaix.graph import Array, Graph
from tinymaix.read import read_model
from tinymaix.read.torch import read_program
from tinymaix.rewrite import simplify

torch = pytest.importorskip("torch", reason="the source of the networks")

from tests.keras_twins import keras_twin  # noqa: E402
from tests.nets import NETS, net  # noqa: E402

TOLERANCE = 1e-4


def _check(graph: Graph, x: Array, y: Array, on: str = "reference") -> None:
    assert [problem for node in graph.nodes for problem in node.op.problems(node)] == []
    (result,) = tinymaix.run(graph, channels_last(x, graph.inputs[0]), on=on)
    np.testing.assert_allclose(result, channels_last(y, graph.outputs[0]), rtol=0, atol=TOLERANCE)


@cache
def exported(name: str) -> Graph:
    """The network through torch.export."""
    module, inputs = net(name)
    return tinymaix.read(module, example_inputs=inputs)


def emitted(graph: Graph) -> list[str]:
    return without_values(compile_graph(graph, find("cortex-m4"), name="net").files["model.c"])


@pytest.fixture(params=list(NETS))
def case(request: pytest.FixtureRequest) -> tuple[str, Any, Any, Array]:
    """Name, module, example inputs and what PyTorch computes."""
    module, inputs = net(request.param)
    return request.param, module, inputs, module(*inputs).detach().numpy()


def test_torch_export_runs_on_a_cortex_m4(case: tuple[str, Any, Any, Array]) -> None:
    name, _, inputs, y = case
    graph = exported(name)
    if name != "transformer":
        assert "TRANSPOSE" not in [node.op.kind for node in graph.nodes]
    _check(graph, inputs[0].numpy(), y, on="cortex-m4")


def test_onnx_is_pytorch(case: tuple[str, Any, Any, Array], tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="PyTorch's exporter needs it")
    name, module, inputs, y = case
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, path, dynamo=False, opset_version=17)
    graph = simplify(read_model(path))
    if name != "transformer":
        assert "TRANSPOSE" not in [node.op.kind for node in graph.nodes]
    _check(graph, inputs[0].numpy(), y)
    assert emitted(graph) == emitted(exported(name))  # which runs on a Cortex-M4
    expect_litert(graph, [channels_last(inputs[0].numpy(), graph.inputs[0])])  # as a .tflite


def test_keras_runs_on_a_cortex_m4(case: tuple[str, Any, Any, Array], tmp_path: Path) -> None:
    """The same network with the same weights, saved by Keras as a .keras."""
    require_keras()
    name, _, inputs, y = case
    keras_twin(name).save(tmp_path / "model.keras")
    graph = tinymaix.read(tmp_path / "model.keras")
    if name != "transformer":
        assert "TRANSPOSE" not in [node.op.kind for node in graph.nodes]
    _check(graph, inputs[0].numpy(), y, on="reference" if name == "mobilenet_v2" else "cortex-m4")
    if name == "mobilenet_v2":  # seconds on the emulator: the C that runs there for PyTorch is the same
        assert emitted(graph) == emitted(exported(name))


def test_the_current_exporter(tmp_path: Path) -> None:
    """torch.onnx.export through torch.export, with weights in a file of their own."""
    pytest.importorskip("onnxscript", reason="PyTorch's exporter needs it")
    module, inputs = net("unet")
    path = tmp_path / "model.onnx"
    torch.onnx.export(module, inputs, path, dynamo=True, external_data=True, verbose=False)
    assert (tmp_path / "model.onnx.data").is_file()
    _check(simplify(read_model(path)), inputs[0].numpy(), module(*inputs).detach().numpy())


def test_reads_programs_and_modules_with_inputs_only() -> None:
    module, inputs = net("lstm")
    assert tinymaix.read(torch.export.export(module, inputs)).outputs[0].shape == (1, 3)
    with pytest.raises(tinymaix.ModelError, match="needs example inputs"):
        tinymaix.read(module)
    with pytest.raises(tinymaix.ModelError, match="a int is no path"):
        tinymaix.read(7)


@pytest.mark.parametrize("name", ["ds_cnn", "cnn_1d", "transformer", "lstm"])
def test_decomposed_programs(name: str) -> None:
    module, inputs = net(name)
    program = torch.export.export(module, inputs).run_decompositions()
    _check(simplify(read_program(program)), inputs[0].numpy(), module(*inputs).detach().numpy())
