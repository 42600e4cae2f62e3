"""GELU and ELU as tables: the bytes of the function in TFLM, LiteRT and compiled C, and a TABLE again once read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, ZERO_POINTS, int8
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.graph import Graph, Node
from tinymaix.ops.base import Operator
from tinymaix.ops.functions import Elu
from tinymaix.ops.gelu import Gelu
from tinymaix.ops.table import Table
from tinymaix.ops.transpose import Transpose
from tinymaix.read import read_model
from tinymaix.rewrite import simplify
from tinymaix.write.tflite import write_tflite
from tinymaix.write.tflite_tables import in_tables

FUNCTIONS = [Gelu(False), Gelu(True), Elu()]


def function(op: Operator, zero: int, shape: tuple[int, ...] = (2, 3, 5)) -> Graph:
    return one_op(op, [int8("x", shape, 0.05, zero)], [int8("y", shape, 0.04, zero // 2)])


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
@given(ZERO_POINTS, SEEDS)
def test_both_engines_have_it(op: Operator, zero: int, seed: int) -> None:
    graph = function(op, zero)
    inputs, table = random_inputs(graph, seed), in_tables(graph)
    assert np.array_equal(table.run(inputs)[0], graph.run(inputs)[0])
    check_exact(table, inputs)


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
def test_it_is_read_as_a_table(op: Operator, tmp_path: Path) -> None:
    graph = function(op, 9)
    write_tflite(graph, tmp_path / "table.tflite")
    back = simplify(read_model(tmp_path / "table.tflite"))
    (node,) = back.nodes
    assert node.op == Table()
    assert node.op.problems(node) == []
    inputs = [np.arange(-128, 128).astype(np.int8)[:30].reshape(2, 3, 5)]
    assert np.array_equal(back.run(inputs)[0], graph.run(inputs)[0])
    write_tflite(back, tmp_path / "again.tflite")
    assert [n.op.kind for n in read_model(tmp_path / "again.tflite").nodes] == ["CAST", "ADD", "GATHER"]
    check_compiled([(back, [random_inputs(back, seed) for seed in range(3)])])


def test_transposes_around_a_table_cancel() -> None:
    x = int8("x", (1, 2, 3, 4), 0.05, 3)
    moved, made = int8("moved", (1, 4, 2, 3), 0.05, 3), int8("made", (1, 4, 2, 3), 0.04, -5)
    y = int8("y", (1, 2, 3, 4), 0.04, -5)
    there, back = Node(Transpose((0, 3, 1, 2)), [x], [moved]), Node(Transpose((0, 2, 3, 1)), [made], [y])
    nodes = [there, Node(Elu(), [moved], [made]), back]
    graph = in_tables(Graph(nodes, [x], [y], "net"))
    simple = simplify(graph)
    assert [node.op for node in simple.nodes] == [Table()]
    inputs = random_inputs(graph)
    assert np.array_equal(simple.run(inputs)[0], graph.run(inputs)[0])


def test_floats_stay() -> None:
    graph = function(Gelu(), 0)
    for tensor in graph.tensors:
        tensor.dtype, tensor.quantization = np.dtype(np.float32), None
    assert in_tables(graph).nodes == graph.nodes


@given(st.sampled_from(["first", "axis", "scale", "type"]))
def test_what_only_looks_like_one(what: str) -> None:
    graph = in_tables(function(Elu(), 3))
    cast, add, gather = graph.nodes
    if what == "first":
        add.input(1).data = np.array([127], np.int32)
    elif what == "axis":
        add.inputs[1] = add.input(0)
    elif what == "scale":
        gather.output.quantization = cast.input(0).quantization
    else:
        cast.input(0).dtype = np.dtype(np.int16)
    assert not any(isinstance(node.op, Table) for node in simplify(graph).nodes)


def test_a_table_that_is_none() -> None:
    graph = function(Gelu(), 0)
    x, y = graph.inputs[0], graph.outputs[0]
    assert "256 int8 values" in Table().problems(Node(Table(), [x, x], [y]))[0]
