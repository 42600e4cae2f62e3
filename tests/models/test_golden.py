"""Every shared .tflite that can be read gives the golden bytes: on the reference, on the host, on a Cortex-M4."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import model_files, model_id
from tests.models.golden import check_on, check_reference, golden_samples, read_or_reason
from tinymaix.chips import ToolError
from tinymaix.graph import Graph

MODELS = [path for path in model_files() if "seanet_int16" not in path.parts]
EMULATED_MACS = 15_000_000
"""Larger models are emulated by bench/golden.py: minutes each."""


def graph_of(path: Path) -> Graph:
    graph = read_or_reason(path)
    if isinstance(graph, str):
        pytest.skip(f"not supported yet: {graph}")
    return graph


@pytest.mark.parametrize("path", MODELS, ids=model_id)
def test_reference(path: Path) -> None:
    graph = graph_of(path)
    check_reference(graph, golden_samples(path, graph))


@pytest.mark.parametrize("path", MODELS, ids=model_id)
def test_compiled(path: Path) -> None:
    graph = graph_of(path)
    samples = golden_samples(path, graph)
    try:
        check_on(graph, samples, "host")
        if graph.macs <= EMULATED_MACS:
            check_on(graph, samples if samples.stateful else samples[2:3], "cortex-m4", fresh=0)
    except ToolError as error:
        pytest.skip(str(error))
