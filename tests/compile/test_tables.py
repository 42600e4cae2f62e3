"""Calls of one kernel by several layers as a table."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import conv_node
from tinymaix.chips import find_chip
from tinymaix.compile.project import Draft, compile_graph
from tinymaix.deploy import Deployment
from tinymaix.graph import Graph, Node, Quantization, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.reshape import Reshape


def four_convolutions() -> Graph:
    """Two of 3x3 and two of 1x1, with channels that fill no four, then a small fully connected layer."""
    x = Tensor("x", (1, 9, 7, 3), np.dtype(np.int8), Quantization.of(0.02, 3))
    first, nodes = x, []
    for i, (channels, size) in enumerate([(18, 3), (7, 1), (21, 3), (5, 1)]):
        padding = (1, 1, 1, 1) if size == 3 else (0, 0, 0, 0)
        nodes.append(conv_node(first, channels, Conv2D(padding=padding, activation="relu"), i, size))
        first = nodes[-1].output
    flat = Tensor("flat", (1, first.elements), first.dtype, first.quantization)
    nodes.append(Node(Reshape(shape=flat.shape), [first], [flat]))
    data = np.random.default_rng(9).integers(-127, 128, (3, first.elements)).astype(np.int8)
    weights = Tensor("w", data.shape, data.dtype, Quantization.of(0.01), data)
    y = Tensor("y", (1, 3), np.dtype(np.int8), Quantization.of(0.5, -3))
    return Graph([*nodes, Node(FullyConnected(), [flat, weights, None], [y])], [x], [y], "four")


@pytest.mark.parametrize("optimize", ["balanced", "flash"])
@pytest.mark.parametrize("chip", ["cortex-m4", "cortex-m0plus", "rv32imc"])
def test_a_model_with_tables_is_exact(optimize: str, chip: str) -> None:
    deployment = Deployment(four_convolutions(), find_chip(chip), optimize=optimize)
    assert optimize == "balanced" or "_rows[4] = {" in deployment.project.files["model.c"]
    assert deployment.bench().bit_exact


def test_a_row_stands_for_a_call_and_what_rows_share_stands_once() -> None:
    core = find_chip("cortex-m0plus").core
    text = compile_graph(four_convolutions(), core, optimize="flash").files["model.c"]
    assert text.count("conv_2d_s8_row(&conv_2d_s8_rows[") == 4
    assert "/* batches */ 1" in text
    assert "/* zero_x */ row->zero_x" in text
    assert "_rows[" not in compile_graph(four_convolutions(), core, optimize="speed").files["model.c"]
    assert "_rows[" not in compile_graph(four_convolutions(), find_chip("avr5").core, optimize="flash").files["model.c"]


def test_a_layer_of_little_work_takes_functions_that_others_need() -> None:
    draft = Draft(four_convolutions(), find_chip("cortex-m4").core, optimize="balanced")
    wanted = [ways[0] for ways in draft.variants]
    chosen = draft.guess()
    assert chosen[:4] == wanted[:4]
    names = {call.kernel.name for call in draft.alone(5, chosen[5]).calls}
    assert names == {"pointwise_s8"}
    assert {call.kernel.name for call in draft.alone(5, wanted[5]).calls} != names
