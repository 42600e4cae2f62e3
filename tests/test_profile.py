"""Layer by layer figures: they add up to the whole, and each layer has what it alone is known to cost."""

from __future__ import annotations

import json

import pytest

import tinymaix
from tests.graphs import INT8, conv_graph
from tinymaix.chips import find_chip
from tinymaix.cli import main
from tinymaix.demo import DATA
from tinymaix.deploy import Bench, Deployment
from tinymaix.graph import Graph, Node
from tinymaix.profile import BETWEEN, by_kind

MODEL = DATA / "mnist_demo.tflite"


def bench(graph: Graph, chip: str, optimize: str = "balanced") -> Bench:
    return Deployment(graph, find_chip(chip), optimize=optimize).bench(layers=True)


@pytest.mark.parametrize("optimize", ["speed", "flash"])
@pytest.mark.parametrize("chip", ["cortex-m4", "cortex-m0plus", "rv32imc", "atmega328p"])
def test_the_layers_add_up(chip: str, optimize: str) -> None:
    graph = tinymaix.read(MODEL)
    whole, plain = bench(graph, chip, optimize), Deployment(graph, find_chip(chip), optimize=optimize).bench()
    assert whole.layers is not None
    assert (whole.instructions, whole.cycles, whole.flash) == (plain.instructions, plain.cycles, plain.flash)
    assert sum(cost.instructions for cost in whole.layers) == whole.instructions
    if whole.cycles is not None:
        assert sum(cost.cycles or 0 for cost in whole.layers) == whole.cycles
        assert all(cost.cycles is not None and cost.cycles >= 0 for cost in whole.layers)
    *layers, rest = whole.layers
    assert [cost.operator for cost in layers] == [node.op.kind for node in graph.nodes]
    assert rest.operator == BETWEEN
    assert rest.instructions < 0.01 * whole.instructions
    assert sum(row[3] for row in by_kind(whole.layers)) == whole.instructions


@pytest.mark.parametrize("chip", ["cortex-m4", "atmega328p"])
def test_a_layer_costs_what_it_costs_alone(chip: str) -> None:
    """But for what the compiler makes of a kernel that is called once."""
    graph = conv_graph(INT8)
    together = bench(graph, chip)
    assert together.layers is not None
    for node, cost in zip(graph.nodes, together.layers, strict=False):
        alone = bench(_one_node(node), chip)
        assert alone.instructions is not None
        assert cost.instructions == pytest.approx(alone.instructions, rel=0.15)
        assert cost.cycles == pytest.approx(alone.cycles, rel=0.15)


def _one_node(node: Node) -> Graph:
    return Graph([node], node.activations, node.outputs, "alone")


def test_the_command_line_shows_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(MODEL), "--chip", "cortex-m4", "--layers", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["cycles"] == sum(layer["cycles"] for layer in figures["layers"])
    assert main(["bench", str(MODEL), "--chip", "cortex-m4,host", "--layers"]) == 0
    text = capsys.readouterr().out
    assert "layer by layer" in text
    assert BETWEEN in text
