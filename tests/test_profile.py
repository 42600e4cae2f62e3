"""Layer by layer figures: they add up to the whole, and each layer has what it alone is known to cost."""

from __future__ import annotations

import json

import pytest

import tinymaix
from tests.graphs import INT8, conv_node
from tinymaix.chips import find_chip
from tinymaix.cli import main
from tinymaix.demo import DATA
from tinymaix.deploy import Bench, Deployment
from tinymaix.graph import Graph, Quantization, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.profile import BETWEEN, by_kind

MODEL = DATA / "mnist_demo.tflite"


def bench(graph: Graph, chip: str, optimize: str = "balanced") -> Bench:
    return Deployment(graph, find_chip(chip), optimize=optimize).bench(layers=True)


@pytest.mark.parametrize("optimize", ["speed", "flash"])
@pytest.mark.parametrize("chip", ["stm32l4r5zi", "cortex-m0plus", "rv32imc", "atmega328p"])
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
    assert (rest.cycles or 0) <= 0.01 * (whole.cycles or 0)
    assert sum(row[3] for row in by_kind(whole.layers)) == whole.instructions


@pytest.mark.parametrize("chip", ["cortex-m0plus", "rv32imc", "atmega328p"])
def test_layers_that_are_alike_cost_the_same(chip: str) -> None:
    x = Tensor("x", (1, 8, 8, 4), INT8, Quantization.of(0.02, 5))
    nodes = [conv_node(x, 4, Conv2D(padding=(1, 1, 1, 1)), seed=1)]
    nodes += [conv_node(nodes[0].output, 4, Conv2D(padding=(1, 1, 1, 1)), seed) for seed in (2, 3)]
    nodes += [conv_node(nodes[2].output, 2, Conv2D(padding=(1, 1, 1, 1)), seed=4)]
    costs = bench(Graph(nodes, [x], [nodes[1].output, nodes[3].output], "alike"), chip).layers
    assert costs is not None
    wide = [cost.instructions for cost in costs if cost.shapes.endswith("8x8x4")]  # a plan may change the order
    narrow = [cost.instructions for cost in costs if cost.shapes.endswith("8x8x2")]
    assert wide == pytest.approx(wide[:1] * 3, rel=0.02)
    assert narrow[0] < wide[0]


def test_the_command_line_shows_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(MODEL), "--chip", "cortex-m4", "--layers", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["cycles"] == sum(layer["cycles"] for layer in figures["layers"])
    assert main(["bench", str(MODEL), "--chip", "cortex-m4,host", "--layers"]) == 0
    text = capsys.readouterr().out
    assert "layer by layer" in text
    assert BETWEEN in text
