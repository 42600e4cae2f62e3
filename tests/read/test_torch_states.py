"""Buffers that a module of PyTorch changes are states: streaming convolutions and recurrent layers over a sequence."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinymaix
from tests.read.fixtures import channels_last
from tinymaix.compile.project import compile_graph
from tinymaix.cores import find
from tinymaix.graph import Graph
from tinymaix.read.torch import read_program
from tinymaix.rewrite import simplify

torch = pytest.importorskip("torch", reason="the source of the programs")

from tests.nets import Remembering, Streaming  # noqa: E402


def sequence(module: Any, shape: tuple[int, ...]) -> tuple[Any, Any, list[Any]]:
    """The program before any run, six inputs, and what PyTorch computes one after the other."""
    torch.manual_seed(4)
    module = module().eval()
    inputs = [torch.randn(*shape) for _ in range(6)]
    program = torch.export.export(copy.deepcopy(module), (inputs[0],))  # it shares its buffers with the module
    with torch.no_grad():
        expected = [module(x).detach().numpy().copy() for x in inputs]
    return program, inputs, expected


def check(graph: Graph, inputs: Any, expected: list[Any], on: str) -> None:
    x = np.stack([channels_last(each.numpy(), graph.inputs[0]) for each in inputs])
    (found,) = tinymaix.run(graph, x, on=on, steps=True)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, channels_last(wanted, graph.outputs[0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(("module", "shape"), [(Streaming, (1, 3, 5)), (Remembering, (1, 2, 3))])
def test_over_a_sequence(module: Any, shape: tuple[int, ...], decomposed: bool) -> None:
    program, inputs, expected = sequence(module, shape)
    graph = simplify(read_program(program.run_decompositions({}) if decomposed else program))
    assert "TRANSPOSE" not in [node.op.kind for node in graph.nodes]
    check(graph, inputs, expected, "reference")
    if not decomposed:
        check(graph, inputs, expected, "cortex-m4")


def test_states_have_the_names_of_the_buffers() -> None:
    program, _, _ = sequence(Streaming, (1, 3, 5))
    graph = simplify(read_program(program))
    assert [(state.name, state.shape) for state in graph.states] == [
        ("b_samples", (1, 4, 3)),
        ("b_features", (1, 4, 4)),
    ]
    header = compile_graph(graph, find("cortex-m4"), name="net").files["model.h"]
    assert "void net_reset(void);" in header
    assert "b_samples" in header
