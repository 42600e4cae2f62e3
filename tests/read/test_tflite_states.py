"""Variables of a real streaming model as states, and what is said where they make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert.schema_py_generated import ModelT
from flatbuffers import Builder

from tinymaix.graph import ModelError
from tinymaix.read.tflite import read_tflite
from tinymaix.read.tflite_schema import ASSIGN_VARIABLE, CALL_ONCE, READ_VARIABLE

STREAMING = "models/zoo/mww__v2_okay_nabu.tflite"


def changed(shared: Path, change: Callable[[ModelT], None]) -> bytes:
    model = ModelT.InitFromPackedBuf((shared / STREAMING).read_bytes(), 0)
    change(model)
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operators(model: ModelT, code: int) -> list[Any]:
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    return [op for op in model.subgraphs[0].operators if codes[op.opcodeIndex] == code]


def test_variables_become_states_with_first_values(shared: Path) -> None:
    graph = read_tflite((shared / STREAMING).read_bytes())
    assert len(graph.states) == 6
    assert all(state.initial is not None and (state.initial == state.q.z).all() for state in graph.states)
    kinds = [node.op.kind for node in graph.nodes]
    assert kinds.count("READ_VARIABLE") == kinds.count("ASSIGN_VARIABLE") == 6
    assert not {"VAR_HANDLE", "CALL_ONCE"} & set(kinds)


def test_file_written_again_reads_as_the_same(shared: Path) -> None:
    first = read_tflite((shared / STREAMING).read_bytes())
    again = read_tflite(changed(shared, lambda model: None))
    assert [node.op for node in again.nodes] == [node.op for node in first.nodes]


def _run_missing_subgraph(model: ModelT) -> None:
    operators(model, CALL_ONCE)[0].builtinOptions.initSubgraphIndex = 9


def _read_what_is_no_handle(model: ModelT) -> None:
    operators(model, READ_VARIABLE)[0].inputs = [model.subgraphs[0].inputs[0]]


def _assign_nothing(model: ModelT) -> None:
    op = operators(model, ASSIGN_VARIABLE)[0]
    op.inputs = op.inputs[:1]


def _assign_another_shape(model: ModelT) -> None:
    op = operators(model, ASSIGN_VARIABLE)[0]
    op.inputs = [op.inputs[0], model.subgraphs[0].inputs[0]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_run_missing_subgraph, "it runs subgraph 9"),
        (_read_what_is_no_handle, "its first input is not a handle of a variable"),
        (_assign_nothing, "does not have the inputs and outputs of its kind"),
        (_assign_another_shape, "is not what variable"),
    ],
)
def test_damage_is_named(shared: Path, change: Callable[[ModelT], None], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_tflite(changed(shared, change))
