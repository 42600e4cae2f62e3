"""Whole .pt2 files, without torch: fixtures against what PyTorch computed, and all that is refused with a sentence."""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.read.fixtures import DATA, check_fixture
from tinymaix.graph import ModelError
from tinymaix.read import read_bytes
from tinymaix.read.torch import is_torch, read_pt2, read_torch

Edit = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize("name", ["cnn_1d", "lstm", "gru", "transformer"])
def test_float_networks(name: str) -> None:
    graph = check_fixture(f"torch_{name}.pt2", 1e-4)
    if name != "transformer":  # whose heads are transposed by design
        assert [node for node in graph.nodes if node.op.kind == "TRANSPOSE"] == []


def test_a_network_quantized_by_pt2e_has_integer_layers() -> None:
    graph = check_fixture("torch_small_pt2e.pt2", 2e-2)
    integer = [node.op.kind for node in graph.nodes if node.output.dtype == np.int8]
    assert {"CONV_2D", "DEPTHWISE_CONV_2D"} <= set(integer)
    assert graph.inputs[0].dtype == np.int8


def test_both_readers_give_one_graph() -> None:
    for name in ("cnn_1d", "lstm", "gru"):
        onnx, torch = check_fixture(f"onnx_{name}.onnx", 1e-4), check_fixture(f"torch_{name}.pt2", 1e-4)
        assert [(n.op, [t.shape for t in n.present]) for n in onnx.nodes] == [
            (n.op, [t.shape for t in n.present]) for n in torch.nodes
        ]


def _edited(edit: Edit | None = None, weights: Edit | None = None, drop: str = "none of them") -> bytes:
    """The 1-D CNN with its program or the description of its weights changed, or without a file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(DATA / "torch_cnn_1d.pt2") as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            for change, end in ((edit, "models/model.json"), (weights, "model_weights_config.json")):
                if change is not None and name.endswith(end):
                    content = json.loads(data)
                    change(content)
                    data = json.dumps(content).encode()
            if not name.endswith(drop):
                target.writestr(name, data)
    return stream.getvalue()


def _graph(program: dict[str, Any]) -> Any:
    return program["graph_module"]["graph"]


def _set(path: list[str | int], value: object) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        at: Any = content
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return edit


NODES: list[str | int] = ["graph_module", "graph", "nodes"]
META: list[str | int] = ["config", "0.weight", "tensor_meta"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            _edited(_set([*NODES, 0, "target"], "torch.ops.aten.fft_fft.default")),
            "aten.fft_fft 'conv1d' is not supported",
        ),
        (_edited(_set([*NODES, 0, "target"], "my.own.op")), "my.own.op 'conv1d' is not supported"),
        (_edited(_set([*NODES, 0, "inputs", 0, "arg"], {"as_tensor": {"name": "nothing"}})), "reads 'nothing'"),
        (_edited(_set([*NODES, 0, "inputs"], [])), "its argument weight is missing"),
        (_edited(_set([*NODES, 1, "outputs"], [{"as_tensor": {"name": "conv1d"}}])), "writes 'conv1d'"),
        (_edited(_set(NODES, 7)), "description of the program makes no sense"),
        (_edited(_set(["graph_module", "signature"], {})), "description of the program makes no sense"),
        (_edited(_set(["graph_module", "graph", "tensor_values", "input", "sizes", 0], {"as_expr": "s0"})), "dynamic"),
        (_edited(weights=_set(["config", "0.weight", "use_pickle"], True)), "can run any code"),
        (_edited(weights=_set([*META, "sizes", 0], {"as_int": 10**9})), "larger than any chip's memory"),
        (_edited(weights=_set([*META, "sizes", 0], {"as_int": 10**4})), "needs more than its"),
        (_edited(weights=_set([*META, "strides", 0], {"as_int": -1})), "needs more than its"),
        (_edited(weights=_set([*META, "dtype"], 10)), "has elements of type 10"),
        (_edited(weights=_set(["config"], {})), "the weights '0.weight' are missing"),
        (_edited(drop="weight_0"), "weights/weight_0' is missing"),
        (_edited()[:2000], "damaged|a ZIP archive that is neither"),
    ],
)
def test_refuses(data: bytes, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_bytes(data)


def test_refuses_pickles() -> None:
    """A .pt of torch.save is a zip file with a pickle in it; nothing is unpickled to say so."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("the file was unpickled",))

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        target.writestr("model/data.pkl", pickle.dumps(Bomb()))
    assert is_torch(stream.getvalue())
    for data in (stream.getvalue(), pickle.dumps(Bomb())):
        with pytest.raises(ModelError, match="can run any code"):
            read_bytes(data)


def test_refuses_zip_bombs() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("model/models/model.json", b" " * (1 << 24))
    with pytest.raises(ModelError, match="unpacks to far more data"):
        read_pt2(stream.getvalue())


def test_strided_weights() -> None:
    """Weights that torch keeps transposed are read in their own order."""

    def transposed(content: dict[str, Any]) -> None:
        meta = content["config"]["8.weight"]["tensor_meta"]
        rows, columns = (size["as_int"] for size in meta["sizes"])
        meta["strides"] = [{"as_int": 1}, {"as_int": rows}]
        assert columns > 1

    graphs = [read_pt2(data) for data in (_edited(), _edited(weights=transposed))]
    plain, other = (next(n for n in g.nodes if n.op.kind == "FULLY_CONNECTED").input(1).data for g in graphs)
    assert plain is not None
    assert other is not None
    np.testing.assert_array_equal(other, plain.reshape(-1).reshape(plain.shape[::-1]).T)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=re.escape("pip install 'tinymaix[torch]'")):
        read_torch(object())
