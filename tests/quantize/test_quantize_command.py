"""`tinymaix quantize` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinymaix
from tests.quantize.one_layer import samples
from tests.quantize.test_lower import small_net
from tests.test_cli import fails
from tinymaix.cli import main
from tinymaix.write.tflite import write_tflite


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_tflite(small_net(), tmp_path / "net.tflite")
    return tmp_path / "net.tflite"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """16 samples with labels."""
    inputs = np.concatenate([s[0] for s in samples(small_net(), 16).inputs])
    np.savez(tmp_path / "data.npz", x=inputs, y=np.arange(16) % 6)
    return tmp_path / "data.npz"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["quantize", *map(str, arguments), "--json"]) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


def test_writes_a_tflite_and_says_what_it_did(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.parent / "int8.tflite"
    assert main(["quantize", str(model), "--data", str(data), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    for part in ("int8.tflite: int8", "weights: ", "on 16 samples: SQNR", "accuracy", "note: input 'in0' takes int8"):
        assert part in text
    graph = tinymaix.read(out)
    assert graph.inputs[0].dtype == np.int8


def test_every_option(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.parent / "q.tflite"
    name = tinymaix.read(model).nodes[1].name
    figures = run(
        capsys, model, "--data", data, "-o", out, "--activations", "int16", "--ranges", "mse", "--per-tensor",
        "--equalize", "--no-correct-bias", "--round", "learned", "--io", "float32", "--limit", 8,
        "--layer", f"{name}=int4",
    )  # fmt: skip
    assert figures["agreement"]["samples"] == 8
    assert figures["scheme"] == (
        f"int16, ranges mse, equalize, round learned, io float32, per tensor, biases not corrected, {name}=int4"
    )
    graph = tinymaix.read(out)
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == np.float32
    assert any(t.is_int4 for t in graph.constants)


def test_int4_halves_the_weights(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {
        kind: run(capsys, model, "--data", data, "-o", model.parent / "w.tflite", "--weights", kind)["weights"]["after"]
        for kind in ("int8", "int4")
    }
    others = 4 * (4 + 4 + 6) + 9 * 4  # biases, and the depthwise layer
    assert sizes["int4"] - others == pytest.approx((sizes["int8"] - others) / 2, abs=2)


@pytest.mark.parametrize("kind", ["int", "fp16", "fp8_143", "fp8_152"])
def test_tmdl(kind: str, tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = shared / "models/tinymaix/h5/mnist_valid.h5", tmp_path / "m.tmdl"
    pictures = shared / "models/tinymaix/images/mnist_quant"
    figures = run(capsys, model, "--type", kind, "-o", out, "--data", pictures, "--limit", 10)
    assert figures["agreement"]["top1"] >= 0.9
    assert tinymaix.read(out).nodes[0].op.kind == "CONV_2D"


def test_mistakes(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.parent / "q.tflite"
    assert "--data" in fails(capsys, "quantize", model, "-o", out)
    assert "name it so" in fails(capsys, "quantize", model, "--data", data, "-o", "q.onnx")
    assert "kind of .tmdl" in fails(capsys, "quantize", model, "--type", "fp16", "-o", out)
    assert "NAME=TYPE" in fails(capsys, "quantize", model, "--data", data, "-o", out, "--layer", "conv")
    assert "is to be 'int3'" in fails(capsys, "quantize", model, "--data", data, "-o", out, "--layer", "conv=int3")
    assert "does not exist" in fails(capsys, "quantize", model, "--data", model.parent / "nothing", "-o", out)
    assert not out.exists()
