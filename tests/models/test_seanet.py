"""The int16 models of SEANet, one operator each, with their stored inputs and outputs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.conftest import model_files, model_id
from tests.oracles import check_compiled, expect_same, tflm
from tinymaix.graph import Array, Graph

MODELS = model_files("kernel_tests/seanet_int16/*/*.tflite")
KINDS = sorted({path.parent.name for path in MODELS})


@cache
def graph_of(path: Path) -> Graph:
    return tinymaix.read(path)


def golden(path: Path) -> tuple[list[Array], list[Array]]:
    graph = graph_of(path)
    with np.load(path.with_name(f"{path.stem}_golden.npz")) as file:
        inputs = [file[f"input{i}_{t.dtype}"].reshape(t.shape) for i, t in enumerate(graph.inputs)]
        (y,) = graph.outputs
        return inputs, [file[f"golden_{y.dtype}"].reshape(y.shape)]


@pytest.mark.parametrize("path", MODELS, ids=model_id)
def test_reference(path: Path) -> None:
    inputs, outputs = golden(path)
    found = graph_of(path).run(inputs)
    if path.parent.name == "leaky_relu":  # the stored outputs of four of them are LiteRT's, not TFLM's
        outputs = tflm(path.read_bytes(), inputs)
    expect_same(found, outputs, model_id(path))


@pytest.mark.parametrize("kind", KINDS)
def test_compiled(kind: str) -> None:
    paths = [path for path in MODELS if path.parent.name == kind]
    check_compiled([(graph_of(path), [golden(path)[0]]) for path in paths])
